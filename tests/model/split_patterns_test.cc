// Words as the reference's regular expressions cut them. tests/model/tokenizer_oracle.py compares
// far more texts; these are the corners.
#include "model/tokenizer/split_patterns.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace catena {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> Words(SplitPattern pattern, std::string_view text) {
  std::vector<std::string> words;
  for (size_t at = 0; at < text.size();) {
    const size_t n = ScanWord(pattern, text, at);
    if (n == 0) {
      ADD_FAILURE() << "no progress";
      break;
    }
    words.emplace_back(text.substr(at, n));
    at += n;
  }
  return words;
}

TEST(SplitPatterns, Gpt2) {
  const auto words = [](std::string_view t) { return Words(SplitPattern::kGpt2, t); };
  EXPECT_THAT(words("it's 42 x86!"), ElementsAre("it", "'s", " 42", " x", "86", "!"));
  EXPECT_THAT(words("'S we'LL"), ElementsAre("'", "S", " we", "'", "LL"));  // case counts
  EXPECT_THAT(words("a   b \n c  "), ElementsAre("a", "  ", " b", " \n", " c", "  "));
  EXPECT_THAT(words("\u00a0x"), ElementsAre("\u00a0", "x"));  // only U+0020 joins a word
}

TEST(SplitPatterns, Llama3) {
  const auto words = [](std::string_view t) { return Words(SplitPattern::kLlama3, t); };
  EXPECT_THAT(words("'S we'LL"), ElementsAre("'S", " we", "'LL"));
  EXPECT_THAT(words("'\u017f"), ElementsAre("'\u017f"));  // long s folds to s
  EXPECT_THAT(words("12345 1"), ElementsAre("123", "45", " ", "1"));
  EXPECT_THAT(words("a(b) !!\n\nx"), ElementsAre("a", "(b", ")", " !!\n\n", "x"));
  EXPECT_THAT(words("  \n \n  x"), ElementsAre("  \n \n", " ", " x"));
}

TEST(SplitPatterns, Qwen2TakesDigitsOneByOne) {
  EXPECT_THAT(Words(SplitPattern::kQwen2, "x12"), ElementsAre("x", "1", "2"));
}

TEST(SplitPatterns, Gpt4oEndsAWordWhereCapitalsBegin) {
  const auto words = [](std::string_view t) { return Words(SplitPattern::kGpt4o, t); };
  EXPECT_THAT(words("camelCase HTTPServer"), ElementsAre("camel", "Case", " HTTPServer"));
  EXPECT_THAT(words("don'T ALL'S"), ElementsAre("don'T", " ALL'S"));
  EXPECT_THAT(words("A\u5b57B"), ElementsAre("A\u5b57", "B"));  // a letter without case ends it
  EXPECT_THAT(words("\u0301ABC"),
              ElementsAre("\u0301", "ABC"));  // a mark is a word before a prefix
  EXPECT_THAT(words("a//\n/b"), ElementsAre("a", "//\n/", "b"));
}

TEST(SplitPatterns, APatternIsKnownByItsExactText) {
  EXPECT_EQ(FindSplitPattern(R"(\p{N}+)"), std::nullopt);
  EXPECT_EQ(FindSplitPattern(R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+)"
                             R"((?!\S)|\s+)"),
            SplitPattern::kGpt2);
}

}  // namespace
}  // namespace catena
