// Regular expressions of tokenizers: the scanners written by hand cut as PCRE2 does, no pattern and
// no text takes for ever, and what is refused is named.
#include "model/tokenizer/regex.h"

#include <random>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unicode/uchar.h>

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

// The words that a pattern which matches everywhere cuts; none where it fails.
Words WordsOf(const Regex& regex, const std::string& text) {
  RegexWorkspace workspace(text.size());
  Words words;
  for (size_t at = 0; at < text.size();) {
    const auto end = regex.MatchAt(text, at, &workspace);
    if (!end.ok() || !*end || **end == at) return {};
    words.push_back(text.substr(at, **end - at));
    at = **end;
  }
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

TEST(Regex, WithoutMachineCodeTheWordsAreTheSame) {
  TextMaker maker(2);
  for (const KnownSplitPattern& known : KnownSplitPatterns()) {
    const auto compiled = Compiled(known.regex), interpreted = Compiled(known.regex, false);
    for (int i = 0; i < kTexts / 10; ++i) {
      const std::string text = maker.Make();
      ASSERT_EQ(WordsOf(*compiled, text), WordsOf(*interpreted, text)) << known.regex;
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
  const char* pattern;
  const char* unit;
  size_t times;
};

TEST(Regex, APatternThatWouldTakeForEverIsAnError) {
  const Costly all[] = {
      {"(a+)+$", "a", 40},        {"(?:a|a)*b", "a", 60},
      {"(x+x+)+y", "x", 50},      {"(?:a?){40}a{40}c", "a", 60},
      {R"((.*)*\nz)", "ab ", 30}, {"(?:(?:a+)+)+b", "a", 40},
      {"a+b", "a", 1'000'000},    {"(?=.*x)a", "a", 1'000'000},
      {"a*a*a*a*b", "a", 5'000},  {"(?:a*+b|c)", "a", 1'000'000},
  };
  for (const Costly& costly : all) {
    std::string text;
    for (size_t i = 0; i < costly.times; ++i) text += costly.unit;
    text += "!zyxcb";  // PCRE2 looks for a letter that must come first of all
    for (const bool jit : {true, false}) {
      SCOPED_TRACE(fmt::format("{}, jit {}", costly.pattern, jit));
      const auto regex = Compiled(costly.pattern, jit);
      RegexWorkspace workspace(text.size());
      absl::Status status;
      for (size_t at = 0; at < text.size() && status.ok(); ++at) {
        status = regex->MatchAt(text, at, &workspace).status();
      }
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
      EXPECT_THAT(std::string(Message(status)), HasSubstr("break up the long run"));
    }
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
      {"(?<=a+)b", "PCRE2"},
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
