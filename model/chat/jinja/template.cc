#include "model/chat/jinja/template.h"

#include <array>

#include "model/chat/jinja/builtins.h"
#include "model/chat/jinja/globals.h"
#include "model/chat/jinja/lexer.h"
#include "model/chat/jinja/operators.h"
#include "model/chat/jinja/parser.h"
#include "model/tokenizer/utf8.h"

namespace catena::jinja {
namespace {

constexpr int kMaxRunDepth = 400;  // of statements, expressions and calls within each other

// What a block does to the loop around it.
enum class Flow { kOn, kBreak, kContinue };

class Interpreter {
 public:
  Interpreter(const Dict& variables, std::time_t now) : now_(now) {
    scopes_.push_back(variables);
    scopes_.emplace_back();  // the template's own
  }

  absl::StatusOr<std::string> Run(const Block& block) {
    std::string out;
    CATENA_RETURN_IF_ERROR(RunBlock(block, &out).status());
    return out;
  }

 private:
  // --- scopes ---

  // A scope within the ones around it, until it goes.
  class Scope {
   public:
    explicit Scope(std::vector<Dict>* scopes) : scopes_(scopes) { scopes_->emplace_back(); }
    ~Scope() { scopes_->pop_back(); }

   private:
    std::vector<Dict>* scopes_;
  };
  class Deeper {
   public:
    explicit Deeper(int* depth) : depth_(depth) { ++*depth_; }
    ~Deeper() { --*depth_; }

   private:
    int* depth_;
  };
  absl::Status Step() {
    if (depth_ > kMaxRunDepth) return Wrong("the template goes too deep");
    return budget_.Spend(Budget::kStep);
  }

  void Set(const std::string& name, Value value) { Put(&scopes_.back(), name, std::move(value)); }
  Value Get(const std::string& name) const {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
      if (const Value* v = Find(*scope, name)) return *v;
    }
    if (IsGlobal(name)) return Callable{.name = name, .self = nullptr};
    return Undefined{name};
  }
  // One name takes the value, several take its values.
  absl::Status SetAll(const std::vector<std::string>& names, const Value& value) {
    if (names.size() == 1) {
      Set(names[0], value);
      return absl::OkStatus();
    }
    CATENA_ASSIGN_OR_RETURN(const List values, Iterate(value, &budget_));
    if (values.size() != names.size()) {
      return Wrong(fmt::format("{} values for {} names", values.size(), names.size()));
    }
    for (size_t k = 0; k < names.size(); ++k) Set(names[k], values[k]);
    return absl::OkStatus();
  }

  // --- statements ---

  absl::StatusOr<Flow> RunBlock(const Block& block, std::string* out) {
    for (const Statement& s : block) {
      const Deeper deeper(&depth_);
      const size_t before = out->size();
      auto flow = RunStatement(s, out);
      if (!flow.ok()) return AtLine(s.line, flow.status());
      if (static_cast<int64_t>(out->size()) > Budget::kMaxText) {
        return ErrorAt(s.line, "the text is too long");
      }
      if (absl::Status status = budget_.Spend(static_cast<int64_t>(out->size() - before));
          !status.ok()) {
        return AtLine(s.line, status);
      }
      if (*flow != Flow::kOn) return *flow;
    }
    return Flow::kOn;
  }

  // The innermost line is told.
  absl::Status AtLine(int line, const absl::Status& status) {
    if (std::exchange(has_line_, true)) return status;
    return ErrorAt(line, Message(status));
  }

