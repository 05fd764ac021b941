#include "model/chat/jinja/parser.h"

#include <algorithm>
#include <charconv>
#include <initializer_list>

#include "model/chat/jinja/builtins.h"
#include "model/chat/jinja/lexer.h"

namespace catena::jinja {
namespace {

using Kind = Token::Kind;

constexpr int kMaxDepth = 200;  // of blocks and brackets
constexpr int kMaxTree = 300;   // of an expression, chains counted
constexpr size_t kMaxTokens = 100'000;

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  absl::StatusOr<Block> Run() {
    Block block;
    CATENA_RETURN_IF_ERROR(ParseBlock({}, &block));
    return block;
  }

 private:
  // --- tokens ---
  const Token& Next() const { return tokens_[at_]; }
  const Token& Take() { return tokens_[std::min(at_++, tokens_.size() - 1)]; }
  bool IsOperator(std::string_view op) const {
    return Next().kind == Kind::kOperator && Next().text == op;
  }
  bool IsName(std::string_view name) const {
    return Next().kind == Kind::kName && Next().text == name;
  }
  bool TakeOperator(std::string_view op) {
    if (!IsOperator(op)) return false;
    ++at_;
    return true;
  }
  bool TakeName(std::string_view name) {
    if (!IsName(name)) return false;
    ++at_;
    return true;
  }
  absl::Status Error(std::string_view what) const { return ErrorAt(Next().line, what); }
  absl::Status Unexpected(std::string_view wanted) const {
    const std::string found = Next().text.empty() ? "the end of a tag" : Quoted(Next().text);
    return Error(fmt::format("{} where {} should be", found, wanted));
  }
  absl::Status ExpectOperator(std::string_view op) {
    if (TakeOperator(op)) return absl::OkStatus();
    return Unexpected(fmt::format("\"{}\"", op));
  }
  absl::StatusOr<std::string> ExpectName() {
    if (Next().kind != Kind::kName) return Unexpected("a name");
    return Take().text;
  }
  absl::Status ExpectBlockEnd() {
    if (Next().kind != Kind::kBlockEnd) return Unexpected("\"%}\"");
    ++at_;
    return absl::OkStatus();
  }

  // A place deeper, until it goes.
  class Deeper {
   public:
    explicit Deeper(int* depth) : depth_(depth) { ++*depth_; }
    ~Deeper() { --*depth_; }

   private:
    int* depth_;
  };
  absl::Status CheckDepth() const {
    if (depth_ <= kMaxDepth) return absl::OkStatus();
    return Error(fmt::format("nested more than {} deep", kMaxDepth));
  }

  // --- statements ---

  // Up to a block tag whose first word is one of `ends`, of which the word is taken; `end` says
  // which.
  absl::Status ParseBlock(std::initializer_list<std::string_view> ends, Block* block,
                          std::string* end = nullptr) {
    const Deeper deeper(&depth_);
    CATENA_RETURN_IF_ERROR(CheckDepth());
    while (Next().kind != Kind::kEnd) {
      const Token& token = Take();
      if (token.kind == Kind::kText) {
        block->push_back({.kind = Statement::Kind::kText, .line = token.line, .text = token.text});
      } else if (token.kind == Kind::kOutputBegin) {
        Statement s{.kind = Statement::Kind::kOutput, .line = token.line};
        CATENA_ASSIGN_OR_RETURN(s.expr, ParseTuple());
        if (Next().kind != Kind::kOutputEnd) return Unexpected("\"}}\"");
        ++at_;
        block->push_back(std::move(s));
      } else {
        CATENA_ASSIGN_OR_RETURN(const std::string word, ExpectName());
        if (std::find(ends.begin(), ends.end(), word) != ends.end()) {
          if (end != nullptr) *end = word;
          return absl::OkStatus();
        }
        CATENA_RETURN_IF_ERROR(ParseStatement(word, token.line, block));
      }
    }
    if (ends.size() == 0) return absl::OkStatus();
    return Error(fmt::format("the template ends before {{% {} %}}", *(ends.end() - 1)));
  }

