// Characters, escapes, properties and classes of the dialect.
#include <unicode/uchar.h>
#include <unicode/ustring.h>

#include "model/tokenizer/regex_translator.h"

namespace catena {
namespace {

bool IsAsciiLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

}  // namespace

bool FoldsToSeveral(char32_t c) {
  UChar text[2], folded[8];
  int32_t n = 0;
  UErrorCode error = U_ZERO_ERROR;
  U16_APPEND_UNSAFE(text, n, c);
  const int32_t size = u_strFoldCase(folded, 8, text, n, U_FOLD_CASE_DEFAULT, &error);
  return U_SUCCESS(error) && u_countChar32(folded, size) > 1;
}

// Behind a \: what stands for one character wherever it is.
absl::StatusOr<char32_t> RegexTranslator::EscapedCharacter() {
  constexpr std::string_view kLetters = "tnrfvae";
  constexpr std::string_view kMeant = "\t\n\r\f\v\a\x1B";
  if (AtEnd()) return Damaged("the pattern ends in a \\");
  const char letter = pattern_[at_];
  if (letter == 'x' || letter == 'u') return Hexadecimal();
  if (const size_t i = kLetters.find(letter); i != std::string_view::npos) {
    ++at_;
    return kMeant[i];
  }
  if (letter == '0') {
    char32_t value = 0;
    for (int i = 0; i < 3 && !AtEnd() && pattern_[at_] >= '0' && pattern_[at_] <= '7'; ++i) {
      value = value * 8 + (pattern_[at_++] - '0');
    }
    return value;
  }
  if (IsDecimal(letter) || letter == 'k' || letter == 'g') {
    return Unsupported(fmt::format("\\{} (what a group matched)", letter), "the group's text");
  }
  if (IsAsciiLetter(letter)) {
    return Unsupported(fmt::format("\\{}", letter),
                       "\\p{..}, \\s, \\S, \\w, \\W, \\d, \\D or \\x{..}");
  }
  return Next();
}

// \xHH, \x{H…} or \uHHHH.
absl::StatusOr<char32_t> RegexTranslator::Hexadecimal() {
  const bool wide = pattern_[at_++] == 'u';
  const bool braces = !wide && Skip("{");
  const size_t limit = braces ? 8 : wide ? 4 : 2;
  const auto digit = [&]() -> int {
    const char c = AtEnd() ? '\0' : pattern_[at_];
    if (IsDecimal(c)) return c - '0';
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
  };
  uint64_t value = 0;
  size_t n = 0;
  for (; n < limit && digit() >= 0; ++n, ++at_) value = value * 16 + static_cast<uint64_t>(digit());
  const bool whole = n > 0 && (!wide || n == 4) && (!braces || Skip("}"));
  const bool byte = !wide && !braces && value > 0x7F;  // in Oniguruma a byte of UTF-8
  if (!whole || byte || value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) {
    return Damaged("that is no character; write \\x{41}");
  }
  return static_cast<char32_t>(value);
}

// At the p of \p{name}, \p{^name}, \P{name} or \pL.
absl::StatusOr<RegexSet> RegexTranslator::Property(bool in_class) {
  bool negated = pattern_[at_++] == 'P';
  std::string_view name = pattern_.substr(at_, 1);
  if (Skip("{")) {
    if (Skip("^")) negated = !negated;
    const size_t end = pattern_.find('}', at_);
    if (end == std::string_view::npos) return Damaged("\\p{ has no }");
    name = pattern_.substr(at_, end - at_);
    at_ = end;
  }
  if (AtEnd()) return Damaged("\\p has no name");
  std::optional<RegexSet> set = PropertySet(name, false);
  if (!set) {
    return Unsupported(fmt::format("the property {}", Quoted(name)),
                       "a category (L, Nd), a script (Han), or characters (\\x{41}-\\x{5a})");
  }
  if (in_class && flags_.ignore_case && DependsOnCase(name)) {
    return Unsupported(fmt::format("\\p{{{}}} in a class in (?i)", name), "\\p{L&}");
  }
  ++at_;
  if (!negated) return *std::move(set);
  const bool one = set->parts.empty() && set->items.starts_with("\\p") &&
                   set->items.find('}') == set->items.size() - 1;
  if (!one) return Complement(*set);
  set->items[1] = 'P';
  return *std::move(set);
}

// Behind the [, up to and with the ].
absl::StatusOr<RegexSet> RegexTranslator::Class(int depth) {
  if (depth > kMaxRegexDepth)
    return Damaged(fmt::format("classes nest over {} deep", kMaxRegexDepth));
  const bool negated = Skip("^");
  std::vector<RegexSet> sets(1);
  if (Skip("]")) AppendRegexLiteral(']', &sets[0].items);
  do {
    CATENA_ASSIGN_OR_RETURN(const RegexSet set, ClassUnion(depth));
    sets.back().Add(set);
    if (sets.back().items.empty() && sets.back().parts.empty()) return Damaged("a class is empty");
    if (!Is("&&")) break;
    sets.emplace_back();
  } while (Skip("&&"));
  if (!Skip("]")) return Damaged("a [ has no ]");
  RegexSet all = Intersection(sets);
  // Alone, a negated class is one of PCRE2's.
  return negated ? Complement(all) : std::move(all);
}

// Items up to a ] or &&, which is left.
absl::StatusOr<RegexSet> RegexTranslator::ClassUnion(int depth) {
  RegexSet set;
  while (!Is("]") && !Is("&&")) {
    CATENA_ASSIGN_OR_RETURN(const ClassItem item, ReadClassItem(depth));
    if (!item.character) {
      set.Add(item.set);
    } else if (Is("-") && !Is("-]")) {
      CATENA_RETURN_IF_ERROR(AddRange(*item.character, depth, &set));
    } else {
      AppendRegexLiteral(*item.character, &set.items);
    }
  }
  return set;
}

absl::Status RegexTranslator::AddRange(char32_t first, int depth, RegexSet* set) {
  Skip("-");
  CATENA_ASSIGN_OR_RETURN(const ClassItem last, ReadClassItem(depth));
  if (!last.character || *last.character < first) return Damaged("a range ends before it begins");
  AppendRegexLiteral(first, &set->items);
  set->items += '-';
  AppendRegexLiteral(*last.character, &set->items);
  return absl::OkStatus();
}

absl::StatusOr<RegexTranslator::ClassItem> RegexTranslator::ReadClassItem(int depth) {
  if (AtEnd()) return Damaged("a [ has no ]");
  if (Is("[:")) {
    const size_t end = pattern_.find(":]", at_ + 2);
    const std::string_view name =
        end == std::string_view::npos ? "" : pattern_.substr(at_ + 2, end - at_ - 2);
    const bool negated = name.starts_with("^");
    if (auto set = PropertySet(name.substr(negated ? 1 : 0), true)) {
      if (flags_.ignore_case && DependsOnCase(name.substr(negated ? 1 : 0))) {
        return Unsupported(fmt::format("[:{}:] in (?i)", name), "[:alpha:]");
      }
      at_ = end + 2;
      return ClassItem{std::nullopt, negated ? Complement(*set) : *std::move(set)};
    }
  }
  if (Skip("[")) {
    CATENA_ASSIGN_OR_RETURN(RegexSet set, Class(depth + 1));
    return ClassItem{std::nullopt, std::move(set)};
  }
  char32_t c = 0;
  if (!Skip("\\")) {
    c = Next();
  } else if (Is("p") || Is("P")) {
    CATENA_ASSIGN_OR_RETURN(RegexSet set, Property(true));
    return ClassItem{std::nullopt, std::move(set)};
  } else if (auto set = AtEnd() ? std::nullopt : EscapedSet(pattern_[at_], true)) {
    ++at_;
    return ClassItem{std::nullopt, *std::move(set)};
  } else if (Skip("b")) {
    c = '\b';
  } else {
    CATENA_ASSIGN_OR_RETURN(c, EscapedCharacter());
  }
  if (flags_.ignore_case && FoldsToSeveral(c)) {
    return Unsupported("a character like \xC3\x9F in (?i)", "it outside (?i)");
  }
  return ClassItem{c, {}};
}

}  // namespace catena
