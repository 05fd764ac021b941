// BPE against a plain reading of its definition, on small random vocabularies.
#include "model/tokenizer/bpe.h"

#include <map>
#include <random>

#include <gtest/gtest.h>

namespace catena {
namespace {

struct Model {
  std::vector<std::string> texts;
  std::vector<BpeMerge> merges;
  Vocabulary vocabulary;
};

// A vocabulary over `letters`, with tokens made by random merges.
Model RandomModel(std::mt19937_64* rng, const std::vector<std::string>& letters, int n_merges) {
  Model m;
  m.texts = letters;
  std::map<std::string, int32_t> ids;
  for (size_t i = 0; i < letters.size(); ++i) ids[letters[i]] = static_cast<int32_t>(i);
  for (int i = 0; i < n_merges; ++i) {
    const auto left = static_cast<int32_t>((*rng)() % m.texts.size());
    const auto right = static_cast<int32_t>((*rng)() % m.texts.size());
    const std::string text = m.texts[left] + m.texts[right];
    if (text.size() > 24) continue;
    auto [it, added] = ids.emplace(text, static_cast<int32_t>(m.texts.size()));
    if (added) m.texts.push_back(text);
    m.merges.push_back({left, right, it->second});
  }
  std::vector<VocabularyEntry> entries;
  for (size_t i = 0; i < m.texts.size(); ++i) {
    entries.push_back({static_cast<int32_t>(i), m.texts[i], false});
  }
  auto vocabulary = Vocabulary::Make(std::move(entries), "test");
  EXPECT_TRUE(vocabulary.ok()) << vocabulary.status();
  m.vocabulary = *std::move(vocabulary);
  return m;
}

// The definition: of all adjacent pairs the one of lowest rank, the leftmost, is joined.
std::vector<int32_t> Naive(const Model& m, std::vector<int32_t> ids) {
  std::map<std::pair<int32_t, int32_t>, size_t> ranks;
  for (size_t i = 0; i < m.merges.size(); ++i) ranks[{m.merges[i].left, m.merges[i].right}] = i;
  while (true) {
    size_t best = SIZE_MAX, at = 0;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto it = ranks.find({ids[i], ids[i + 1]});
      if (it != ranks.end() && it->second < best) {
        best = it->second;
        at = i;
      }
    }
    if (best == SIZE_MAX) return ids;
    ids[at] = m.merges[best].result;
    ids.erase(ids.begin() + static_cast<ptrdiff_t>(at) + 1);
  }
}

TEST(Bpe, MergesAsDefinedInShortAndLongPieces) {
  std::mt19937_64 rng(7);
  const std::vector<std::string> letters = {"a",      "b",      "c",         "\u00e9",
                                            "\u2581", "\u4f60", "\U0001F999"};
  for (int round = 0; round < 400; ++round) {
    const Model m = RandomModel(&rng, letters, 1 + static_cast<int>(rng() % 60));
    const Bpe bpe(&m.vocabulary, m.merges, {});
    Bpe::Workspace workspace;
    for (const size_t size : {1, 2, 5, 23, 24, 25, 26, 60, 200}) {
      std::string text;
      std::vector<int32_t> symbols, ids;
      const size_t used = 1 + rng() % letters.size();  // few letters: many overlapping pairs
      for (size_t i = 0; i < size; ++i) {
        symbols.push_back(static_cast<int32_t>(rng() % used));
        text += letters[symbols.back()];
      }
      bpe.Encode(text, &workspace, &ids);
      ASSERT_EQ(ids, Naive(m, symbols)) << text;
    }
  }
}

// Every pair of a line of one letter can merge, at many ranks: the worst case for cutting.
TEST(Bpe, WorkGrowsLinearlyWithALineThatNothingCuts) {
  std::vector<VocabularyEntry> entries;
  std::vector<std::string> texts;
  std::vector<BpeMerge> merges;
  for (int i = 0; i < 5; ++i) texts.push_back(std::string(size_t{1} << i, 'a'));
  for (int i = 0; i < 5; ++i) {
    entries.push_back({i, texts[i], false});
    if (i > 0) merges.push_back({i - 1, i - 1, i});
  }
  const auto vocabulary = Vocabulary::Make(entries, "test");
  ASSERT_TRUE(vocabulary.ok());
  const Bpe bpe(&*vocabulary, merges, {});
  for (const size_t size : {size_t{1} << 10, size_t{1} << 20}) {
    Bpe::Workspace workspace;
    std::vector<int32_t> ids;
    bpe.Encode(std::string(size, 'a'), &workspace, &ids);
    EXPECT_EQ(ids.size(), size / 16);
    EXPECT_LE(workspace.merges_looked_up, 6 * size);
  }
}

TEST(Bpe, CutsWhereNoMergeCrosses) {
  const std::vector<std::string> texts = {"a", "b", "_", "ab", "_a"};
  std::vector<VocabularyEntry> entries;
  for (size_t i = 0; i < texts.size(); ++i) {
    entries.push_back({static_cast<int32_t>(i), texts[i], false});
  }
  const auto vocabulary = Vocabulary::Make(entries, "test");
  ASSERT_TRUE(vocabulary.ok());
  const Bpe bpe(&*vocabulary, {{0, 1, 3}, {2, 0, 4}}, {});
  Bpe::Workspace workspace;
  std::vector<int32_t> ids;
  bpe.Encode("bbbb____", &workspace, &ids);
  EXPECT_EQ(workspace.merges_looked_up, 0u);
  EXPECT_EQ(ids, (std::vector<int32_t>{1, 1, 1, 1, 2, 2, 2, 2}));
}

}  // namespace
}  // namespace catena