  absl::StatusOr<Flow> RunStatement(const Statement& s, std::string* out) {
    using Kind = Statement::Kind;
    CATENA_RETURN_IF_ERROR(Step());
    switch (s.kind) {
      case Kind::kText:
        *out += s.text;
        return Flow::kOn;
      case Kind::kOutput: {
        CATENA_ASSIGN_OR_RETURN(const Value v, Eval(*s.expr));
        *out += Text(v);
        return Flow::kOn;
      }
      case Kind::kIf: {
        CATENA_ASSIGN_OR_RETURN(const Value v, Eval(*s.expr));
        return RunBlock(Truth(v) ? s.body : s.otherwise, out);
      }
      case Kind::kFor:
        return RunFor(s, out);
      case Kind::kSet:
        CATENA_RETURN_IF_ERROR(RunSet(s));
        return Flow::kOn;
      case Kind::kSetBlock:
      case Kind::kFilter: {
        CATENA_ASSIGN_OR_RETURN(Value text, Capture(s));
        if (s.kind == Kind::kFilter) {
          *out += Text(text);
        } else {
          Set(s.names[0], std::move(text));
        }
        return Flow::kOn;
      }
      case Kind::kMacro:
        Set(s.macro->name,
            Callable{.name = s.macro->name, .self = nullptr, .macro = s.macro.get()});
        return Flow::kOn;
      case Kind::kBreak:
        return Flow::kBreak;
      case Kind::kContinue:
        return Flow::kContinue;
      case Kind::kBlock:
        return RunBlock(s.body, out);
    }
    return Flow::kOn;
  }

  absl::Status RunSet(const Statement& s) {
    CATENA_ASSIGN_OR_RETURN(Value v, Eval(*s.expr));
    if (s.text.empty()) return SetAll(s.names, v);
    const Value target = Get(s.text);
    Namespace* space = target.IfNamespace();
    if (space == nullptr) return Wrong(fmt::format("{} is no namespace", Quoted(s.text)));
    Put(&space->attributes, s.names[0], std::move(v));
    return absl::OkStatus();
  }

  // What the body writes, through the filters.
  absl::StatusOr<Value> Capture(const Statement& s) {
    std::string text;
    {
      const Scope scope(&scopes_);
      CATENA_RETURN_IF_ERROR(RunBlock(s.body, &text).status());
    }
    if (s.expr == nullptr) return text;
    return Filtered(*s.expr, Value(std::move(text)));
  }

  absl::StatusOr<Flow> RunFor(const Statement& s, std::string* out) {
    CATENA_ASSIGN_OR_RETURN(const Value over, Eval(*s.expr));
    CATENA_ASSIGN_OR_RETURN(List items, Iterate(over, &budget_));
    if (s.condition != nullptr) {
      List chosen;
      for (Value& item : items) {
        const Scope scope(&scopes_);
        CATENA_RETURN_IF_ERROR(SetAll(s.names, item));
        CATENA_ASSIGN_OR_RETURN(const Value holds, Eval(*s.condition));
        if (Truth(holds)) chosen.push_back(std::move(item));
      }
      items = std::move(chosen);
    }
    if (items.empty()) return RunBlock(s.otherwise, out);
    for (size_t k = 0; k < items.size(); ++k) {
      const Scope scope(&scopes_);
      Set("loop", LoopAt(items, k));
      CATENA_RETURN_IF_ERROR(SetAll(s.names, items[k]));
      CATENA_ASSIGN_OR_RETURN(const Flow flow, RunBlock(s.body, out));
      if (flow == Flow::kBreak) break;
    }
    return Flow::kOn;
  }

  static Value LoopAt(const List& items, size_t k) {
    const auto i = static_cast<int64_t>(k), n = std::ssize(items);
    Dict loop = {{"index", i + 1},
                 {"index0", i},
                 {"revindex", n - i},
                 {"revindex0", n - i - 1},
                 {"first", k == 0},
                 {"last", i + 1 == n},
                 {"length", n},
                 {"depth", int64_t{1}},
                 {"depth0", int64_t{0}},
                 {"cycle", Callable{.name = "loop.cycle", .self = std::make_shared<Value>(i)}}};
    if (k > 0) loop.emplace_back("previtem", items[k - 1]);
    if (i + 1 < n) loop.emplace_back("nextitem", items[k + 1]);
    return loop;
  }

  // --- expressions ---

