#include "model/tokenizer/split_patterns.h"

#include <algorithm>
#include <cstdint>

#include "model/tokenizer/unicode.h"
#include "model/tokenizer/utf8.h"

namespace catena {
namespace {

// GPT-2's is also written with its contractions grouped.
constexpr KnownSplitPattern kPatterns[] = {
    {R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)",
     SplitPattern::kGpt2},
    {R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)",
     SplitPattern::kGpt2},
    {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})"
     R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     SplitPattern::kLlama3},
    {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})"
     R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     SplitPattern::kQwen2},
    {R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
     R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
     R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
     R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3})"
     R"(| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     SplitPattern::kGpt4o},
};

// Reads characters of one text with their classes.
class Scanner {
 public:
  Scanner(std::string_view text, size_t at) : text_(text), start_(at), at_(at) {}

  bool AtEnd() const { return at_ == text_.size(); }
  size_t at() const { return at_; }
  void Reset(size_t at) { at_ = at; }
  size_t Matched() const { return at_ - start_; }

  // The class and the value of the character here; 0 at the end.
  uint8_t Class() const { return AtEnd() ? 0 : classes_(ReadCodePoint(text_, at_).value); }
  char32_t Char() const { return AtEnd() ? 0 : ReadCodePoint(text_, at_).value; }
  void Next() { at_ += ReadCodePoint(text_, at_).size; }

  // Skips characters of any of the classes `in`, or none of the classes `out`; at most `limit`.
  void SkipIn(uint8_t in, size_t limit = SIZE_MAX) {
    for (; limit > 0 && (Class() & in) != 0; --limit) Next();
  }
  void SkipOut(uint8_t out) {
    while (!AtEnd() && (Class() & out) == 0) Next();
  }

  // Skips "'s", "'t", "'re", "'ve", "'m", "'ll" or "'d" where it stands here. Without case, U+017F
  // counts as s, as in Unicode's simple case folding.
  bool SkipContraction(bool ignore_case) {
    if (AtEnd() || text_[at_] != '\'') return false;
    const std::string_view rest = text_.substr(at_ + 1, 2);
    const auto letter = [&](size_t i) -> char {
      if (i >= rest.size()) return 0;
      const char c = rest[i];
      return ignore_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    };
    size_t size = 0;
    switch (letter(0)) {
      case 's':
      case 't':
      case 'm':
      case 'd':
        size = 1;
        break;
      case 'r':
      case 'v':
        size = letter(1) == 'e' ? 2 : 0;
        break;
      case 'l':
        size = letter(1) == 'l' ? 2 : 0;
        break;
      default:
        size = ignore_case && rest == "\xC5\xBF" ? 2 : 0;
    }
    at_ += size == 0 ? 0 : size + 1;
    return size > 0;
  }

  // The alternatives `\s+(?!\S)|\s+`: white space up to the end, or all but its last character,
  // or that one. REQUIRES: white space here.
  void SkipSpaceTail() {
    const size_t first = at_;
    SkipIn(kSpace);
    if (AtEnd()) return;
    const size_t last = at_ - ReadCodePointBefore(text_, at_).size;
    if (last > first) at_ = last;
  }

  // The alternatives `\s*[\r\n]+|\s+(?!\S)|\s+`. REQUIRES: white space here.
  void SkipSpaceWithNewlines() {
    const size_t first = at_;
    size_t after_newline = 0;
    while (!AtEnd()) {
      const uint8_t cls = Class();
      if ((cls & kSpace) == 0) break;
      Next();
      if (cls & kNewline) after_newline = at_;
    }
    if (after_newline > 0) {
      at_ = after_newline;
      return;
    }
    at_ = first;
    SkipSpaceTail();
  }

 private:
  const CharClasses& classes_ = CharClasses::Get();
  std::string_view text_;
  size_t start_, at_;
};

// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
size_t ScanGpt2(std::string_view text, size_t at) {
  Scanner s(text, at);
  if (s.SkipContraction(false)) return s.Matched();
  if (s.Char() == ' ') s.Next();
  const uint8_t cls = s.Class();
  if (cls & kLetter) {
    s.SkipIn(kLetter);
  } else if (cls & kNumber) {
    s.SkipIn(kNumber);
  } else if (!s.AtEnd() && (cls & kSpace) == 0) {
    s.SkipOut(kSpace | kLetter | kNumber);
  } else {
    s.Reset(at);
    s.SkipSpaceTail();
  }
  return s.Matched();
}