  absl::Status ParseStatement(const std::string& word, int line, Block* block) {
    Statement s{.kind = Statement::Kind::kBlock, .line = line};
    if (word == "if") {
      CATENA_RETURN_IF_ERROR(ParseIf(&s));
    } else if (word == "for") {
      CATENA_RETURN_IF_ERROR(ParseFor(&s));
    } else if (word == "set") {
      CATENA_RETURN_IF_ERROR(ParseSet(&s));
    } else if (word == "macro") {
      CATENA_RETURN_IF_ERROR(ParseMacro(&s));
    } else if (word == "filter") {
      s.kind = Statement::Kind::kFilter;
      CATENA_ASSIGN_OR_RETURN(s.expr, ParseFilterOf(nullptr));
      CATENA_RETURN_IF_ERROR(ExpectBlockEnd());
      CATENA_RETURN_IF_ERROR(ParseBlock({"endfilter"}, &s.body));
    } else if (word == "generation") {  // transformers': what the assistant wrote
      CATENA_RETURN_IF_ERROR(ExpectBlockEnd());
      CATENA_RETURN_IF_ERROR(ParseBlock({"endgeneration"}, &s.body));
    } else if ((word == "break" || word == "continue") && loops_ > 0) {
      s.kind = word == "break" ? Statement::Kind::kBreak : Statement::Kind::kContinue;
    } else {
      return ErrorAt(line, fmt::format("{{% {} %}} is not supported here", Quoted(word)));
    }
    CATENA_RETURN_IF_ERROR(ExpectBlockEnd());
    block->push_back(std::move(s));
    return absl::OkStatus();
  }

