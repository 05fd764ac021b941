#include "model/tokenizer/regex_dialect.h"

#include <optional>
#include <utility>
#include <vector>

#include <unicode/uchar.h>
#include <unicode/ustring.h>

#include "model/tokenizer/regex_class.h"
#include "model/tokenizer/utf8.h"

namespace catena {
namespace {

constexpr int kMaxRegexDepth = 64;     // of groups and classes
constexpr int kMaxRepeat = 1000;       // {n}; published patterns have {512}
constexpr int kMaxQuantifiers = 4;     // on one thing, a++ is one of them
constexpr size_t kMaxTranslated = 64;  // bytes a byte of the pattern, nested classes and all
// Of callouts (regex_dialect.h).
constexpr std::string_view kCallout = "(?C1)";
constexpr size_t kBytesPerCallout = 256;  // of the translation
constexpr size_t kBranchBytes = 16;       // that an alternative or group counts for besides its own
constexpr size_t kBytesPerWeight = 32;
constexpr size_t kGroupWeight = 16;  // of what is no class
constexpr int kShortRepeat = 8;      // times, up to which where it begins does not matter

bool IsDecimal(char c) { return c >= '0' && c <= '9'; }
bool IsAsciiLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// What a character becomes where case is ignored: one character but for ß, ﬁ and their like.
bool FoldsToSeveral(char32_t c) {
  UChar text[2], folded[8];
  int32_t n = 0;
  UErrorCode error = U_ZERO_ERROR;
  U16_APPEND_UNSAFE(text, n, c);
  const int32_t size = u_strFoldCase(folded, 8, text, n, U_FOLD_CASE_DEFAULT, &error);
  return U_SUCCESS(error) && u_countChar32(folded, size) > 1;
}

// Two ASCII letters that one character stands for where case is ignored: ß ﬆ ﬀ ﬁ ﬂ.
bool IsLigature(char32_t a, char32_t b) {
  const std::string_view first = "ssfff", second = "stfil";
  for (size_t i = 0; i < first.size(); ++i) {
    if ((a | 0x20) == static_cast<char32_t>(first[i]) &&
        (b | 0x20) == static_cast<char32_t>(second[i])) {
      return true;
    }
  }
  return false;
}

class Translator {
 public:
  explicit Translator(std::string_view pattern) : pattern_(pattern) {}

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

// Up to the end, or the ) that ends the group, which is left.
absl::Status Translator::Alternatives(int depth) {
  if (depth > kMaxRegexDepth)
    return Damaged(fmt::format("groups nest over {} deep", kMaxRegexDepth));
  while (!AtEnd() && !Is(")")) {
    previous_ = Is("|") ? 0 : previous_;
    if (Skip("|")) {
      if (depth > 0) out_ += kCallout;
      out_ += '|';
      PassBranch();
    } else {
      CATENA_RETURN_IF_ERROR(Piece(depth));
    }
    if (out_.size() > kMaxTranslated * kMaxRegexBytes) return Damaged("the pattern is too complex");
  }
  if (depth > 0) out_ += kCallout;
  return absl::OkStatus();
}

// One thing, and how often it may stand there.
absl::Status Translator::Piece(int depth) {
  if (Is("(")) PassBranch();
  const size_t start = out_.size();
  const char32_t before = std::exchange(previous_, 0);
  if (Is("*") || Is("+") || Is("?")) return Damaged("nothing stands before a quantifier");
  if (Skip("(")) {
    CATENA_RETURN_IF_ERROR(Group(depth));
    return Quantifiers(start);
  }
  if (Skip("[")) {
    CATENA_ASSIGN_OR_RETURN(const RegexSet set, Class(depth + 1));
    out_ += set.Expression();
  } else if (Skip(".")) {
    out_ += flags_.dot_all ? R"(\p{Any})" : R"([^\x{a}])";
  } else if (Skip("^")) {
    out_ += '^';
  } else if (Skip("$")) {
    out_ += '$';
  } else if (Skip("\\")) {
    CATENA_RETURN_IF_ERROR(OutsideEscape());
  } else {
    previous_ = before;
    CATENA_RETURN_IF_ERROR(Literal(Next()));
  }
  const size_t size = out_.size() - start;
  CATENA_RETURN_IF_ERROR(Quantifiers(start));
  Pass(start, size);
  return absl::OkStatus();
}

absl::Status Translator::Literal(char32_t c) {
  if (flags_.ignore_case) {
    if (FoldsToSeveral(c) || IsLigature(previous_, c)) {
      return Unsupported("a character or pair like \xC3\x9F and ss in (?i)", "it outside (?i)");
    }
    previous_ = c;
  }
  AppendRegexLiteral(c, &out_);
  return absl::OkStatus();
}

absl::Status Translator::Inside(std::string_view opening, int depth) {
  out_ += opening;
  const Flags outer = flags_;
  CATENA_RETURN_IF_ERROR(Alternatives(depth + 1));
  flags_ = outer;
  if (!Skip(")")) return Damaged("a ( has no )");
  out_ += ')';
  return absl::OkStatus();
}

// Behind the (.
absl::Status Translator::Group(int depth) {
  if (!Skip("?")) return Inside("(?:", depth);
  for (const std::string_view kind : {":", "=", "!", ">", "<=", "<!"}) {
    if (Skip(kind)) return Inside(fmt::format("(?{}", kind), depth);
  }
  if (Skip("#")) {
    const size_t end = pattern_.find(')', at_);
    if (end == std::string_view::npos) return Damaged("a comment has no )");
    at_ = end + 1;
    out_ += "(?:)";
    return absl::OkStatus();
  }
  if (Skip("<")) {
    const size_t end = pattern_.find('>', at_);
    if (end == std::string_view::npos) return Damaged("the name of a group has no >");
    at_ = end + 1;
    return Inside("(?:", depth);
  }
  return Options(depth);
}

// (?i:…), or (?i) for the rest of the group around it: all alternatives that follow.
absl::Status Translator::Options(int depth) {
  Flags flags = flags_;
  for (bool on = true; !Is(":") && !Is(")");) {
    if (Skip("-")) {
      on = false;
    } else if (Skip("i")) {
      flags.ignore_case = on;
    } else if (Skip("m")) {
      flags.dot_all = on;  // Oniguruma's name of what others call s
    } else {
      return Unsupported(fmt::format("the group (?{})", Quoted(pattern_.substr(at_, 1))),
                         "(?:..), (?=..), (?!..), (?<=..), (?<!..), (?>..), (?i:..) or (?m:..)");
    }
  }
  const bool rest = Skip(")");
  if (!rest) Skip(":");
  const Flags outer = std::exchange(flags_, flags);
  out_ += flags.ignore_case ? "(?i:" : "(?-i:";
  CATENA_RETURN_IF_ERROR(Alternatives(depth + 1));
  flags_ = outer;
  if (!rest && !Skip(")")) return Damaged("a ( has no )");
  out_ += ')';
  return absl::OkStatus();
}

// Behind a \ that is in no class.
absl::Status Translator::OutsideEscape() {
  if (AtEnd()) return Damaged("the pattern ends in a \\");
  const char letter = pattern_[at_];
  if (letter == 'p' || letter == 'P') {
    CATENA_ASSIGN_OR_RETURN(const RegexSet set, Property(false));
    out_ += set.Expression();
    return absl::OkStatus();
  }
  if (const std::optional<RegexSet> set = EscapedSet(letter, false)) {
    ++at_;
    out_ += set->Expression();
    return absl::OkStatus();
  }
  if (letter == 'A' || letter == 'Z' || letter == 'z') {
    ++at_;
    out_ += fmt::format("\\{}", letter);
  } else if (letter == 'b' || letter == 'B') {
    ++at_;
    const std::string word = EscapedSet('w', false)->Expression();
    out_ += letter == 'b' ? fmt::format("(?:(?<={0})(?!{0})|(?<!{0})(?={0}))", word)
                          : fmt::format("(?:(?<={0})(?={0})|(?<!{0})(?!{0}))", word);
  } else if (Skip("N")) {
    out_ += R"([^\x{a}])";
  } else if (Skip("O")) {
    out_ += R"(\p{Any})";
  } else if (Skip("R")) {
    out_ += R"((?>\x{d}\x{a}|[\x{a}-\x{d}\x{85}\x{2028}\x{2029}]))";
  } else {
    CATENA_ASSIGN_OR_RETURN(const char32_t c, EscapedCharacter());
    return Literal(c);
  }
  return absl::OkStatus();
}

// Behind a \: what stands for one character wherever it is.
absl::StatusOr<char32_t> Translator::EscapedCharacter() {
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
absl::StatusOr<char32_t> Translator::Hexadecimal() {
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
absl::StatusOr<RegexSet> Translator::Property(bool in_class) {
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
absl::StatusOr<RegexSet> Translator::Class(int depth) {
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
absl::StatusOr<RegexSet> Translator::ClassUnion(int depth) {
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

absl::Status Translator::AddRange(char32_t first, int depth, RegexSet* set) {
  Skip("-");
  CATENA_ASSIGN_OR_RETURN(const ClassItem last, ReadClassItem(depth));
  if (!last.character || *last.character < first) return Damaged("a range ends before it begins");
  AppendRegexLiteral(first, &set->items);
  set->items += '-';
  AppendRegexLiteral(*last.character, &set->items);
  return absl::OkStatus();
}

absl::StatusOr<Translator::ClassItem> Translator::ReadClassItem(int depth) {
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

// {n}, {n,}, {n,m} or {,m}; nullopt, and nothing is skipped, where the { is a plain character.
std::optional<Translator::Repeat> Translator::Interval() {
  const size_t start = at_;
  const auto number = [&]() -> std::optional<int> {
    if (AtEnd() || !IsDecimal(pattern_[at_])) return std::nullopt;
    int n = 0;
    for (; !AtEnd() && IsDecimal(pattern_[at_]); ++at_) {
      n = std::min(n * 10 + (pattern_[at_] - '0'), kMaxRepeat + 1);
    }
    return n;
  };
  if (Skip("{")) {
    const std::optional<int> min = number();
    const bool comma = Skip(",");
    const std::optional<int> max = comma ? number() : min;
    if ((min || max) && Skip("}")) return Repeat{min.value_or(0), max};
  }
  at_ = start;
  return std::nullopt;
}

// Of what was put out from `start` on. A second quantifier repeats the first one's whole.
absl::Status Translator::Quantifiers(size_t start) {
  const size_t weight =
      1 + (out_.size() - start) / kBytesPerWeight + (out_[start] == '(' ? kGroupWeight : 0);
  for (int n = 0;; ++n) {
    Repeat repeat;
    const char c = AtEnd() ? '\0' : pattern_[at_];
    const bool interval = c != '?' && c != '*' && c != '+';
    if (!interval) {
      ++at_;
      repeat = {c == '+' ? 1 : 0, c == '?' ? std::optional<int>(1) : std::nullopt};
    } else if (const std::optional<Repeat> r = Interval()) {
      repeat = *r;
    } else {
      return absl::OkStatus();
    }
    if (repeat.min > kMaxRepeat || repeat.max.value_or(0) > kMaxRepeat) {
      return Damaged(fmt::format("a repetition is over {} times", kMaxRepeat));
    }
    if (repeat.max && *repeat.max < repeat.min) {
      return Damaged("a repetition ends before it begins");
    }
    if (n == kMaxQuantifiers) return Damaged("so many quantifiers on one thing");
    previous_ = 0;
    if (n > 0) {
      out_.insert(start, "(?:");
      out_ += ')';
    }
    const bool exact = repeat.max == repeat.min;
    const bool lazy = !exact && Skip("?");  // {n}? is an optional {n}
    const bool possessive = !lazy && !interval && Skip("+");
    out_ += interval ? fmt::format("{{{},{}}}", repeat.min,
                                   repeat.max ? std::to_string(*repeat.max) : "")
                     : std::string(1, c);
    out_ += lazy ? "?" : possessive ? "+" : "";
    passed_ += static_cast<size_t>(repeat.min);
    CountRepeat(start, weight, repeat);
  }
}

// Puts callouts around what repeats, from `start` on.
void Translator::CountRepeat(size_t start, size_t weight, const Repeat& repeat) {
  const bool is_short = repeat.max.value_or(kMaxRepeat) <= kShortRepeat;
  if (is_short && repeat.max == repeat.min) return;  // there is nothing to try again
  if (!is_short) out_.insert(start, kCallout);
  out_ += fmt::format("(?C{})", std::min<size_t>(weight, 255));
}

// Puts callouts before what was put out from `start` on, in `size` bytes, where too much was passed
// without one.
void Translator::Pass(size_t start, size_t size) {
  for (passed_ += size; passed_ > kBytesPerCallout; passed_ -= kBytesPerCallout) {
    out_.insert(start, kCallout);
  }
}

// Where an alternative or a group begins: what follows in the one before may not be reached.
void Translator::PassBranch() {
  passed_ += kBranchBytes;
  if (passed_ <= kBytesPerCallout / 2) return;
  out_ += kCallout;
  passed_ = 0;
}

}  // namespace

absl::StatusOr<std::string> TranslateRegex(std::string_view pattern) {
  if (pattern.size() > kMaxRegexBytes) {
    return absl::InvalidArgumentError(
        fmt::format("the pattern has {} bytes, over {}", pattern.size(), kMaxRegexBytes));
  }
  if (!IsValidUtf8(pattern)) return absl::InvalidArgumentError("the pattern is not UTF-8");
  return Translator(pattern).Run();
}

}  // namespace catena
