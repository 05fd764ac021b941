// Regular expressions of tokenizers: the scanners written by hand cut as PCRE2 does, no pattern and
// no text takes for ever, on any machine alike, and what is refused is named.
#include "model/tokenizer/regex.h"

#include <ctime>
#include <random>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unicode/uchar.h>

#include "model/tokenizer/pre_tokenizer.h"
#include "model/tokenizer/regex_dialect.h"
#include "model/tokenizer/split_patterns.h"
#include "model/tokenizer/utf8.h"

namespace catena {
namespace {

using ::testing::HasSubstr;
using Words = std::vector<std::string>;

constexpr int kTexts = 20'000;  // drawn for each pattern

// The characters of each general category that Unicode 14 has: PCRE2's data are of that version,
// ICU's of a newer one.
std::vector<std::vector<char32_t>> CharactersByCategory() {
  std::vector<std::vector<char32_t>> out(U_CHAR_CATEGORY_COUNT);
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    UVersionInfo age;
    u_charAge(static_cast<UChar32>(c), age);
    const int category = u_charType(static_cast<UChar32>(c));
    const bool known = age[0] <= 14 && category != U_UNASSIGNED && category != U_SURROGATE;
    if (known) out[static_cast<size_t>(category)].push_back(c);
  }
  std::erase_if(out, [](const auto& characters) { return characters.empty(); });
  return out;
}

class TextMaker {
 public:
  explicit TextMaker(uint64_t seed) : rng_(seed) {}

  std::string Make() {
    std::string text;
    for (uint64_t n = 1 + rng_() % 12; n > 0; --n) AppendPart(&text);
    return text;
  }

 private:
  void AppendPart(std::string* text) {
    static const Words kParts = {
        "'s",     "'LL",       "'Ve",    "'\u017f", "'",      "'t",
        "don",    "camelCase", "ABC",    "42",      "7",      " ",
        "  ",     "\n",        "\r\n",   "\t",      "/",      "!!",
        "-",      "\u4f60",    "\u0301", "\u00a0",  "\u180e", "\U0001F468\u200d\U0001F469",
        "\u3000", "\u0085",    "\u01c5"};
    const size_t from = text->size();
    switch (rng_() % 4) {
      case 0: {
        const auto& characters = categories_[rng_() % categories_.size()];
        for (uint64_t n = 1 + rng_() % 5; n > 0; --n) {
          AppendCodePoint(characters[rng_() % characters.size()], text);
        }
        break;
      }
      case 1:
        for (uint64_t n = 1 + rng_() % 8; n > 0; --n) {
          text->push_back(static_cast<char>(rng_() % 128));
        }
        break;
      default:
        *text += kParts[rng_() % kParts.size()];
    }
    if (rng_() % 12 != 0) return;
    // A run; a few pass the window in which a match is first tried.
    const std::string part = text->substr(from);
    for (uint64_t n = rng_() % (rng_() % 20 == 0 ? 1500 : 30); n > 0; --n) *text += part;
  }

