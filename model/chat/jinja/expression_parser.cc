#include "model/chat/jinja/expression_parser.h"

#include <algorithm>
#include <charconv>

#include "model/chat/jinja/builtins.h"

namespace catena::jinja {
namespace {

constexpr int kMaxTree = 300;  // of an expression, chains counted

// From the loosest to the tightest.
class ExpressionParser {
 public:
  using Kind = Token::Kind;

  explicit ExpressionParser(TokenReader* in) : in_(in) {}

  absl::StatusOr<ExprPtr> ParseTuple(bool conditional = true) {
    CATENA_ASSIGN_OR_RETURN(ExprPtr first, conditional ? ParseExpr() : ParseOr());
    if (!in_->IsOperator(",")) return first;
    auto list = New(Expr::Kind::kList);
    list->kids.push_back(std::move(first));
    while (in_->TakeOperator(",")) {
      if (in_->Is(Kind::kBlockEnd) || in_->Is(Kind::kOutputEnd) || in_->IsOperator(")")) {
        break;
      }
      CATENA_ASSIGN_OR_RETURN(ExprPtr next, conditional ? ParseExpr() : ParseOr());
      list->kids.push_back(std::move(next));
    }
    return list;
  }

  absl::StatusOr<ExprPtr> ParseExpr() {
    const TokenReader::Deeper deeper(in_);
    CATENA_RETURN_IF_ERROR(in_->CheckDepth());
    CATENA_ASSIGN_OR_RETURN(ExprPtr then, ParseOr());
    while (in_->TakeName("if")) {
      auto e = New(Expr::Kind::kConditional);
      e->kids.resize(3);
      CATENA_ASSIGN_OR_RETURN(e->kids[0], ParseOr());
      e->kids[1] = std::move(then);
      if (in_->TakeName("else")) {
        CATENA_ASSIGN_OR_RETURN(e->kids[2], ParseExpr());
      }
      CATENA_ASSIGN_OR_RETURN(then, Grown(std::move(e)));
    }
    return then;
  }

  absl::StatusOr<ExprPtr> ParseFilterOf(ExprPtr operand) {
    do {
      auto e = New(Expr::Kind::kFilter);
      CATENA_ASSIGN_OR_RETURN(e->text, in_->ExpectName());
      if (!IsFilter(e->text))
        return in_->Error(fmt::format("no filter {} is known", Quoted(e->text)));
      e->kids.push_back(std::move(operand));
      if (in_->TakeOperator("(")) {
        CATENA_ASSIGN_OR_RETURN(e->arguments, ParseArguments());
      }
      CATENA_ASSIGN_OR_RETURN(operand, Grown(std::move(e)));
    } while (in_->TakeOperator("|"));
    return operand;
  }

 private:
  std::unique_ptr<Expr> New(Expr::Kind kind, std::string text = "") const {
    auto e = std::make_unique<Expr>();
    e->kind = kind;
    e->line = in_->Next().line;
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
    if (e->depth > kMaxTree) return in_->Error("the expression is too long");
    return e;
  }

  absl::StatusOr<ExprPtr> ParseOr() {
    CATENA_ASSIGN_OR_RETURN(ExprPtr left, ParseAnd());
    while (in_->TakeName("or")) {
      CATENA_ASSIGN_OR_RETURN(ExprPtr right, ParseAnd());
      CATENA_ASSIGN_OR_RETURN(left, Grown(NewBinary("or", std::move(left), std::move(right))));
    }
    return left;
  }

  absl::StatusOr<ExprPtr> ParseAnd() {
    CATENA_ASSIGN_OR_RETURN(ExprPtr left, ParseNot());
    while (in_->TakeName("and")) {
      CATENA_ASSIGN_OR_RETURN(ExprPtr right, ParseNot());
      CATENA_ASSIGN_OR_RETURN(left, Grown(NewBinary("and", std::move(left), std::move(right))));
    }
    return left;
  }

  absl::StatusOr<ExprPtr> ParseNot() {
    const TokenReader::Deeper deeper(in_);
    CATENA_RETURN_IF_ERROR(in_->CheckDepth());
    if (!in_->TakeName("not")) return ParseCompare();
    auto e = New(Expr::Kind::kUnary, "not");
    CATENA_ASSIGN_OR_RETURN(e->kids.emplace_back(), ParseNot());
    return e;
  }

  // The comparison that comes next, taken; "" where there is none.
  std::string TakeComparison() {
    for (const std::string_view op : {"==", "!=", "<=", ">=", "<", ">"}) {
      if (in_->TakeOperator(op)) return std::string(op);
    }
    if (in_->TakeName("in")) return "in";
    const Token& after = in_->AfterNext();
    if (!in_->IsName("not") || after.kind != Kind::kName || after.text != "in") return "";
    in_->Take();
    in_->Take();
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
                                   [&](std::string_view o) { return in_->IsOperator(o); });
      if (op == kRanks[rank].end()) return left;
      in_->Take();
      CATENA_ASSIGN_OR_RETURN(ExprPtr right, ParseChain(rank + 1));
      CATENA_ASSIGN_OR_RETURN(
          left, Grown(NewBinary(std::string(*op), std::move(left), std::move(right))));
    }
  }

