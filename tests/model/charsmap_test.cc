// SentencePiece's table of characters, by hand: what is replaced, and tables that lie.
#include "model/tokenizer/charsmap.h"

#include <cstring>
#include <map>

#include <gtest/gtest.h>

namespace catena {
namespace {

constexpr uint32_t kLeaf = 1 << 8, kValue = 1u << 31;

// A unit of the trie that goes to `offset`, behind the byte `label`.
uint32_t Unit(uint32_t offset, uint8_t label) { return offset << 10 | label; }

std::string Table(const std::map<uint32_t, uint32_t>& units, std::string_view texts) {
  std::vector<uint32_t> trie(256);
  for (const auto& [at, unit] : units) trie[at] = unit;
  const auto bytes = static_cast<uint32_t>(trie.size() * 4);
  std::string out(reinterpret_cast<const char*>(&bytes), sizeof bytes);
  out.append(reinterpret_cast<const char*>(trie.data()), bytes);
  return out.append(texts);
}

// "b" is the text at `value`: the root's children are at 2 ^ byte, the value at 1.
std::map<uint32_t, uint32_t> OneEntry(uint32_t value) {
  const uint32_t b = 2 ^ 'b';
  return {{0, Unit(2, 0)}, {b, Unit(b ^ 1, 'b') | kLeaf}, {1, value | kValue}};
}

std::string Apply(const std::string& table, std::string_view text) {
  const auto map = Charsmap::Parse(table);
  EXPECT_TRUE(map.ok()) << map.status();
  return map.ok() ? (*map)->Apply(text) : "";
}

constexpr std::string_view kTexts("x\0yé\0", 6);

TEST(Charsmap, CharactersBecomeTheTextsOfTheirEntries) {
  EXPECT_EQ(Apply(Table(OneEntry(0), kTexts), "abcb\r\n"), "axcx\r\n");
  EXPECT_EQ(Apply(Table(OneEntry(2), kTexts), "你b"), "你yé");
  EXPECT_EQ(Apply(Table(OneEntry(1), kTexts), "abc"), "ac");  // an empty text
  EXPECT_EQ(Apply(Table(OneEntry(6), kTexts), "abc"), "ac");  // the end of all
}

// As the reference does: what follows in the grapheme is lost.
TEST(Charsmap, AGraphemeOfAFewBytesIsWhatItsFirstEntryBecomes) {
  EXPECT_EQ(Apply(Table(OneEntry(0), kTexts), "b\u0301c"), "xc");
  EXPECT_EQ(Apply(Table(OneEntry(0), kTexts), "b\u0301\u0301\u0301c"), "x\u0301\u0301\u0301c");
}

TEST(Charsmap, TablesThatLieReplaceNothing) {
  EXPECT_EQ(Apply(Table(OneEntry(7), kTexts), "abc"), "abc");            // past the texts
  EXPECT_EQ(Apply(Table(OneEntry(0x7fffffff), kTexts), "abc"), "abc");   // far past them
  EXPECT_EQ(Apply(Table(OneEntry(4), kTexts), "abc"), "abc");            // inside a character
  EXPECT_EQ(Apply(Table(OneEntry(0), std::string(17, 'x')), "b"), "b");  // much longer
  auto away = OneEntry(0);
  away[2 ^ 'b'] = Unit(0x1fffff, 'b') | kLeaf;
  EXPECT_EQ(Apply(Table(away, kTexts), "abc"), "abc");
  away[0] = Unit(0x1fffff, 0);
  EXPECT_EQ(Apply(Table(away, kTexts), "abc"), "abc");
}

TEST(Charsmap, WhatIsNoTableIsRefused) {
  for (const std::string& bytes :
       {std::string(), std::string("\4\0\0", 3), std::string(4, '\0'), std::string("\4\0\0\0", 4),
        std::string("\3\0\0\0abc", 7), std::string("\xfc\xff\xff\xff____", 8)}) {
    EXPECT_EQ(Charsmap::Parse(bytes).status().code(), absl::StatusCode::kDataLoss);
  }
  EXPECT_FALSE(Charsmap::Parse(Table(OneEntry(0), "\xff")).ok());
}

}  // namespace
}  // namespace catena