  absl::StatusOr<Value> Eval(const Expr& e) {
    using Kind = Expr::Kind;
    const Deeper deeper(&depth_);
    CATENA_RETURN_IF_ERROR(Step());
    switch (e.kind) {
      case Kind::kLiteral:
        return e.literal;
      case Kind::kName:
        return Get(e.text);
      case Kind::kList:
        return EvalList(e);
      case Kind::kDict:
        return EvalDict(e);
      case Kind::kUnary:
        return EvalUnary(e);
      case Kind::kBinary:
        return EvalBinary(e);
      case Kind::kCompare:
        return EvalCompare(e);
      case Kind::kConditional: {
        CATENA_ASSIGN_OR_RETURN(const Value condition, Eval(*e.kids[0]));
        if (Truth(condition)) return Eval(*e.kids[1]);
        if (e.kids[2] != nullptr) return Eval(*e.kids[2]);
        return Undefined{"an if without else"};
      }
      case Kind::kAttribute: {
        CATENA_ASSIGN_OR_RETURN(const Value v, Eval(*e.kids[0]));
        return Attribute(v, e.text);
      }
      case Kind::kItem: {
        CATENA_ASSIGN_OR_RETURN(const Value v, Eval(*e.kids[0]));
        CATENA_ASSIGN_OR_RETURN(const Value key, Eval(*e.kids[1]));
        return Item(v, key);
      }
      case Kind::kSlice:
        return EvalSlice(e);
      case Kind::kCall:
        return EvalCall(e);
      case Kind::kFilter: {
        CATENA_ASSIGN_OR_RETURN(Value v, Eval(*e.kids[0]));
        CATENA_ASSIGN_OR_RETURN(const Arguments args, EvalArguments(e.arguments));
        return ApplyFilter(e.text, v, args, &budget_);
      }
      case Kind::kTest: {
        CATENA_ASSIGN_OR_RETURN(const Value v, Eval(*e.kids[0]));
        CATENA_ASSIGN_OR_RETURN(const Arguments args, EvalArguments(e.arguments));
        return ApplyTest(e.text, v, args);
      }
    }
    return Undefined{};
  }

  // A chain of filters that begins with no operand: of a text.
  absl::StatusOr<Value> Filtered(const Expr& e, Value text) {
    if (e.kids[0] != nullptr) {
      CATENA_ASSIGN_OR_RETURN(text, Filtered(*e.kids[0], std::move(text)));
    }
    CATENA_ASSIGN_OR_RETURN(const Arguments args, EvalArguments(e.arguments));
    return ApplyFilter(e.text, text, args, &budget_);
  }

  absl::StatusOr<Value> EvalList(const Expr& e) {
    List list;
    for (const ExprPtr& kid : e.kids) {
      CATENA_ASSIGN_OR_RETURN(list.emplace_back(), Eval(*kid));
    }
    return list;
  }

  absl::StatusOr<Value> EvalDict(const Expr& e) {
    Dict dict;
    for (size_t k = 0; k < e.kids.size(); k += 2) {
      CATENA_ASSIGN_OR_RETURN(const Value key, Eval(*e.kids[k]));
      CATENA_ASSIGN_OR_RETURN(Value value, Eval(*e.kids[k + 1]));
      const auto* name = key.If<std::string>();
      if (name == nullptr) return Wrong("keys that are no texts are not supported");
      Put(&dict, *name, std::move(value));
    }
    return dict;
  }

  absl::StatusOr<Value> EvalUnary(const Expr& e) {
    CATENA_ASSIGN_OR_RETURN(const Value v, Eval(*e.kids[0]));
    if (e.text == "not") return !Truth(v);
    return Signed(e.text, v);
  }

  absl::StatusOr<Value> EvalBinary(const Expr& e) {
    CATENA_ASSIGN_OR_RETURN(Value a, Eval(*e.kids[0]));
    if (e.text == "and" && !Truth(a)) return a;
    if (e.text == "or" && Truth(a)) return a;
    CATENA_ASSIGN_OR_RETURN(Value b, Eval(*e.kids[1]));
    if (e.text == "and" || e.text == "or") return b;
    return Operate(e.text, a, b, &budget_);
  }

  absl::StatusOr<Value> EvalCompare(const Expr& e) {
    CATENA_ASSIGN_OR_RETURN(Value left, Eval(*e.kids[0]));
    for (size_t k = 0; k < e.texts.size(); ++k) {
      CATENA_ASSIGN_OR_RETURN(Value right, Eval(*e.kids[k + 1]));
      CATENA_ASSIGN_OR_RETURN(const bool holds, Compare(e.texts[k], left, right));
      if (!holds) return false;
      left = std::move(right);
    }
    return true;
  }

