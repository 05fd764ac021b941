// Reads a pattern in Oniguruma's dialect and writes it in PCRE2's (regex_dialect.h); private to the
// two files that do so: regex_dialect.cc has the structure, regex_characters.cc characters and
// classes.
//
// Thread rules: plain state, one thread at a time.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <absl/status/statusor.h>
#include <fmt/format.h>

#include "kernels/base/status.h"
#include "model/tokenizer/regex_class.h"
#include "model/tokenizer/utf8.h"

namespace catena {

inline constexpr int kMaxRegexDepth = 64;  // of groups and classes

// Whether a character becomes several where case is ignored: ß, ﬁ and their like.
bool FoldsToSeveral(char32_t c);

inline bool IsDecimal(char c) { return c >= '0' && c <= '9'; }

class RegexTranslator {
 public:
  explicit RegexTranslator(std::string_view pattern) : pattern_(pattern) {}

  absl::StatusOr<std::string> Run() {
    CATENA_RETURN_IF_ERROR(Alternatives(0));
    if (!AtEnd()) return Damaged("a ) has no ( before it");
    return std::move(out_);
  }

 private:
  struct Flags {
    bool ignore_case = false, dot_all = false;
  };
  struct Repeat {
    int min = 0;
    std::optional<int> max;
  };
  // Of a class: a character, which may begin a range, or a set.
  struct ClassItem {
    std::optional<char32_t> character;
    RegexSet set;
  };

  bool AtEnd() const { return at_ == pattern_.size(); }
  bool Is(std::string_view text) const { return pattern_.substr(at_).starts_with(text); }
  bool Skip(std::string_view text) {
    if (!Is(text)) return false;
    at_ += text.size();
    return true;
  }
  char32_t Next() {
    const CodePoint c = ReadCodePoint(pattern_, at_);
    at_ += c.size;
    return c.value;
  }

  absl::Status Damaged(std::string_view what) const {
    return absl::InvalidArgumentError(fmt::format("byte {} of the pattern: {}", at_, what));
  }
  absl::Status Unsupported(std::string_view what, std::string_view instead) const {
    return Damaged(fmt::format("{} is not supported; use {}", what, instead));
  }

  absl::Status Alternatives(int depth);
  absl::Status Piece(int depth);
  absl::Status Group(int depth);
  absl::Status Options(int depth);
  absl::Status Inside(std::string_view opening, int depth);
  absl::Status OutsideEscape();
  absl::Status Literal(char32_t c);
  absl::Status Quantifiers(size_t start);
  void CountRepeat(size_t start, size_t weight, const Repeat& repeat);
  void Pass(size_t start, size_t size);
  void PassBranch();
  std::optional<Repeat> Interval();
  absl::StatusOr<char32_t> EscapedCharacter();
  absl::StatusOr<char32_t> Hexadecimal();
  absl::StatusOr<RegexSet> Property(bool in_class);
  absl::StatusOr<RegexSet> Class(int depth);
  absl::StatusOr<RegexSet> ClassUnion(int depth);
  absl::StatusOr<ClassItem> ReadClassItem(int depth);
  absl::Status AddRange(char32_t first, int depth, RegexSet* set);

  std::string_view pattern_;
  size_t at_ = 0;
  std::string out_;
  size_t passed_ = 0;  // bytes and characters that PCRE2 may go through since the last callout
  Flags flags_;
  char32_t previous_ = 0;  // the literal just before this place, where case is ignored
};

}  // namespace catena