  std::mt19937_64 rng_;
  const std::vector<std::vector<char32_t>> categories_ = CharactersByCategory();
};

double ThreadSeconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// The words that a pattern which matches everywhere cuts; none where it fails. `steps_left`: of
// what it may cost.
Words WordsOf(const Regex& regex, const std::string& text, uint64_t* steps_left = nullptr) {
  RegexWorkspace workspace(text.size());
  Words words;
  for (size_t at = 0; at < text.size();) {
    const auto end = regex.MatchAt(text, at, &workspace);
    if (!end.ok() || !*end || **end == at) return {};
    words.push_back(text.substr(at, **end - at));
    at = **end;
  }
  if (steps_left != nullptr) *steps_left = workspace.steps_left();
  return words;
}

Words WordsOf(SplitPattern pattern, const std::string& text) {
  Words words;
  for (size_t at = 0; at < text.size(); at += words.back().size()) {
    words.push_back(text.substr(at, ScanWord(pattern, text, at)));
  }
  return words;
}

std::shared_ptr<const Regex> Compiled(std::string_view pattern, bool jit = true) {
  const auto regex = Regex::Compile(pattern, jit);
  EXPECT_TRUE(regex.ok()) << pattern << ": " << regex.status();
  return regex.ok() ? *regex : nullptr;
}

TEST(Regex, ScannersCutAsThePatternsDo) {
  TextMaker maker(1);
  for (const KnownSplitPattern& known : KnownSplitPatterns()) {
    const auto regex = Compiled(known.regex);
    for (int i = 0; i < kTexts; ++i) {
      const std::string text = maker.Make();
      ASSERT_EQ(WordsOf(known.pattern, text), WordsOf(*regex, text)) << known.regex;
    }
  }
}

// What a Split by `regex` makes of `text`.
Words PartsOf(std::shared_ptr<const Regex> regex, const std::string& text) {
  const PreTokenizer split({SplitStage{std::move(regex)}});
  PreTokenizer::Workspace workspace(text.size());
  Words parts;
  const absl::Status status =
      split.Split(text, true, &workspace, [&](std::string_view p) { parts.emplace_back(p); });
  EXPECT_TRUE(status.ok()) << status;
  return parts;
}

std::string Repeated(std::string_view unit, size_t times, std::string_view behind = "") {
  std::string text;
  for (size_t i = 0; i < times; ++i) text += unit;
  return text.append(behind);
}

// Published patterns that would take the square of a run's length, and run as others.
constexpr const char* kQuadratic[] = {R"(\s+$)", R"((?=(\d{3})+(?!\d)))",
                                      R"(\d{1,3}(?=(?:\d{3})*\b))"};

TEST(Regex, APatternThatRunsAsAnotherCutsAlike) {
  const Words units = {" ",    "  ", "\n", "\r\n", "\t",     "5",      "12",     "345",
                       "6789", "a",  "_",  ".",    "\u0663", "\u00a0", "\u00b2", "\u00e9"};
  std::mt19937_64 rng(3);
  for (const char* pattern : kQuadratic) {
    const auto regex = Compiled(pattern), itself = Compiled(fmt::format("(?:{})", pattern));
    for (int i = 0; i < kTexts; ++i) {
      std::string text;
      for (uint64_t n = 1 + rng() % 12; n > 0; --n) {
        const std::string& unit = units[rng() % units.size()];
        text += Repeated(unit, 1 + rng() % 3);
      }
      ASSERT_EQ(PartsOf(regex, text), PartsOf(itself, text)) << pattern << " on " << Quoted(text);
    }
  }
}

TEST(Regex, OrdinaryTextsAreNotTooCostly) {
  const std::string rows = Repeated(Repeated(" ", 400, "5\n"), 5000);
  for (const bool jit : {true, false}) {
    for (const std::string& text :
         {Repeated(" ", 3000, "5"), rows, Repeated("7", 10'000), Repeated("7", 10'000, "a")}) {
      for (const char* pattern : kQuadratic) {
        EXPECT_FALSE(PartsOf(Compiled(pattern, jit), text).empty()) << pattern;
      }
    }
    EXPECT_EQ(PartsOf(Compiled("[^\n]*=|.", jit), Repeated("x", 5000)).size(), 5000u);
  }
}

TEST(Regex, WithoutMachineCodeTheWordsAndTheirCostAreTheSame) {
  TextMaker maker(2);
  for (const KnownSplitPattern& known : KnownSplitPatterns()) {
    const auto compiled = Compiled(known.regex), interpreted = Compiled(known.regex, false);
    for (int i = 0; i < kTexts / 10; ++i) {
      const std::string text = maker.Make();
      uint64_t left = 0, left_interpreted = 1;
      ASSERT_EQ(WordsOf(*compiled, text, &left), WordsOf(*interpreted, text, &left_interpreted))
          << known.regex;
      ASSERT_EQ(left, left_interpreted) << known.regex;
    }
  }
}

TEST(Regex, LongRunsOfOneThingAreWords) {
  for (const bool jit : {true, false}) {
    for (const KnownSplitPattern& known : KnownSplitPatterns()) {
      const auto regex = Compiled(known.regex, jit);
      for (const std::string unit : {" ", "a", "\n", "A", "!", "\u0301", " a", "\u4f60", "'"}) {
        std::string text = "x";
        while (text.size() < 200'000) text += unit;
        ASSERT_EQ(WordsOf(known.pattern, text), WordsOf(*regex, text)) << known.regex << unit;
      }
    }
    // A group that repeats needs memory for each time, and more steps than are tried first.
    const std::string text(100'000, 'a');
    EXPECT_EQ(WordsOf(*Compiled(R"((?:\p{L}\p{M}*)+)", jit), text), Words{text});
  }
}

struct Costly {
  std::string pattern, unit;
  size_t times;
};

std::vector<Costly> CostlyPatterns() {
  std::string short_alternatives;
  for (int i = 0; i < 1500; ++i) short_alternatives += "|bc";
  return {
      {"(a+)+$", "a", 40},
      {"(?:a|a)*b", "a", 60},
      {"(x+x+)+y", "x", 50},
      {"(?:a?){40}a{40}c", "a", 60},
      {R"((.*)*\nz)", "ab ", 30},
      {"(?:(?:a+)+)+b", "a", 40},
      {Repeated("(?:a|a)", 40, "b"), "a", 60},
      {Repeated("a?", 40, "b"), "a", 60},
      {Repeated("(?:a)?\?", 40, "b"), "a", 60},
      // Few tries, each of which goes through much of the text, or of the pattern.
      {"a+b", "a", 500'000},
      {"(?=.*x)a", "a", 500'000},
      {"a*a*a*a*b", "a", 5'000},
      {"(?:a*+b|c)", "a", 500'000},
      {R"(\s*\s*\s*x)", " ", 1000},
      {R"(\s*\s*\s*x)", " ", 5000},
      {"(?:a(?=[^b]*+))*c", "a", 200'000},
      {"(?:a" + Repeated("(?=[^b]*+)", 900, ")*c"), "a", 200'000},
      {"(?:a|(?<=b|a{1000}))*+z", "a", 500'000},
      {"(?:(?:a|a)(?:b" + short_alternatives + ")?)*z", "a", 200},
  };
}

TEST(Regex, APatternThatWouldTakeForEverIsAnError) {
  constexpr uint64_t kSteps = limits::kRegexSteps / 20;
  for (const Costly& costly : CostlyPatterns()) {
    // PCRE2 looks for a letter that must come first of all.
    const std::string text = Repeated(costly.unit, costly.times, "!zyxcb");
    std::vector<size_t> refused_at;
    for (const bool jit : {true, false}) {
      SCOPED_TRACE(fmt::format("{}, jit {}", costly.pattern.substr(0, 60), jit));
      const auto regex = Compiled(costly.pattern, jit);
      RegexWorkspace workspace(text.size(), kSteps);
      const uint64_t steps = workspace.steps_left();
      absl::Status status;
      size_t at = 0;
      const double start = ThreadSeconds();
      for (; at < text.size() && status.ok(); ++at) {
        status = regex->MatchAt(text, at, &workspace).status();
      }
      // On one of 2023's processors 0.3 to 1 ns a step, interpreted up to 8.
      EXPECT_LT(ThreadSeconds() - start, 50e-9 * static_cast<double>(steps));
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
      EXPECT_THAT(std::string(Message(status)), HasSubstr("break up the long run"));
      refused_at.push_back(at);
    }
    EXPECT_EQ(refused_at[0], refused_at[1]) << costly.pattern.substr(0, 60);
  }
}

TEST(Regex, APatternThatWouldFillTheMemoryIsAnError) {
  const std::string nested = std::string(5000, '(') + "a" + std::string(5000, ')');
  std::string classes, powers = "a";
  for (int i = 0; i < 3000; ++i) classes += "[^a&&";
  for (int i = 0; i < 12; ++i) powers = "(?:" + powers + "{1000}){1000}";
  const std::string patterns[] = {nested,    classes,
                                  powers,    std::string(kMaxRegexBytes + 1, 'a'),
                                  "a{1001}", "a{2}{2}{2}{2}{2}{2}"};
  for (const std::string& pattern : patterns) {
    const auto regex = Regex::Compile(pattern);
    EXPECT_EQ(regex.status().code(), absl::StatusCode::kInvalidArgument) << pattern.substr(0, 40);
  }
}

TEST(Regex, SaysWhatIsNotSupportedAndWhatIs) {
  const struct {
    const char* pattern;
    const char* says;
  } refusals[] = {
      {R"((a)\1)", R"(\1)"},
      {R"((?<n>a)\k<n>)", R"(\k)"},
      {R"(\Ka)", R"(\K)"},
      {R"(\Ga)", R"(\G)"},
      {R"(\X)", R"(\X)"},
      {"(?s:a)", "(?m:..)"},
      {"(?x) a", "(?:..)"},
      {R"(\p{InBasic_Latin})", "a script (Han)"},
      {R"(\p{Nonsense})", "Nonsense"},
      {"(?i:stra\u00dfe)", "(?i)"},
      {"(?i:ss)", "(?i)"},
      {R"((?i:[\p{Lu}a]))", "Lu"},
      {"(?i:[[:upper:]])", "upper"},
      {"[a", "has no ]"},
      {"[]", "has no ]"},
      {"[a-", "has no ]"},
      {"[a&&]", "empty"},
      {"(a", "has no )"},
      {"a)", "no ( before"},
      {"*a", "quantifier"},
      {"a|*", "quantifier"},
      {"a{3,2}", "before it begins"},
      {"[b-a]", "before it begins"},
      {R"(\x{D800})", R"(\x{41})"},
      {R"(\x{110000})", R"(\x{41})"},
      {R"(\xff)", R"(\x{41})"},
      {R"(\p{L)", "}"},
      {R"(\)", "ends in"},
      {"(?<=a+)b", "each alternative be of one length"},
      {"(?:(?:[a-z]b?){1000}){1000}", "fewer times"},
      {"^*", "not ^ or $"},
      {"(?<n", ">"},
      {"(?#a", ")"},
      {R"([\w-z-\d])", "before it begins"},
      {"\xFF", "UTF-8"},
  };
  for (const auto& refusal : refusals) {
    const auto regex = Regex::Compile(refusal.pattern);
    EXPECT_EQ(regex.status().code(), absl::StatusCode::kInvalidArgument) << refusal.pattern;
    EXPECT_THAT(std::string(Message(regex.status())), HasSubstr(refusal.says)) << refusal.pattern;
  }
}

}  // namespace
}  // namespace catena