  absl::StatusOr<ExprPtr> ParseUnary(bool filters = true) {
    const TokenReader::Deeper deeper(in_);
    CATENA_RETURN_IF_ERROR(in_->CheckDepth());
    ExprPtr operand;
    if (in_->IsOperator("-") || in_->IsOperator("+")) {
      auto e = New(Expr::Kind::kUnary, in_->Take().text);
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
    const Token& token = in_->Take();
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
      while (in_->Is(Kind::kString)) text += in_->Take().text;
      literal->literal = std::move(text);
      return literal;
    }
    if (token.kind == Kind::kName) return NameOrConstant(token, std::move(literal));
    if (token.kind == Kind::kOperator && token.text == "(") return ParseBrackets();
    if (token.kind == Kind::kOperator && token.text == "[") return ParseList();
    if (token.kind == Kind::kOperator && token.text == "{") return ParseDict();
    in_->Return();
    return in_->Unexpected("a value");
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
    if (in_->TakeOperator(")")) return New(Expr::Kind::kList);
    CATENA_ASSIGN_OR_RETURN(ExprPtr inside, ParseTuple());
    CATENA_RETURN_IF_ERROR(in_->ExpectOperator(")"));
    return inside;
  }

  absl::StatusOr<ExprPtr> ParseList() {
    auto list = New(Expr::Kind::kList);
    while (!in_->TakeOperator("]")) {
      if (!list->kids.empty()) CATENA_RETURN_IF_ERROR(in_->ExpectOperator(","));
      if (in_->TakeOperator("]")) break;
      CATENA_ASSIGN_OR_RETURN(list->kids.emplace_back(), ParseExpr());
    }
    return list;
  }

  absl::StatusOr<ExprPtr> ParseDict() {
    auto dict = New(Expr::Kind::kDict);
    while (!in_->TakeOperator("}")) {
      if (!dict->kids.empty()) CATENA_RETURN_IF_ERROR(in_->ExpectOperator(","));
      if (in_->TakeOperator("}")) break;
      CATENA_ASSIGN_OR_RETURN(dict->kids.emplace_back(), ParseExpr());
      CATENA_RETURN_IF_ERROR(in_->ExpectOperator(":"));
      CATENA_ASSIGN_OR_RETURN(dict->kids.emplace_back(), ParseExpr());
    }
    return dict;
  }

  // .name, [item], [from:to:step] and (arguments), as many as there are.
  absl::StatusOr<ExprPtr> ParsePostfix(ExprPtr operand) {
    while (true) {
      std::unique_ptr<Expr> e;
      if (in_->TakeOperator(".")) {
        e = New(Expr::Kind::kAttribute);
        CATENA_ASSIGN_OR_RETURN(e->text, in_->ExpectName());
        e->kids.push_back(std::move(operand));
      } else if (in_->TakeOperator("[")) {
        e = New(Expr::Kind::kItem);
        e->kids.push_back(std::move(operand));
        CATENA_RETURN_IF_ERROR(ParseSubscript(e.get()));
      } else if (in_->TakeOperator("(")) {
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
    while (!in_->TakeOperator("]")) {
      if (in_->TakeOperator(":")) {
        if (parts.size() == 3) return in_->Unexpected("\"]\"");
        parts.emplace_back();
      } else if (parts.back() == nullptr) {
        CATENA_ASSIGN_OR_RETURN(parts.back(), ParseExpr());
      } else {
        return in_->Unexpected("\"]\"");
      }
    }
    if (parts.size() == 1 && parts[0] == nullptr) return in_->Unexpected("an index");
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
    while (!in_->TakeOperator(")")) {
      if (!arguments.empty()) CATENA_RETURN_IF_ERROR(in_->ExpectOperator(","));
      if (in_->TakeOperator(")")) break;
      Argument& a = arguments.emplace_back();
      const Token& after = in_->AfterNext();
      if (in_->Is(Kind::kName) && after.kind == Kind::kOperator && after.text == "=") {
        a.name = in_->Take().text;
        in_->Take();
      }
      CATENA_ASSIGN_OR_RETURN(a.value, ParseExpr());
    }
    return arguments;
  }

  absl::StatusOr<ExprPtr> ParseFilters(ExprPtr operand) {
    while (true) {
      if (in_->TakeOperator("|")) {
        CATENA_ASSIGN_OR_RETURN(operand, ParseFilterOf(std::move(operand)));
      } else if (in_->TakeName("is")) {
        CATENA_ASSIGN_OR_RETURN(operand, ParseTest(std::move(operand)));
      } else if (in_->IsOperator("(")) {
        CATENA_ASSIGN_OR_RETURN(operand, ParsePostfix(std::move(operand)));
      } else {
        return operand;
      }
    }
  }

  absl::StatusOr<ExprPtr> ParseTest(ExprPtr operand) {
    const bool negated = in_->TakeName("not");
    auto e = New(Expr::Kind::kTest);
    CATENA_ASSIGN_OR_RETURN(e->text, in_->ExpectName());
    if (!IsTest(e->text)) return in_->Error(fmt::format("no test {} is known", Quoted(e->text)));
    e->kids.push_back(std::move(operand));
    const Kind next = in_->Next().kind;
    const bool value =
        next == Kind::kString || next == Kind::kInteger || next == Kind::kFloat ||
        in_->IsOperator("[") || in_->IsOperator("{") ||
        (next == Kind::kName && !in_->IsName("else") && !in_->IsName("or") && !in_->IsName("and") &&
         !in_->IsName("is") && !in_->IsName("if") && !in_->IsName("not"));
    if (in_->TakeOperator("(")) {
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

  TokenReader* in_;
};

}  // namespace

absl::StatusOr<ExprPtr> ParseExpr(TokenReader* in) { return ExpressionParser(in).ParseExpr(); }

absl::StatusOr<ExprPtr> ParseTuple(TokenReader* in, bool conditional) {
  return ExpressionParser(in).ParseTuple(conditional);
}

absl::StatusOr<ExprPtr> ParseFilters(TokenReader* in, ExprPtr operand) {
  return ExpressionParser(in).ParseFilterOf(std::move(operand));
}

}  // namespace catena::jinja
