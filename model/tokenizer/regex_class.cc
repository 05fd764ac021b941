#include "model/tokenizer/regex_class.h"

#include <algorithm>
#include <utility>

#include <unicode/uchar.h>

namespace catena {
namespace {

// White_Space, a property that no longer grows; PCRE2's \s has U+180E besides.
constexpr std::string_view kSpaces = R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a})"
                                     R"(\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr std::string_view kNoSpaces =
    R"(\x{0}-\x{8}\x{e}-\x{1f}\x{21}-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff})"
    R"(\x{200b}-\x{2027}\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff})";
constexpr std::string_view kWords = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})";
constexpr std::string_view kLatin1Fractions = R"(\x{b2}\x{b3}\x{b9}\x{bc}-\x{be})";
constexpr std::string_view kHexDigits = "0-9A-Fa-f";

RegexSet Items(std::string_view items) { return {std::string(items), {}}; }

std::string Folded(std::string_view name) {
  std::string out;
  for (const char c : name) {
    if (c == ' ' || c == '-' || c == '_') continue;
    out.push_back(c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c);
  }
  return out;
}

struct NamedItems {
  std::string_view name, items;
};

// POSIX brackets as Oniguruma's doc/RE states them for Unicode.
constexpr NamedItems kPosix[] = {
    {"alnum", R"(\p{Alphabetic}\p{Nd})"},
    {"alpha", R"(\p{Alphabetic})"},
    {"ascii", R"(\x{0}-\x{7f})"},
    {"blank", R"(\p{Zs}\x{9})"},
    {"cntrl", R"(\p{Cc})"},
    {"digit", R"(\p{Nd})"},
    {"lower", R"(\p{Lowercase})"},
    {"space", kSpaces},
    {"upper", R"(\p{Uppercase})"},
    {"word", kWords},
    {"xdigit", kHexDigits},
};

// The name of a property as ICU spells it; "" where it has none.
std::string PropertyName(UProperty property, UPropertyNameChoice choice) {
  const char* name = u_getPropertyName(property, choice);
  return name == nullptr ? "" : name;
}

// A general category, script or yes-or-no property of Unicode, by ICU's names.
std::optional<RegexSet> UnicodeProperty(const std::string& name) {
  const int32_t category = u_getPropertyValueEnum(UCHAR_GENERAL_CATEGORY_MASK, name.c_str());
  if (category != UCHAR_INVALID_CODE) {
    const char* code =
        u_getPropertyValueName(UCHAR_GENERAL_CATEGORY_MASK, category, U_SHORT_PROPERTY_NAME);
    if (code == nullptr) return std::nullopt;
    return Items(fmt::format(R"(\p{{{}}})", code == std::string_view("LC") ? "L&" : code));
  }
  const int32_t script = u_getPropertyValueEnum(UCHAR_SCRIPT, name.c_str());
  if (script != UCHAR_INVALID_CODE) {
    const char* code = u_getPropertyValueName(UCHAR_SCRIPT, script, U_LONG_PROPERTY_NAME);
    if (code == nullptr) return std::nullopt;
    return Items(fmt::format(R"(\p{{sc:{}}})", code));  // PCRE2's plain names are extensions
  }
  const UProperty property = u_getPropertyEnum(name.c_str());
  if (property < UCHAR_BINARY_START || property >= UCHAR_BINARY_LIMIT) return std::nullopt;
  return Items(fmt::format(R"(\p{{{}}})", PropertyName(property, U_LONG_PROPERTY_NAME)));
}

}  // namespace

void RegexSet::Add(const RegexSet& other) {
  items += other.items;
  parts.insert(parts.end(), other.parts.begin(), other.parts.end());
}

std::string RegexSet::Expression(bool negated) const {
  if (parts.empty()) return fmt::format("[{}{}]", negated ? "^" : "", items);
  if (!negated && items.empty() && parts.size() == 1) return parts[0];
  std::string any = items.empty() ? "" : fmt::format("[{}]", items);
  for (const std::string& part : parts) any += (any.empty() ? "" : "|") + part;
  // Atomic: whichever part matches, it is the same character.
  return negated ? fmt::format(R"((?:(?!{})\p{{Any}}))", any) : fmt::format("(?>{})", any);
}

RegexSet Complement(const RegexSet& set) { return {"", {set.Expression(true)}}; }

RegexSet Intersection(const std::vector<RegexSet>& sets) {
  if (sets.size() == 1) return sets[0];
  std::string all = "(?:";
  for (size_t i = 0; i + 1 < sets.size(); ++i) all += fmt::format("(?={})", sets[i].Expression());
  return {"", {all + sets.back().Expression() + ")"}};
}

void AppendRegexLiteral(char32_t c, std::string* out) {
  const bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
  *out += plain ? std::string(1, static_cast<char>(c))
                : fmt::format(R"(\x{{{:x}}})", static_cast<uint32_t>(c));
}

std::optional<RegexSet> EscapedSet(char letter, bool in_class) {
  const std::string words = std::string(kWords) + std::string(in_class ? "" : kLatin1Fractions);
  switch (letter) {
    case 'd':
      return Items(R"(\p{Nd})");
    case 'D':
      return Items(R"(\P{Nd})");
    case 'h':
      return Items(kHexDigits);
    case 'H':
      return Complement(Items(kHexDigits));
    case 's':
      return Items(kSpaces);
    case 'S':
      return in_class ? Items(kNoSpaces) : Complement(Items(kSpaces));
    case 'w':
      return Items(words);
    case 'W':
      return Complement(Items(words));
    default:
      return std::nullopt;
  }
}

std::optional<RegexSet> PropertySet(std::string_view name, bool bracket) {
  const std::string folded = Folded(name);
  for (const NamedItems& posix : kPosix) {
    if (posix.name == folded) return Items(posix.items);
  }
  if (folded == "punct") return Items(bracket ? R"(\p{P}\p{S})" : R"(\p{P})");
  const RegexSet hidden = Items(R"(\p{Cc}\p{Cn}\p{Cs})" + std::string(kSpaces));
  if (folded == "graph") return Complement(hidden);
  if (folded == "print") return RegexSet{R"(\p{Zs})", Complement(hidden).parts};
  if (bracket) return std::nullopt;
  if (folded == "any") return Items(R"(\p{Any})");
  return UnicodeProperty(folded);
}

bool DependsOnCase(std::string_view name) {
  const std::string folded = Folded(name);
  for (const std::string_view cased : {"lu", "ll", "lt", "lower", "upper", "lowercase", "uppercase",
                                       "lowercaseletter", "uppercaseletter", "titlecaseletter"}) {
    if (folded == cased) return true;
  }
  return false;
}

}  // namespace catena
