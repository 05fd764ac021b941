// The unigram model by itself: which cut wins, what is unknown, and how much work it is.
#include "model/tokenizer/unigram.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace catena {
namespace {

using Ids = std::vector<int32_t>;

struct Token {
  std::string text;
  double score;
};

// Of token 0, which is unknown text, and others.
class UnigramTest : public ::testing::Test {
 protected:
  Ids Encode(const std::vector<Token>& tokens, std::string_view text, bool bytes = false) {
    std::vector<VocabularyEntry> entries;
    UnigramOptions options{.scores = {}, .unk_id = 0, .byte_fallback = bytes, .control = {}};
    for (size_t i = 0; i < tokens.size(); ++i) {
      entries.push_back({static_cast<int32_t>(i), tokens[i].text, false});
      options.scores.push_back(tokens[i].score);
    }
    const Vocabulary vocabulary = *Vocabulary::Make(std::move(entries), "test");
    Ids ids;
    Unigram(&vocabulary, options).Encode(text, &workspace_, &ids);
    return ids;
  }

  Unigram::Workspace workspace_;
};

TEST_F(UnigramTest, TheLargestSumOfScoresWins) {
  const std::vector<Token> tokens = {{"?", 0}, {"a", -1}, {"b", -1}, {"ab", -3}, {"ba", -1.5}};
  EXPECT_EQ(Encode(tokens, "ab"), (Ids{1, 2}));
  EXPECT_EQ(Encode(tokens, "aba"), (Ids{1, 4}));
  EXPECT_EQ(Encode(tokens, ""), Ids());
}

TEST_F(UnigramTest, OfEqualSumsTheOneWithTheEarlierStartStays) {
  const std::vector<Token> tokens = {{"?", 0}, {"a", -1}, {"aa", -2}, {"aaa", -3}};
  EXPECT_EQ(Encode(tokens, "aaa"), Ids{3});
  EXPECT_EQ(Encode(tokens, "aaaa"), (Ids{1, 3}));
}

TEST_F(UnigramTest, UnknownCharactersInARowAreOne) {
  const std::vector<Token> tokens = {{"?", 0}, {"a", -1}};
  EXPECT_EQ(Encode(tokens, "zéa\u4f60zz"), (Ids{0, 1, 0}));
}

// As the reference does: a token of several characters, of which none is one, is better than them.
TEST_F(UnigramTest, ATokenMayBeOfCharactersThatAreNone) {
  const std::vector<Token> tokens = {{"?", 0}, {"éz", -19.5}, {"\u00e9\u4f60", -19}};
  EXPECT_EQ(Encode(tokens, "éz"), Ids{1});
  EXPECT_EQ(Encode(tokens, "zéz"), (Ids{0, 1}));
}

TEST_F(UnigramTest, UnknownTextIsItsBytesWhereAllAreThere) {
  const std::vector<Token> tokens = {{"?", 0}, {"a", -1}, {"<0xC3>", -9}, {"<0xA9>", -9}};
  EXPECT_EQ(Encode(tokens, "aéa", true), (Ids{1, 2, 3, 1}));
  EXPECT_EQ(Encode(tokens, "aéa", false), (Ids{1, 0, 1}));
  EXPECT_EQ(Encode(tokens, "zé", true), Ids{0});  // there is no <0x7A>
}

TEST_F(UnigramTest, ALineThatNothingCutsTakesMemoryOfItsLengthAndGivesItBack) {
  const std::vector<Token> tokens = {{"?", 0}, {"a", -1}, {std::string(64, 'a'), -2}};
  EXPECT_EQ(Encode(tokens, std::string(64 << 11, 'a')), Ids(1 << 11, 2));
  EXPECT_EQ(workspace_.nodes.capacity(), 0u);
}

}  // namespace
}  // namespace catena
