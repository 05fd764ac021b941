#include <algorithm>
#include <random>

#include <gtest/gtest.h>

#include "model/sampler/stop_matcher.h"

namespace catena {
namespace {

TEST(StopMatcher, CutsBeforeAStopStringAcrossPieces) {
  StopMatcher matcher({"END"});
  EXPECT_EQ(matcher.Push("abcE"), "abc");
  EXPECT_EQ(matcher.Push("N"), "");
  EXPECT_EQ(matcher.Push(""), "");
  EXPECT_FALSE(matcher.stopped());
  EXPECT_EQ(matcher.Push("D and more"), "");
  EXPECT_TRUE(matcher.stopped());
  EXPECT_EQ(matcher.Push("later"), "");
  EXPECT_EQ(matcher.Flush(), "");
}

TEST(StopMatcher, GivesBackWhatOnlyLookedLikeAStopString) {
  StopMatcher matcher({"END"});
  EXPECT_EQ(matcher.Push("xEN"), "x");
  EXPECT_EQ(matcher.Push("E"), "EN");
  EXPECT_EQ(matcher.Flush(), "E");
  EXPECT_FALSE(matcher.stopped());
}

TEST(StopMatcher, OfStopsThatEndTogetherTheLongestIsCut) {
  StopMatcher matcher({"b", "aab", "ab"});
  EXPECT_EQ(matcher.Push("xaaab"), "xa");
  EXPECT_TRUE(matcher.stopped());
}

TEST(StopMatcher, ABorderInsideAStopStringIsNotMissed) {
  StopMatcher matcher({"aabaaa"});
  EXPECT_EQ(matcher.Push("aabaabaaa!"), "aab");
  EXPECT_TRUE(matcher.stopped());
}

TEST(StopMatcher, WithoutStopStringsHoldsNothingBack) {
  StopMatcher matcher({});
  EXPECT_EQ(matcher.Push("abc"), "abc");
  EXPECT_EQ(matcher.Push(""), "");
  EXPECT_EQ(matcher.Flush(), "");
}

TEST(StopMatcher, NeverSplitsAUtf8Character) {
  StopMatcher matcher({"\xc3\xa9\xe2\x82\xac"});                    // é€
  EXPECT_EQ(matcher.Push("a\xc3\xa9"), "a");                        // aé
  EXPECT_EQ(matcher.Push("\xe2\x82\xad"), "\xc3\xa9\xe2\x82\xad");  // another of the same lead
}

struct Outcome {
  std::string shown;
  bool stopped = false;
};

// Byte by byte: the first end of any stop string, cut at the start of the longest that ends there.
Outcome Naive(const std::vector<std::string>& stops, const std::string& text) {
  for (size_t end = 1; end <= text.size(); ++end) {
    size_t longest = 0;
    for (const std::string& stop : stops) {
      if (end >= stop.size() && text.compare(end - stop.size(), stop.size(), stop) == 0) {
        longest = std::max(longest, stop.size());
      }
    }
    if (longest > 0) return {text.substr(0, end - longest), true};
  }
  return {text, false};
}

// What may be shown of a text without a stop string: all but the longest end that begins one.
size_t SafeLength(const std::vector<std::string>& stops, const std::string& text) {
  size_t held = 0;
  for (const std::string& stop : stops) {
    for (size_t n = 1; n < stop.size() && n <= text.size(); ++n) {
      if (text.compare(text.size() - n, n, stop, 0, n) == 0) held = std::max(held, n);
    }
  }
  return text.size() - held;
}

TEST(StopMatcher, AgreesWithANaiveSearchHoweverTheTextIsCut) {
  std::mt19937 rng(9);
  auto random_text = [&](size_t n) {
    std::string text(n, 'a');
    for (char& c : text) c = "aab"[rng() % 3];
    return text;
  };
  int stopped = 0;
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::string> stops;
    for (size_t i = rng() % 4; i > 0; --i) stops.push_back(random_text(1 + rng() % 9));
    const std::string text = random_text(rng() % 40);
    const Outcome want = Naive(stops, text);
    StopMatcher matcher(stops);
    std::string shown;
    for (size_t at = 0; at < text.size();) {
      const size_t n = std::min<size_t>(1 + rng() % 6, text.size() - at);
      shown += matcher.Push(text.substr(at, n));
      at += n;
      if (!matcher.stopped()) {
        ASSERT_EQ(shown.size(), SafeLength(stops, text.substr(0, at)));
      }
    }
    shown += matcher.Flush();
    ASSERT_EQ(shown, want.shown);
    ASSERT_EQ(matcher.stopped(), want.stopped);
    stopped += want.stopped;
  }
  EXPECT_GT(stopped, 2000);
  EXPECT_LT(stopped, 18000);
}

}  // namespace
}  // namespace catena