// `\p{N}{1,max}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`, with `slash`: `[\r\n/]*`.
// REQUIRES: no letter here.
void ScanRest(Scanner* s, size_t max_digits, bool slash) {
  const size_t at = s->at();
  if (s->Class() & kNumber) return s->SkipIn(kNumber, max_digits);
  if (s->Char() == ' ') s->Next();
  if (!s->AtEnd() && (s->Class() & (kSpace | kLetter | kNumber)) == 0) {
    s->SkipOut(kSpace | kLetter | kNumber);
    while ((s->Class() & kNewline) != 0 || (slash && s->Char() == '/')) s->Next();
    return;
  }
  s->Reset(at);
  s->SkipSpaceWithNewlines();
}

// `(?i:'s|…)|[^\r\n\p{L}\p{N}]?\p{L}+|` and ScanRest.
size_t ScanLlama3(std::string_view text, size_t at, size_t max_digits) {
  Scanner s(text, at);
  if (s.SkipContraction(true)) return s.Matched();
  if ((s.Class() & (kNewline | kLetter | kNumber)) == 0) s.Next();
  if (s.Class() & kLetter) {
    s.SkipIn(kLetter);
    return s.Matched();
  }
  s.Reset(at);
  ScanRest(&s, max_digits, false);
  return s.Matched();
}

// `[upper]*[lower]+`, where marks and letters without case are in both sets. On failure the place
// is undefined.
bool SkipWordInLower(Scanner* s) {
  size_t after_both = 0;  // the end of the last character of the first run that is also lower
  while (s->Class() & kUpper) {
    const bool both = s->Class() & kLower;
    s->Next();
    if (both) after_both = s->at();
  }
  if (s->Class() & kLower) {
    s->SkipIn(kLower);
    return true;
  }
  if (after_both > 0) s->Reset(after_both);  // [upper]* gives back until [lower]+ has one
  return after_both > 0;
}

// `[upper]+[lower]*`
bool SkipWordInUpper(Scanner* s) {
  if ((s->Class() & kUpper) == 0) return false;
  s->SkipIn(kUpper);
  s->SkipIn(kLower);
  return true;
}

// `[^\r\n\p{L}\p{N}]?[upper]*[lower]+(?i:'s|…)?|[^\r\n\p{L}\p{N}]?[upper]+[lower]*(?i:'s|…)?|` and
// ScanRest.
size_t ScanGpt4o(std::string_view text, size_t at) {
  Scanner s(text, at);
  const bool may_prefix = (s.Class() & (kNewline | kLetter | kNumber)) == 0;
  for (const auto skip_word : {SkipWordInLower, SkipWordInUpper}) {
    for (const bool prefix : {true, false}) {  // a mark can be the prefix or of the word
      if (prefix && !may_prefix) continue;
      s.Reset(at);
      if (prefix) s.Next();
      if (!skip_word(&s)) continue;
      s.SkipContraction(true);
      return s.Matched();
    }
  }
  s.Reset(at);
  ScanRest(&s, 3, true);
  return s.Matched();
}

}  // namespace

absl::Span<const KnownSplitPattern> KnownSplitPatterns() { return kPatterns; }

std::optional<SplitPattern> FindSplitPattern(std::string_view regex) {
  for (const KnownSplitPattern& p : kPatterns) {
    if (p.regex == regex) return p.pattern;
  }
  return std::nullopt;
}

size_t ScanWord(SplitPattern pattern, std::string_view text, size_t at) {
  switch (pattern) {
    case SplitPattern::kGpt2:
      return ScanGpt2(text, at);
    case SplitPattern::kLlama3:
      return ScanLlama3(text, at, 3);
    case SplitPattern::kQwen2:
      return ScanLlama3(text, at, 1);
    case SplitPattern::kGpt4o:
      return ScanGpt4o(text, at);
  }
  return text.size() - at;
}

}  // namespace catena
