// The draw: the generator's known answers, the distribution drawn, and what a draw depends on.
#include <cmath>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "model/sampler/philox.h"
#include "model/sampler/sampler.h"

namespace catena {
namespace {

// Random123, tests/kat_vectors, lines "philox4x32 10".
TEST(Philox, GivesTheKnownAnswersOfRandom123) {
  EXPECT_EQ(Philox4x32({0, 0, 0, 0}, {0, 0}),
            (PhiloxCounter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox4x32({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}),
            (PhiloxCounter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (PhiloxCounter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(UniformDraw, IsInTheUnitIntervalAndDiffersInEveryBitOfItsInputs) {
  std::set<double> draws;
  size_t n = 0;
  auto add = [&](uint64_t seed, uint32_t sequence, uint64_t position) {
    const double u = UniformDraw(seed, sequence, position);
    EXPECT_GE(u, 0.0);
    EXPECT_LT(u, 1.0);
    draws.insert(u);
    ++n;
  };
  add(0, 0, 0);
  for (int bit = 0; bit < 64; ++bit) add(uint64_t{1} << bit, 0, 0);
  for (int bit = 0; bit < 32; ++bit) add(0, uint32_t{1} << bit, 0);
  for (int bit = 0; bit < 64; ++bit) add(0, 0, uint64_t{1} << bit);
  EXPECT_EQ(draws.size(), n);
  // A running request must draw the same tokens after an upgrade: these values may never change.
  EXPECT_EQ(UniformDraw(0, 0, 0), 0x1.989fa35785a70p-2);
}

// Over 5 deviations above its mean, a chi-squared statistic is no accident; the seeds are fixed.
void ExpectPlausible(double chi_squared, double degrees) {
  EXPECT_LT(chi_squared, degrees + 5 * std::sqrt(2 * degrees) + 5);
}

// Draws at consecutive positions, and compares counts with the sampler's own distribution.
void TestDrawnDistribution(SamplingParams p, const std::vector<float>& logits) {
  constexpr int kDraws = 40000;
  p.seed = 1234;
  auto sampler = Sampler::Make(p, logits.size());
  ASSERT_TRUE(sampler.ok()) << sampler.status();
  SamplerScratch scratch;
  TokenHistory history(kDraws);
  const auto expected = sampler->Distribution(logits, history, &scratch);
  ASSERT_TRUE(expected.ok());
  std::map<int32_t, int> counts;
  for (int i = 0; i < kDraws; ++i) {
    ++counts[sampler->Sample(logits, history, 0, &scratch)->id];
    history.Append(0);
  }
  double chi_squared = 0, rare_expected = 0, rare = 0;
  int cells = 0, counted = 0;
  for (const auto& [id, probability] : *expected) {
    const double mean = probability * kDraws;
    counted += counts[id];
    if (mean < 10) {  // too few for the statistic: in one cell together
      rare_expected += mean;
      rare += counts[id];
      continue;
    }
    chi_squared += (counts[id] - mean) * (counts[id] - mean) / mean;
    ++cells;
  }
  EXPECT_EQ(counted, kDraws) << "a token was drawn that has no chance";
  if (rare_expected >= 10) {
    chi_squared += (rare - rare_expected) * (rare - rare_expected) / rare_expected;
    ++cells;
  }
  ASSERT_GE(cells, 2);
  ExpectPlausible(chi_squared, cells - 1);
}

std::vector<float> SkewedLogits(size_t n) {
  std::vector<float> logits(n);
  for (size_t i = 0; i < n; ++i) logits[i] = static_cast<float>((i * 37 + 11) % n) * 6.0f / n;
  return logits;
}

TEST(DrawnDistribution, PlainTemperature) {
  SamplingParams p;
  for (double temperature : {0.5, 1.0, 3.0}) {
    p.temperature = temperature;
    TestDrawnDistribution(p, SkewedLogits(40));
  }
}

TEST(DrawnDistribution, PlainTemperatureOverSeveralBlocksOfAVocabulary) {
  SamplingParams p;
  p.temperature = 1;
  TestDrawnDistribution(p, SkewedLogits(700));
  std::vector<float> far(900, -1000.0f);  // blocks without any weight between those with
  for (size_t id : {3, 600, 601, 899}) far[id] = 1.0f;
  TestDrawnDistribution(p, far);
}

TEST(DrawnDistribution, TopK) {
  SamplingParams p;
  p.temperature = 1;
  p.top_k = 6;
  TestDrawnDistribution(p, SkewedLogits(100));
}

TEST(DrawnDistribution, TopP) {
  SamplingParams p;
  p.temperature = 0.8;
  p.top_p = 0.7;
  TestDrawnDistribution(p, SkewedLogits(100));
}

TEST(DrawnDistribution, MinPAndTypicalP) {
  SamplingParams p;
  p.temperature = 1.1;
  p.min_p = 0.1;
  p.typical_p = 0.6;
  TestDrawnDistribution(p, SkewedLogits(60));
}

TEST(DrawnDistribution, BiasAndMask) {
  SamplingParams p;
  p.temperature = 1;
  p.logit_bias = {{2, -3}, {5, 4}};
  p.min_tokens = 1;
  p.stop_token_ids = {7, 8};
  TestDrawnDistribution(p, SkewedLogits(30));
}

// Whether two streams of tokens depend on each other: a chi-squared test of their pairs.
void ExpectIndependent(const std::vector<int32_t>& a, const std::vector<int32_t>& b, int n_ids) {
  ASSERT_EQ(a.size(), b.size());
  std::vector<double> pairs(n_ids * n_ids);
  for (size_t i = 0; i < a.size(); ++i) ++pairs[a[i] * n_ids + b[i]];
  const double mean = static_cast<double>(a.size()) / (n_ids * n_ids);
  double chi_squared = 0;
  for (double count : pairs) chi_squared += (count - mean) * (count - mean) / mean;
  ExpectPlausible(chi_squared, n_ids * n_ids - 1);
}

std::vector<int32_t> DrawStream(uint64_t seed, uint32_t sequence_index, int64_t first_position) {
  constexpr int kVocab = 8, kDraws = 20000;
  SamplingParams p;
  p.temperature = 1;
  p.seed = seed;
  auto sampler = Sampler::Make(p, kVocab);
  CATENA_CHECK(sampler.ok());
  const std::vector<float> logits(kVocab, 0.5f);
  SamplerScratch scratch;
  TokenHistory history(0);
  for (int64_t i = 0; i < first_position; ++i) history.Append(0);
  std::vector<int32_t> ids;
  for (int i = 0; i < kDraws; ++i) {
    ids.push_back(sampler->Sample(logits, history, sequence_index, &scratch)->id);
    history.Append(0);
  }
  return ids;
}

TEST(Draw, IsTheSameForTheSameSeedSequenceAndPosition) {
  EXPECT_EQ(DrawStream(42, 3, 10), DrawStream(42, 3, 10));
}

TEST(Draw, IsIndependentForAnotherSeedSequenceOrPosition) {
  const auto base = DrawStream(42, 0, 10);
  ExpectIndependent(base, DrawStream(43, 0, 10), 8);
  ExpectIndependent(base, DrawStream(42 + (uint64_t{1} << 32), 0, 10), 8);
  ExpectIndependent(base, DrawStream(42, 1, 10), 8);
  ExpectIndependent(base, DrawStream(42, 0, 11), 8);
}

TEST(Draw, DoesNotDependOnWhatTheEarlierIdsWereWithoutPenalties) {
  SamplingParams p;
  p.temperature = 1;
  auto sampler = Sampler::Make(p, 50);
  ASSERT_TRUE(sampler.ok());
  const std::vector<float> logits = SkewedLogits(50);
  SamplerScratch scratch;
  TokenHistory a(1), b(2);
  a.Append({1, 2, 3});
  b.Append({9, 9, 9});
  EXPECT_EQ(sampler->Sample(logits, a, 0, &scratch)->id,
            sampler->Sample(logits, b, 0, &scratch)->id);
}

}  // namespace
}  // namespace catena
