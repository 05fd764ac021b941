// The tokens of a template as its parsers read them, and how deep they are in it.
//
// Thread rules: one thread.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/chat/jinja/lexer.h"

namespace catena::jinja {

class TokenReader {
 public:
  // REQUIRES: the last token is kEnd.
  explicit TokenReader(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& Next() const { return tokens_[at_]; }
  // The one behind the next.
  const Token& AfterNext() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  const Token& Take() { return tokens_[std::min(at_++, tokens_.size() - 1)]; }
  void Return() { --at_; }  // what was taken last

  bool Is(Token::Kind kind) const { return Next().kind == kind; }
  bool IsOperator(std::string_view op) const {
    return Is(Token::Kind::kOperator) && Next().text == op;
  }
  bool IsName(std::string_view name) const { return Is(Token::Kind::kName) && Next().text == name; }

  bool TakeIf(bool is) {
    if (is) ++at_;
    return is;
  }
  bool TakeOperator(std::string_view op) { return TakeIf(IsOperator(op)); }
  bool TakeName(std::string_view name) { return TakeIf(IsName(name)); }

  absl::Status Error(std::string_view what) const { return ErrorAt(Next().line, what); }
  absl::Status Unexpected(std::string_view wanted) const {
    const std::string found = Next().text.empty() ? "the end of a tag" : Quoted(Next().text);
    return Error(fmt::format("{} where {} should be", found, wanted));
  }
  absl::Status Expect(Token::Kind kind, std::string_view wanted) {
    return TakeIf(Is(kind)) ? absl::OkStatus() : Unexpected(wanted);
  }
  absl::Status ExpectOperator(std::string_view op) {
    return TakeOperator(op) ? absl::OkStatus() : Unexpected(Quoted(op));
  }
  absl::StatusOr<std::string> ExpectName() {
    if (!Is(Token::Kind::kName)) return Unexpected("a name");
    return Take().text;
  }

  // A place deeper, of blocks and brackets, until it goes.
  class Deeper {
   public:
    explicit Deeper(TokenReader* reader) : reader_(reader) { ++reader_->depth_; }
    ~Deeper() { --reader_->depth_; }
    Deeper(const Deeper&) = delete;
    Deeper& operator=(const Deeper&) = delete;

   private:
    TokenReader* reader_;
  };
  absl::Status CheckDepth() const {
    if (depth_ <= kMaxDepth) return absl::OkStatus();
    return Error(fmt::format("nested more than {} deep", kMaxDepth));
  }

 private:
  static constexpr int kMaxDepth = 200;

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace catena::jinja
