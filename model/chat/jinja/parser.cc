#include "model/chat/jinja/parser.h"

#include <algorithm>
#include <initializer_list>

#include "model/chat/jinja/expression_parser.h"
#include "model/chat/jinja/token_reader.h"

namespace catena::jinja {
namespace {

using Kind = Token::Kind;

constexpr size_t kMaxTokens = 100'000;

class Parser {
 public:
  explicit Parser(TokenReader* in) : in_(in) {}

  absl::StatusOr<Block> Run() {
    Block block;
    CATENA_RETURN_IF_ERROR(ParseBlock({}, &block));
    return block;
  }

 private:
  absl::Status ExpectBlockEnd() { return in_->Expect(Kind::kBlockEnd, "\"%}\""); }

  // Up to a block tag whose first word is one of `ends`, of which the word is taken; `end` says
  // which.
  absl::Status ParseBlock(std::initializer_list<std::string_view> ends, Block* block,
                          std::string* end = nullptr) {
    const TokenReader::Deeper deeper(in_);
    CATENA_RETURN_IF_ERROR(in_->CheckDepth());
    while (!in_->Is(Kind::kEnd)) {
      const Token& token = in_->Take();
      if (token.kind == Kind::kText) {
        block->push_back({.kind = Statement::Kind::kText, .line = token.line, .text = token.text});
      } else if (token.kind == Kind::kOutputBegin) {
        Statement s{.kind = Statement::Kind::kOutput, .line = token.line};
        CATENA_ASSIGN_OR_RETURN(s.expr, ParseTuple(in_));
        CATENA_RETURN_IF_ERROR(in_->Expect(Kind::kOutputEnd, "\"}}\""));
        block->push_back(std::move(s));
      } else {
        CATENA_ASSIGN_OR_RETURN(const std::string word, in_->ExpectName());
        if (std::find(ends.begin(), ends.end(), word) != ends.end()) {
          if (end != nullptr) *end = word;
          return absl::OkStatus();
        }
        CATENA_RETURN_IF_ERROR(ParseStatement(word, token.line, block));
      }
    }
    if (ends.size() == 0) return absl::OkStatus();
    return in_->Error(fmt::format("the template ends before {{% {} %}}", *(ends.end() - 1)));
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
      CATENA_ASSIGN_OR_RETURN(s.expr, ParseFilters(in_, nullptr));
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
    const TokenReader::Deeper deeper(in_);
    CATENA_RETURN_IF_ERROR(in_->CheckDepth());
    s->kind = Statement::Kind::kIf;
    CATENA_ASSIGN_OR_RETURN(s->expr, ParseTuple(in_));
    CATENA_RETURN_IF_ERROR(ExpectBlockEnd());
    std::string end;
    CATENA_RETURN_IF_ERROR(ParseBlock({"elif", "else", "endif"}, &s->body, &end));
    if (end == "elif") {
      Statement other{.kind = Statement::Kind::kIf, .line = in_->Next().line};
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
    const bool brackets = in_->TakeOperator("(");
    do {
      if (brackets && in_->IsOperator(")")) break;
      CATENA_ASSIGN_OR_RETURN(names.emplace_back(), in_->ExpectName());
    } while (in_->TakeOperator(","));
    if (brackets) CATENA_RETURN_IF_ERROR(in_->ExpectOperator(")"));
    return names;
  }

  absl::Status ParseFor(Statement* s) {
    s->kind = Statement::Kind::kFor;
    CATENA_ASSIGN_OR_RETURN(s->names, ParseTargets());
    if (!in_->TakeName("in")) return in_->Unexpected("\"in\"");
    CATENA_ASSIGN_OR_RETURN(s->expr, ParseTuple(in_, /*conditional=*/false));
    if (in_->TakeName("if")) {
      CATENA_ASSIGN_OR_RETURN(s->condition, ParseExpr(in_));
    }
    if (in_->IsName("recursive")) return in_->Error("a recursive loop is not supported");
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
    if (s->names.size() == 1 && in_->TakeOperator(".")) {
      s->text = std::move(s->names[0]);
      CATENA_ASSIGN_OR_RETURN(s->names[0], in_->ExpectName());
    }
    if (in_->TakeOperator("=")) {
      CATENA_ASSIGN_OR_RETURN(s->expr, ParseTuple(in_));
      return absl::OkStatus();
    }
    if (s->names.size() != 1 || !s->text.empty()) return in_->Unexpected("\"=\"");
    s->kind = Statement::Kind::kSetBlock;
    if (in_->TakeOperator("|")) {
      CATENA_ASSIGN_OR_RETURN(s->expr, ParseFilters(in_, nullptr));
    }
    CATENA_RETURN_IF_ERROR(ExpectBlockEnd());
    return ParseBlock({"endset"}, &s->body);
  }

  absl::Status ParseMacro(Statement* s) {
    s->kind = Statement::Kind::kMacro;
    auto macro = std::make_shared<Macro>();
    CATENA_ASSIGN_OR_RETURN(macro->name, in_->ExpectName());
    CATENA_RETURN_IF_ERROR(in_->ExpectOperator("("));
    while (!in_->TakeOperator(")")) {
      if (!macro->parameters.empty()) CATENA_RETURN_IF_ERROR(in_->ExpectOperator(","));
      Macro::Parameter& p = macro->parameters.emplace_back();
      CATENA_ASSIGN_OR_RETURN(p.name, in_->ExpectName());
      if (in_->TakeOperator("=")) {
        CATENA_ASSIGN_OR_RETURN(p.absent, ParseExpr(in_));
      }
    }
    CATENA_RETURN_IF_ERROR(ExpectBlockEnd());
    const int loops = std::exchange(loops_, 0);
    const absl::Status body = ParseBlock({"endmacro"}, &macro->body);
    loops_ = loops;
    CATENA_RETURN_IF_ERROR(body);
    in_->TakeIf(in_->Is(Kind::kName));  // {% endmacro name %}
    s->macro = std::move(macro);
    return absl::OkStatus();
  }

  TokenReader* in_;
  int loops_ = 0;
};

}  // namespace

absl::StatusOr<Block> Parse(std::string_view source) {
  CATENA_ASSIGN_OR_RETURN(std::vector<Token> tokens, Lex(source));
  if (tokens.size() > kMaxTokens) {
    return ErrorAt(tokens[kMaxTokens].line, fmt::format("more than {} tokens", kMaxTokens));
  }
  TokenReader reader(std::move(tokens));
  return Parser(&reader).Run();
}

}  // namespace catena::jinja
