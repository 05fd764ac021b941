// Character classes for PCRE2: sets of characters, and the classes and escapes of Oniguruma's
// dialect that name them (regex_dialect.h). Pure functions: any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/base/status.h"

namespace catena {

// A union: what stands in a class of PCRE2 ("a-z\p{L}"), and expressions that match one character
// each, for what no class of PCRE2 can say.
struct RegexSet {
  std::string items;
  std::vector<std::string> parts;

  void Add(const RegexSet& other);
  // An expression that matches one character that is in the set, or that is not.
  std::string Expression(bool negated = false) const;
};

// All characters outside the set.
RegexSet Complement(const RegexSet& set);
// Those in all of the sets.
RegexSet Intersection(const std::vector<RegexSet>& sets);

// Appends a character that stands for itself.
void AppendRegexLiteral(char32_t c, std::string* out);

// \d \h \s \w, and in capitals all others; nullopt where the letter is none of them. Outside a
// class \w takes ² ³ ¹ ¼ ½ ¾ too, as Oniguruma does.
std::optional<RegexSet> EscapedSet(char letter, bool in_class);

// [:name:] or, where not `bracket`, \p{name}; nullopt where there is no such property. Case,
// spaces, '-' and '_' in the name do not count.
std::optional<RegexSet> PropertySet(std::string_view name, bool bracket);

// Whether the property tells capitals from small letters.
bool DependsOnCase(std::string_view name);

}  // namespace catena
