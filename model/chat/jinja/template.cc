#include "model/chat/jinja/template.h"

#include <array>
#include <cmath>

#include "model/chat/jinja/builtins.h"
#include "model/chat/jinja/lexer.h"
#include "model/chat/jinja/parser.h"
#include "model/tokenizer/utf8.h"

namespace catena::jinja {
namespace {

constexpr int kMaxRunDepth = 400;       // of statements, expressions and calls within each other
constexpr int64_t kMaxRange = 100'000;  // as jinja2's sandbox

// What a block does to the loop around it.
enum class Flow { kOn, kBreak, kContinue };

constexpr std::string_view kGlobals[] = {"range", "namespace", "dict", "raise_exception",
                                         "strftime_now"};

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
    for (const std::string_view global : kGlobals) {
      if (global == name) return Callable{.name = name, .self = nullptr};
    }
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
    if (const auto i = v.AsInt(); i && *i != INT64_MIN) return e.text == "-" ? -*i : *i;
    if (const auto d = v.AsNumber()) return e.text == "-" ? -*d : *d;
    return Wrong(fmt::format("{} of {}", e.text, TypeName(v)));
  }

  absl::StatusOr<Value> EvalBinary(const Expr& e) {
    CATENA_ASSIGN_OR_RETURN(Value a, Eval(*e.kids[0]));
    if (e.text == "and" && !Truth(a)) return a;
    if (e.text == "or" && Truth(a)) return a;
    CATENA_ASSIGN_OR_RETURN(Value b, Eval(*e.kids[1]));
    if (e.text == "and" || e.text == "or") return b;
    if (e.text == "~") return Joined(Text(a), Text(b));
    const auto *x = a.If<std::string>(), *y = b.If<std::string>();
    if (e.text == "+" && x != nullptr && y != nullptr) return Joined(*x, *y);
    const auto *p = a.If<List>(), *q = b.If<List>();
    if (e.text == "+" && p != nullptr && q != nullptr) {
      CATENA_RETURN_IF_ERROR(budget_.Make(16 * (std::ssize(*p) + std::ssize(*q))));
      List list = *p;
      list.insert(list.end(), q->begin(), q->end());
      return list;
    }
    if (e.text == "*" && (x != nullptr || y != nullptr))
      return Repeated(x != nullptr ? a : b, x != nullptr ? b : a);
    return Calculate(e.text, a, b);
  }

  absl::StatusOr<Value> Joined(const std::string& a, const std::string& b) {
    CATENA_RETURN_IF_ERROR(budget_.Make(static_cast<int64_t>(a.size() + b.size())));
    return a + b;
  }

  absl::StatusOr<Value> Repeated(const Value& text, const Value& times) {
    const auto n = times.AsInt();
    if (!n) return Wrong(fmt::format("a text times {}", TypeName(times)));
    const std::string& once = *text.If<std::string>();
    if (*n > Budget::kMaxText) return Wrong("a text is too long");
    CATENA_RETURN_IF_ERROR(budget_.Make(*n * static_cast<int64_t>(once.size())));
    std::string out;
    for (int64_t k = 0; k < *n; ++k) out += once;
    return out;
  }

  static absl::StatusOr<Value> Calculate(const std::string& op, const Value& a, const Value& b) {
    const auto x = a.AsInt(), y = b.AsInt();
    if (x && y && op != "/") return CalculateInts(op, *x, *y);
    const auto p = a.AsNumber(), q = b.AsNumber();
    if (!p || !q) {
      const auto name = [](const Value& v) {
        const auto* undefined = v.If<Undefined>();
        return undefined == nullptr ? std::string(TypeName(v)) : undefined->what + " (undefined)";
      };
      return Wrong(fmt::format("{} {} {}", name(a), op, name(b)));
    }
    if (op == "+") return *p + *q;
    if (op == "-") return *p - *q;
    if (op == "*") return *p * *q;
    if (*q == 0) return Wrong("division by zero");
    if (op == "/") return *p / *q;
    if (op == "//") return std::floor(*p / *q);
    const double rest = std::fmod(*p, *q);
    return rest != 0 && (rest < 0) != (*q < 0) ? rest + *q : rest;
  }