  absl::StatusOr<Value> EvalSlice(const Expr& e) {
    CATENA_ASSIGN_OR_RETURN(const Value v, Eval(*e.kids[0]));
    std::array<Value, 3> bounds = {None{}, None{}, None{}};
    for (size_t k = 0; k < 3; ++k) {
      if (e.kids[k + 1] == nullptr) continue;
      CATENA_ASSIGN_OR_RETURN(bounds[k], Eval(*e.kids[k + 1]));
    }
    return Slice(v, bounds[0], bounds[1], bounds[2], &budget_);
  }

  absl::StatusOr<Arguments> EvalArguments(const std::vector<Argument>& arguments) {
    Arguments out;
    for (const Argument& a : arguments) {
      CATENA_ASSIGN_OR_RETURN(Value v, Eval(*a.value));
      if (!a.name.empty()) {
        out.named.emplace_back(a.name, std::move(v));
      } else {
        out.positional.push_back(std::move(v));
      }
    }
    return out;
  }

  // --- calls ---

  absl::StatusOr<Value> EvalCall(const Expr& e) {
    CATENA_ASSIGN_OR_RETURN(const Value callee, Eval(*e.kids[0]));
    CATENA_ASSIGN_OR_RETURN(Arguments args, EvalArguments(e.arguments));
    const auto* callable = callee.If<Callable>();
    if (callable == nullptr) {
      const auto* undefined = callee.If<Undefined>();
      return Wrong(fmt::format(
          "{} is called", undefined == nullptr ? std::string(TypeName(callee))
                                               : Quoted(undefined->what) + ", not known here,"));
    }
    if (callable->macro != nullptr) return CallMacro(*callable->macro, args);
    if (callable->name == "loop.cycle") {
      if (args.positional.empty()) return Wrong("cycle of nothing");
      const auto at = static_cast<size_t>(*callable->self->AsInt());
      return args.positional[at % args.positional.size()];
    }
    if (callable->self != nullptr) {
      return CallMethod(*callable->self, callable->name, args, &budget_);
    }
    return CallGlobal(callable->name, std::move(args), now_, &budget_);
  }

  absl::StatusOr<Value> CallMacro(const Macro& macro, const Arguments& args) {
    if (args.positional.size() > macro.parameters.size()) {
      return Wrong(
          fmt::format("macro {} takes {} arguments", Quoted(macro.name), macro.parameters.size()));
    }
    // A macro sees what is the template's own, not where it was called.
    std::vector<Dict> callers(std::make_move_iterator(scopes_.begin() + 2),
                              std::make_move_iterator(scopes_.end()));
    scopes_.resize(2);
    scopes_.emplace_back();
    std::string out;
    absl::Status status = absl::OkStatus();
    for (size_t k = 0; k < macro.parameters.size() && status.ok(); ++k) {
      const Macro::Parameter& p = macro.parameters[k];
      const Value* given = args.Find(k, p.name);
      if (given != nullptr) {
        Set(p.name, *given);
      } else if (p.absent == nullptr) {
        Set(p.name, Undefined{p.name});
      } else {
        auto absent = Eval(*p.absent);
        status = absent.status();
        if (absent.ok()) Set(p.name, *std::move(absent));
      }
    }
    if (status.ok()) status = RunBlock(macro.body, &out).status();
    scopes_.resize(2);
    for (Dict& scope : callers) scopes_.push_back(std::move(scope));
    CATENA_RETURN_IF_ERROR(status);
    return out;
  }

  const std::time_t now_;
  std::vector<Dict> scopes_;  // the variables, the template's own, and those within
  Budget budget_;
  int depth_ = 0;
  bool has_line_ = false;
};

}  // namespace

absl::StatusOr<Template> Template::Parse(std::string_view source) {
  CATENA_ASSIGN_OR_RETURN(Block block, jinja::Parse(ToValidUtf8(source)));
  return Template(std::move(block));
}

absl::StatusOr<std::string> Template::Render(const Dict& variables, std::time_t now) const {
  return Interpreter(variables, now).Run(*block_);
}

}  // namespace catena::jinja
