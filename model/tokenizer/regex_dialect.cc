#include "model/tokenizer/regex_dialect.h"

#include <optional>
#include <utility>

#include "model/tokenizer/regex_translator.h"

namespace catena {
namespace {

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

}  // namespace

// Up to the end, or the ) that ends the group, which is left.
absl::Status RegexTranslator::Alternatives(int depth) {
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
absl::Status RegexTranslator::Piece(int depth) {
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

absl::Status RegexTranslator::Literal(char32_t c) {
  if (flags_.ignore_case) {
    if (FoldsToSeveral(c) || IsLigature(previous_, c)) {
      return Unsupported("a character or pair like \xC3\x9F and ss in (?i)", "it outside (?i)");
    }
    previous_ = c;
  }
  AppendRegexLiteral(c, &out_);
  return absl::OkStatus();
}

absl::Status RegexTranslator::Inside(std::string_view opening, int depth) {
  out_ += opening;
  const Flags outer = flags_;
  CATENA_RETURN_IF_ERROR(Alternatives(depth + 1));
  flags_ = outer;
  if (!Skip(")")) return Damaged("a ( has no )");
  out_ += ')';
  return absl::OkStatus();
}

// Behind the (.
absl::Status RegexTranslator::Group(int depth) {
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
absl::Status RegexTranslator::Options(int depth) {
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
absl::Status RegexTranslator::OutsideEscape() {
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

// {n}, {n,}, {n,m} or {,m}; nullopt, and nothing is skipped, where the { is a plain character.
std::optional<RegexTranslator::Repeat> RegexTranslator::Interval() {
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
absl::Status RegexTranslator::Quantifiers(size_t start) {
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
void RegexTranslator::CountRepeat(size_t start, size_t weight, const Repeat& repeat) {
  const bool is_short = repeat.max.value_or(kMaxRepeat) <= kShortRepeat;
  if (is_short && repeat.max == repeat.min) return;  // there is nothing to try again
  if (!is_short) out_.insert(start, kCallout);
  out_ += fmt::format("(?C{})", std::min<size_t>(weight, 255));
}

// Puts callouts before what was put out from `start` on, in `size` bytes, where too much was passed
// without one.
void RegexTranslator::Pass(size_t start, size_t size) {
  for (passed_ += size; passed_ > kBytesPerCallout; passed_ -= kBytesPerCallout) {
    out_.insert(start, kCallout);
  }
}

// Where an alternative or a group begins: what follows in the one before may not be reached.
void RegexTranslator::PassBranch() {
  passed_ += kBranchBytes;
  if (passed_ <= kBytesPerCallout / 2) return;
  out_ += kCallout;
  passed_ = 0;
}

absl::StatusOr<std::string> TranslateRegex(std::string_view pattern) {
  if (pattern.size() > kMaxRegexBytes) {
    return absl::InvalidArgumentError(
        fmt::format("the pattern has {} bytes, over {}", pattern.size(), kMaxRegexBytes));
  }
  if (!IsValidUtf8(pattern)) return absl::InvalidArgumentError("the pattern is not UTF-8");
  return RegexTranslator(pattern).Run();
}

}  // namespace catena
