#include "model/tokenizer/utf8.h"

#include <random>

#include <gtest/gtest.h>

namespace catena {
namespace {

std::string Valid(std::string_view bytes) {
  std::string out;
  AppendValidUtf8(bytes, &out);
  return out;
}

TEST(Utf8, ReplacesEachMaximalSubpartByOneReplacementCharacter) {
  const std::string r(kReplacementCharacter);
  EXPECT_EQ(Valid("caf\xC3\xA9"), "caf\xC3\xA9");
  EXPECT_EQ(Valid("\xFF"), r);
  EXPECT_EQ(Valid("\xC3("), r + "(");
  EXPECT_EQ(Valid("\xE4\xBD"), r);  // truncated: one for both
  EXPECT_EQ(Valid("\xF0\x9F\xA6"), r);
  EXPECT_EQ(Valid("\xF0\x9F\xA6x"), r + "x");
  EXPECT_EQ(Valid("\xED\xA0\x80"), r + r + r);          // a surrogate: one for each byte
  EXPECT_EQ(Valid("\xC0\xAF"), r + r);                  // overlong
  EXPECT_EQ(Valid("\xE0\x80\x80"), r + r + r);          // overlong
  EXPECT_EQ(Valid("\xF4\x90\x80\x80"), r + r + r + r);  // above U+10FFFF
  EXPECT_EQ(Valid("\xF4\x8F\xBF\xBF"), "\xF4\x8F\xBF\xBF");
  EXPECT_EQ(Valid(std::string("\0", 1)), std::string("\0", 1));
}

TEST(Utf8, EveryScalarValueIsWrittenAndReadBack) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text;
    AppendCodePoint(c, &text);
    ASSERT_TRUE(IsValidUtf8(text)) << static_cast<uint32_t>(c);
    ASSERT_EQ(ReadCodePoint(text, 0).value, c);
    ASSERT_EQ(ReadCodePointBefore(text, text.size()).value, c);
    ASSERT_EQ(ReadCodePoint(text, 0).size, text.size());
  }
}

TEST(Utf8, AStreamGivesTheSameTextHoweverTheBytesAreCut) {
  std::mt19937_64 rng(1);
  const std::string alphabet = "a\x80\xBF\xC3\xA9\xE4\xBD\xA0\xED\xA0\xF0\x9F\xA6\x99\xF4\x90\xFF";
  for (int round = 0; round < 20000; ++round) {
    std::string bytes, out;
    for (size_t i = rng() % 12; i > 0; --i) bytes.push_back(alphabet[rng() % alphabet.size()]);
    Utf8Stream stream;
    for (size_t at = 0; at < bytes.size();) {
      const size_t n = 1 + rng() % 3;
      stream.Push(std::string_view(bytes).substr(at, n), &out);
      ASSERT_TRUE(IsValidUtf8(out));
      at += n;
    }
    stream.AppendPending(&out);
    ASSERT_EQ(out, Valid(bytes));
    ASSERT_TRUE(IsValidUtf8(out));
  }
}

TEST(Utf8, AStreamShowsWhatIsWholeAndHoldsBackWhatIsNot) {
  Utf8Stream stream;
  std::string out;
  stream.Push("a\xF0\x9F", &out);
  EXPECT_EQ(out, "a");
  stream.Push("\xA6", &out);
  EXPECT_EQ(out, "a");
  stream.Push("\x99", &out);
  EXPECT_EQ(out, "a\xF0\x9F\xA6\x99");
  stream.Push("\xFF", &out);  // nothing can complete it
  EXPECT_EQ(out, "a\xF0\x9F\xA6\x99\xEF\xBF\xBD");
}

}  // namespace
}  // namespace catena