  static absl::StatusOr<Value> CalculateInts(const std::string& op, int64_t a, int64_t b) {
    int64_t out = 0;
    bool overflow = false;
    if (op == "+") {
      overflow = __builtin_add_overflow(a, b, &out);
    } else if (op == "-") {
      overflow = __builtin_sub_overflow(a, b, &out);
    } else if (op == "*") {
      overflow = __builtin_mul_overflow(a, b, &out);
    } else if (b == 0) {
      return Wrong("division by zero");
    } else if (b == -1) {
      overflow = op == "//" && __builtin_sub_overflow(int64_t{0}, a, &out);
    } else {
      const int64_t rest = a % b, down = rest != 0 && (rest < 0) != (b < 0) ? 1 : 0;
      out = op == "//" ? a / b - down : rest + down * b;
    }
    if (overflow) return Wrong("a number is too large");
    return out;
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

  static absl::StatusOr<bool> Compare(const std::string& op, const Value& a, const Value& b) {
    if (op == "==" || op == "!=") return Equal(a, b) == (op == "==");
    if (op == "in" || op == "not in") {
      CATENA_ASSIGN_OR_RETURN(const bool contains, Contains(b, a));
      return contains == (op == "in");
    }
    if (op == "<" || op == ">") return op == "<" ? Less(a, b) : Less(b, a);
    CATENA_ASSIGN_OR_RETURN(const bool beyond, op == "<=" ? Less(b, a) : Less(a, b));
    return !beyond;
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
    return CallGlobal(callable->name, std::move(args));
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

  absl::StatusOr<Value> CallGlobal(const std::string& name, Arguments args) {
    if (name == "range") return Range(args);
    if (name == "raise_exception") {
      const Value* why = args.Find(0, "message");
      return Wrong(why == nullptr ? "the messages are refused" : Text(*why));
    }
    if (name == "strftime_now") return TimeText(args);
    if (!args.positional.empty()) {
      const auto* dict = args.positional[0].If<Dict>();
      if (dict == nullptr || args.positional.size() > 1) return Wrong(name + " of what is no dict");
      Dict all = *dict;
      for (auto& [key, value] : args.named) Put(&all, key, std::move(value));
      args.named = std::move(all);
    }
    if (name == "dict") return Dict(std::move(args.named));
    return std::make_shared<Namespace>(Namespace{std::move(args.named)});
  }

  absl::StatusOr<Value> Range(const Arguments& args) {
    std::vector<int64_t> bounds;
    for (const Value& v : args.positional) {
      const auto i = v.AsInt();
      if (!i || std::abs(*i) > (int64_t{1} << 40)) return Wrong("range wants ints");
      bounds.push_back(*i);
    }
    if (bounds.empty() || bounds.size() > 3) return Wrong("range wants 1 to 3 ints");
    const int64_t from = bounds.size() == 1 ? 0 : bounds[0];
    const int64_t to = bounds.size() == 1 ? bounds[0] : bounds[1];
    const int64_t step = bounds.size() == 3 ? bounds[2] : 1;
    if (step == 0) return Wrong("range by steps of 0");
    const int64_t n = step > 0 ? (to - from + step - 1) / step : (from - to - step - 1) / -step;
    if (n > kMaxRange) return Wrong(fmt::format("a range of more than {}", kMaxRange));
    CATENA_RETURN_IF_ERROR(budget_.Make(std::max<int64_t>(n, 0) * 16));
    List list;
    for (int64_t k = 0; k < n; ++k) list.push_back(from + k * step);
    return list;
  }

  absl::StatusOr<Value> TimeText(const Arguments& args) const {
    const Value* format = args.Find(0, "format");
    const auto* text = format == nullptr ? nullptr : format->If<std::string>();
    if (text == nullptr || text->size() > 100) return Wrong("strftime_now wants a format");
    if (text->empty()) return std::string();
    std::tm local{};
    localtime_r(&now_, &local);
    std::array<char, 4096> out;
    const size_t n = std::strftime(out.data(), out.size(), text->c_str(), &local);
    return ToValidUtf8({out.data(), n});
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