  // Behind "if" or "elif", up to "endif".
  absl::Status ParseIf(Statement* s) {
    const Deeper deeper(&depth_);
    CATENA_RETURN_IF_ERROR(CheckDepth());
    s->kind = Statement::Kind::kIf;
    CATENA_ASSIGN_OR_RETURN(s->expr, ParseTuple());
    CATENA_RETURN_IF_ERROR(ExpectBlockEnd());
    std::string end;
    CATENA_RETURN_IF_ERROR(ParseBlock({"elif", "else", "endif"}, &s->body, &end));
    if (end == "elif") {
      Statement other{.kind = Statement::Kind::kIf, .line = Next().line};
      CATENA_RETURN_IF_ERROR(ParseIf(&other));
      s->otherwise.push_back(std::move(other));
    } else if (end == "else") {
      CATENA_RETURN_IF_ERROR(ExpectBlockEnd());
      CATENA_RETURN_IF_ERROR(ParseBlock({"endif"}, &s->otherwise));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<std::string>> ParseTargets() {
    std::vector<std::string> names;
    const bool brackets = TakeOperator("(");
    do {
      if (brackets && IsOperator(")")) break;
      CATENA_ASSIGN_OR_RETURN(names.emplace_back(), ExpectName());
    } while (TakeOperator(","));
    if (brackets) CATENA_RETURN_IF_ERROR(ExpectOperator(")"));
    return names;
  }

  absl::Status ParseFor(Statement* s) {
    s->kind = Statement::Kind::kFor;
    CATENA_ASSIGN_OR_RETURN(s->names, ParseTargets());
    if (!TakeName("in")) return Unexpected("\"in\"");
    CATENA_ASSIGN_OR_RETURN(s->expr, ParseTuple(/*conditional=*/false));
    if (TakeName("if")) {
      CATENA_ASSIGN_OR_RETURN(s->condition, ParseExpr());
    }
    if (IsName("recursive")) return Error("a recursive loop is not supported");
    CATENA_RETURN_IF_ERROR(ExpectBlockEnd());
    ++loops_;
    std::string end;
    const absl::Status body = ParseBlock({"else", "endfor"}, &s->body, &end);
    --loops_;
    CATENA_RETURN_IF_ERROR(body);
    if (end == "endfor") return absl::OkStatus();
    CATENA_RETURN_IF_ERROR(ExpectBlockEnd());
    return ParseBlock({"endfor"}, &s->otherwise);
  }

  absl::Status ParseSet(Statement* s) {
    s->kind = Statement::Kind::kSet;
    CATENA_ASSIGN_OR_RETURN(s->names, ParseTargets());
    if (s->names.size() == 1 && TakeOperator(".")) {
      s->text = std::move(s->names[0]);
      CATENA_ASSIGN_OR_RETURN(s->names[0], ExpectName());
    }
    if (TakeOperator("=")) {
      CATENA_ASSIGN_OR_RETURN(s->expr, ParseTuple());
      return absl::OkStatus();
    }
    if (s->names.size() != 1 || !s->text.empty()) return Unexpected("\"=\"");
    s->kind = Statement::Kind::kSetBlock;
    if (TakeOperator("|")) {
      CATENA_ASSIGN_OR_RETURN(s->expr, ParseFilterOf(nullptr));
    }
    CATENA_RETURN_IF_ERROR(ExpectBlockEnd());
    return ParseBlock({"endset"}, &s->body);
  }

  absl::Status ParseMacro(Statement* s) {
    s->kind = Statement::Kind::kMacro;
    auto macro = std::make_shared<Macro>();
    CATENA_ASSIGN_OR_RETURN(macro->name, ExpectName());
    CATENA_RETURN_IF_ERROR(ExpectOperator("("));
    while (!TakeOperator(")")) {
      if (!macro->parameters.empty()) CATENA_RETURN_IF_ERROR(ExpectOperator(","));
      Macro::Parameter& p = macro->parameters.emplace_back();
      CATENA_ASSIGN_OR_RETURN(p.name, ExpectName());
      if (TakeOperator("=")) {
        CATENA_ASSIGN_OR_RETURN(p.absent, ParseExpr());
      }
    }
    CATENA_RETURN_IF_ERROR(ExpectBlockEnd());
    const int loops = std::exchange(loops_, 0);
    const absl::Status body = ParseBlock({"endmacro"}, &macro->body);
    loops_ = loops;
    CATENA_RETURN_IF_ERROR(body);
    if (Next().kind == Kind::kName) ++at_;  // {% endmacro name %}
    s->macro = std::move(macro);
    return absl::OkStatus();
  }

  // --- expressions, from the loosest to the tightest ---

  std::unique_ptr<Expr> New(Expr::Kind kind, std::string text = "") const {
    auto e = std::make_unique<Expr>();
    e->kind = kind;
    e->line = Next().line;
    e->text = std::move(text);
    return e;
  }
  std::unique_ptr<Expr> NewBinary(std::string op, ExprPtr a, ExprPtr b) const {
    auto e = New(Expr::Kind::kBinary, std::move(op));
    e->kids.push_back(std::move(a));
    e->kids.push_back(std::move(b));
    return e;
  }

  // Chains are trees that grow at the root, without recursion here; elsewhere there is.
  absl::StatusOr<ExprPtr> Grown(std::unique_ptr<Expr> e) const {
    for (const ExprPtr& kid : e->kids) {
      if (kid != nullptr) e->depth = std::max(e->depth, kid->depth + 1);
    }
    for (const Argument& a : e->arguments) e->depth = std::max(e->depth, a.value->depth + 1);
    if (e->depth > kMaxTree) return Error("the expression is too long");
    return e;
  }

  // a, b, … without brackets is a list.
  absl::StatusOr<ExprPtr> ParseTuple(bool conditional = true) {
    CATENA_ASSIGN_OR_RETURN(ExprPtr first, conditional ? ParseExpr() : ParseOr());
    if (!IsOperator(",")) return first;
    auto list = New(Expr::Kind::kList);
    list->kids.push_back(std::move(first));
    while (TakeOperator(",")) {
      if (Next().kind == Kind::kBlockEnd || Next().kind == Kind::kOutputEnd || IsOperator(")")) {
        break;
      }
      CATENA_ASSIGN_OR_RETURN(ExprPtr next, conditional ? ParseExpr() : ParseOr());
      list->kids.push_back(std::move(next));
    }
    return list;
  }

  absl::StatusOr<ExprPtr> ParseExpr() {
    const Deeper deeper(&depth_);
    CATENA_RETURN_IF_ERROR(CheckDepth());
    CATENA_ASSIGN_OR_RETURN(ExprPtr then, ParseOr());
    while (TakeName("if")) {
      auto e = New(Expr::Kind::kConditional);
      e->kids.resize(3);
      CATENA_ASSIGN_OR_RETURN(e->kids[0], ParseOr());
      e->kids[1] = std::move(then);
      if (TakeName("else")) {
        CATENA_ASSIGN_OR_RETURN(e->kids[2], ParseExpr());
      }
      CATENA_ASSIGN_OR_RETURN(then, Grown(std::move(e)));
    }
    return then;
  }

  absl::StatusOr<ExprPtr> ParseOr() {
    CATENA_ASSIGN_OR_RETURN(ExprPtr left, ParseAnd());
    while (TakeName("or")) {
      CATENA_ASSIGN_OR_RETURN(ExprPtr right, ParseAnd());
      CATENA_ASSIGN_OR_RETURN(left, Grown(NewBinary("or", std::move(left), std::move(right))));
    }
    return left;
  }

  absl::StatusOr<ExprPtr> ParseAnd() {
    CATENA_ASSIGN_OR_RETURN(ExprPtr left, ParseNot());
    while (TakeName("and")) {
      CATENA_ASSIGN_OR_RETURN(ExprPtr right, ParseNot());
      CATENA_ASSIGN_OR_RETURN(left, Grown(NewBinary("and", std::move(left), std::move(right))));
    }
    return left;
  }

  absl::StatusOr<ExprPtr> ParseNot() {
    const Deeper deeper(&depth_);
    CATENA_RETURN_IF_ERROR(CheckDepth());
    if (!TakeName("not")) return ParseCompare();
    auto e = New(Expr::Kind::kUnary, "not");
    CATENA_ASSIGN_OR_RETURN(e->kids.emplace_back(), ParseNot());
    return e;
  }

  // The comparison that comes next, taken; "" where there is none.
  std::string TakeComparison() {
    for (const std::string_view op : {"==", "!=", "<=", ">=", "<", ">"}) {
      if (TakeOperator(op)) return std::string(op);
    }
    if (TakeName("in")) return "in";
    const Token& after = tokens_[std::min(at_ + 1, tokens_.size() - 1)];
    if (!IsName("not") || after.kind != Kind::kName || after.text != "in") return "";
    at_ += 2;
    return "not in";
  }

  absl::StatusOr<ExprPtr> ParseCompare() {
    CATENA_ASSIGN_OR_RETURN(ExprPtr first, ParseChain(0));
    std::unique_ptr<Expr> e;
    for (std::string op; !(op = TakeComparison()).empty();) {
      if (e == nullptr) {
        e = New(Expr::Kind::kCompare);
        e->kids.push_back(std::move(first));
      }
      e->texts.push_back(std::move(op));
      CATENA_ASSIGN_OR_RETURN(e->kids.emplace_back(), ParseChain(0));
    }
    if (e != nullptr) return e;
    return first;
  }

  // Operators of the same rank, from left to right.
  absl::StatusOr<ExprPtr> ParseChain(size_t rank) {
    static const std::vector<std::vector<std::string_view>> kRanks = {
        {"+", "-"}, {"~"}, {"*", "/", "//", "%"}};
    if (rank == kRanks.size()) return ParseUnary();
    CATENA_ASSIGN_OR_RETURN(ExprPtr left, ParseChain(rank + 1));
    while (true) {
      const auto op = std::find_if(kRanks[rank].begin(), kRanks[rank].end(),
                                   [&](std::string_view o) { return IsOperator(o); });
      if (op == kRanks[rank].end()) return left;
      ++at_;
      CATENA_ASSIGN_OR_RETURN(ExprPtr right, ParseChain(rank + 1));
      CATENA_ASSIGN_OR_RETURN(
          left, Grown(NewBinary(std::string(*op), std::move(left), std::move(right))));
    }
  }

  absl::StatusOr<ExprPtr> ParseUnary(bool filters = true) {
    const Deeper deeper(&depth_);
    CATENA_RETURN_IF_ERROR(CheckDepth());
    ExprPtr operand;
    if (IsOperator("-") || IsOperator("+")) {
      auto e = New(Expr::Kind::kUnary, Take().text);
      CATENA_ASSIGN_OR_RETURN(e->kids.emplace_back(), ParseUnary(false));
      operand = std::move(e);
    } else {
      CATENA_ASSIGN_OR_RETURN(operand, ParsePrimary());
    }
    CATENA_ASSIGN_OR_RETURN(operand, ParsePostfix(std::move(operand)));
    if (!filters) return operand;
    return ParseFilters(std::move(operand));
  }

  absl::StatusOr<ExprPtr> ParsePrimary() {
    const Token& token = Take();
    auto literal = New(Expr::Kind::kLiteral);
    literal->line = token.line;
    const char* begin = token.text.data();
    const char* end = begin + token.text.size();
    if (token.kind == Kind::kInteger) {
      int64_t value = 0;
      if (std::from_chars(begin, end, value).ec != std::errc()) {
        return ErrorAt(token.line, fmt::format("{} is too large", token.text));
      }
      literal->literal = value;
      return literal;
    }
    if (token.kind == Kind::kFloat) {
      double value = 0;
      std::from_chars(begin, end, value);
      literal->literal = value;
      return literal;
    }
    if (token.kind == Kind::kString) {  // those beside each other are one
      std::string text = token.text;
      while (Next().kind == Kind::kString) text += Take().text;
      literal->literal = std::move(text);
      return literal;
    }
    if (token.kind == Kind::kName) return NameOrConstant(token, std::move(literal));
    if (token.kind == Kind::kOperator && token.text == "(") return ParseBrackets();
    if (token.kind == Kind::kOperator && token.text == "[") return ParseList();
    if (token.kind == Kind::kOperator && token.text == "{") return ParseDict();
    --at_;
    return Unexpected("a value");
  }

  absl::StatusOr<ExprPtr> NameOrConstant(const Token& token, std::unique_ptr<Expr> literal) {
    if (token.text == "true" || token.text == "True") {
      literal->literal = true;
    } else if (token.text == "false" || token.text == "False") {
      literal->literal = false;
    } else if (token.text == "none" || token.text == "None") {
      literal->literal = None{};
    } else {
      literal->kind = Expr::Kind::kName;
      literal->text = token.text;
    }
    return literal;
  }

  absl::StatusOr<ExprPtr> ParseBrackets() {
    if (TakeOperator(")")) return New(Expr::Kind::kList);
    CATENA_ASSIGN_OR_RETURN(ExprPtr inside, ParseTuple());
    CATENA_RETURN_IF_ERROR(ExpectOperator(")"));
    return inside;
  }

  absl::StatusOr<ExprPtr> ParseList() {
    auto list = New(Expr::Kind::kList);
    while (!TakeOperator("]")) {
      if (!list->kids.empty()) CATENA_RETURN_IF_ERROR(ExpectOperator(","));
      if (TakeOperator("]")) break;
      CATENA_ASSIGN_OR_RETURN(list->kids.emplace_back(), ParseExpr());
    }
    return list;
  }

  absl::StatusOr<ExprPtr> ParseDict() {
    auto dict = New(Expr::Kind::kDict);
    while (!TakeOperator("}")) {
      if (!dict->kids.empty()) CATENA_RETURN_IF_ERROR(ExpectOperator(","));
      if (TakeOperator("}")) break;
      CATENA_ASSIGN_OR_RETURN(dict->kids.emplace_back(), ParseExpr());
      CATENA_RETURN_IF_ERROR(ExpectOperator(":"));
      CATENA_ASSIGN_OR_RETURN(dict->kids.emplace_back(), ParseExpr());
    }
    return dict;
  }

  // .name, [item], [from:to:step] and (arguments), as many as there are.
  absl::StatusOr<ExprPtr> ParsePostfix(ExprPtr operand) {
    while (true) {
      std::unique_ptr<Expr> e;
      if (TakeOperator(".")) {
        e = New(Expr::Kind::kAttribute);
        CATENA_ASSIGN_OR_RETURN(e->text, ExpectName());
        e->kids.push_back(std::move(operand));
      } else if (TakeOperator("[")) {
        e = New(Expr::Kind::kItem);
        e->kids.push_back(std::move(operand));
        CATENA_RETURN_IF_ERROR(ParseSubscript(e.get()));
      } else if (TakeOperator("(")) {
        e = New(Expr::Kind::kCall);
        e->kids.push_back(std::move(operand));
        CATENA_ASSIGN_OR_RETURN(e->arguments, ParseArguments());
      } else {
        return operand;
      }
      CATENA_ASSIGN_OR_RETURN(operand, Grown(std::move(e)));
    }
  }

  absl::Status ParseSubscript(Expr* e) {
    std::vector<ExprPtr> parts(1);
    while (!TakeOperator("]")) {
      if (TakeOperator(":")) {
        if (parts.size() == 3) return Unexpected("\"]\"");
        parts.emplace_back();
      } else if (parts.back() == nullptr) {
        CATENA_ASSIGN_OR_RETURN(parts.back(), ParseExpr());
      } else {
        return Unexpected("\"]\"");
      }
    }
    if (parts.size() == 1 && parts[0] == nullptr) return Unexpected("an index");
    if (parts.size() > 1) {
      e->kind = Expr::Kind::kSlice;
      parts.resize(3);
    }
    for (ExprPtr& part : parts) e->kids.push_back(std::move(part));
    return absl::OkStatus();
  }

  // Behind "(", up to ")".
  absl::StatusOr<std::vector<Argument>> ParseArguments() {
    std::vector<Argument> arguments;
    while (!TakeOperator(")")) {
      if (!arguments.empty()) CATENA_RETURN_IF_ERROR(ExpectOperator(","));
      if (TakeOperator(")")) break;
      Argument& a = arguments.emplace_back();
      const Token& after = tokens_[std::min(at_ + 1, tokens_.size() - 1)];
      if (Next().kind == Kind::kName && after.kind == Kind::kOperator && after.text == "=") {
        a.name = Take().text;
        ++at_;
      }
      CATENA_ASSIGN_OR_RETURN(a.value, ParseExpr());
    }
    return arguments;
  }

  absl::StatusOr<ExprPtr> ParseFilters(ExprPtr operand) {
    while (true) {
      if (TakeOperator("|")) {
        CATENA_ASSIGN_OR_RETURN(operand, ParseFilterOf(std::move(operand)));
      } else if (TakeName("is")) {
        CATENA_ASSIGN_OR_RETURN(operand, ParseTest(std::move(operand)));
      } else if (IsOperator("(")) {
        CATENA_ASSIGN_OR_RETURN(operand, ParsePostfix(std::move(operand)));
      } else {
        return operand;
      }
    }
  }

  // Behind "|", or where a block begins whose text is filtered (no operand): filters, one or more.
  absl::StatusOr<ExprPtr> ParseFilterOf(ExprPtr operand) {
    do {
      auto e = New(Expr::Kind::kFilter);
      CATENA_ASSIGN_OR_RETURN(e->text, ExpectName());
      if (!IsFilter(e->text)) return Error(fmt::format("no filter {} is known", Quoted(e->text)));
      e->kids.push_back(std::move(operand));
      if (TakeOperator("(")) {
        CATENA_ASSIGN_OR_RETURN(e->arguments, ParseArguments());
      }
      CATENA_ASSIGN_OR_RETURN(operand, Grown(std::move(e)));
    } while (TakeOperator("|"));
    return operand;
  }

  absl::StatusOr<ExprPtr> ParseTest(ExprPtr operand) {
    const bool negated = TakeName("not");
    auto e = New(Expr::Kind::kTest);
    CATENA_ASSIGN_OR_RETURN(e->text, ExpectName());
    if (!IsTest(e->text)) return Error(fmt::format("no test {} is known", Quoted(e->text)));
    e->kids.push_back(std::move(operand));
    const Kind next = Next().kind;
    const bool value = next == Kind::kString || next == Kind::kInteger || next == Kind::kFloat ||
                       IsOperator("[") || IsOperator("{") ||
                       (next == Kind::kName && !IsName("else") && !IsName("or") && !IsName("and") &&
                        !IsName("is") && !IsName("if") && !IsName("not"));
    if (TakeOperator("(")) {
      CATENA_ASSIGN_OR_RETURN(e->arguments, ParseArguments());
    } else if (value) {
      CATENA_ASSIGN_OR_RETURN(ExprPtr argument, ParsePrimary());
      CATENA_ASSIGN_OR_RETURN(argument, ParsePostfix(std::move(argument)));
      e->arguments.push_back({"", std::move(argument)});
    }
    if (!negated) return Grown(std::move(e));
    auto inverse = New(Expr::Kind::kUnary, "not");
    CATENA_ASSIGN_OR_RETURN(inverse->kids.emplace_back(), Grown(std::move(e)));
    return Grown(std::move(inverse));
  }

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int depth_ = 0, loops_ = 0;
};

}  // namespace

absl::StatusOr<Block> Parse(std::string_view source) {
  CATENA_ASSIGN_OR_RETURN(std::vector<Token> tokens, Lex(source));
  if (tokens.size() > kMaxTokens) {
    return ErrorAt(tokens[kMaxTokens].line, fmt::format("more than {} tokens", kMaxTokens));
  }
  return Parser(std::move(tokens)).Run();
}

}  // namespace catena::jinja
