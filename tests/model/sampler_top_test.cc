// Sampling from the largest logits alone: the same token as from the whole row, and the row is
// asked for only where they do not decide.
#include <functional>
#include <random>

#include <gtest/gtest.h>

#include "model/sampler/sampler.h"

namespace catena {
namespace {

constexpr int kVocabulary = 700;

// A row that is far away.
class FarRow final : public LogitSource {
 public:
  explicit FarRow(const std::vector<float>& logits) : logits_(logits), top_(TopLogitsOf(logits)) {}
  const TopLogits* Top(int64_t) override { return &top_; }
  absl::Span<const float> All(int64_t) override {
    ++fetched;
    return logits_;
  }
  int fetched = 0;

 private:
  const std::vector<float>& logits_;
  TopLogits top_;
};

// Some of them equal, so that ties count.
std::vector<float> Logits(std::mt19937* rng, float spread, int vocab = kVocabulary) {
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> logits(static_cast<size_t>(vocab));
  for (float& z : logits) z = std::round(8 * normal(*rng)) / 8;
  return logits;
}

struct Fetches {
  int least, most;  // of kRows rows
};
constexpr int kRows = 200;

// Whether the tokens of many rows are those of the whole row, and how often it was fetched.
void ExpectSameTokens(const SamplingParams& params, Fetches expected, int vocab = kVocabulary,
                      float spread = 2) {
  const Sampler sampler = *Sampler::Make(params, vocab);
  std::mt19937 rng(7);
  SamplerScratch scratch;
  TokenHistory history(2);
  history.Append({3, 5});
  int fetched = 0;
  for (int i = 0; i < kRows; ++i) {
    const std::vector<float> logits = Logits(&rng, spread, vocab);
    const SampledToken whole = *sampler.Sample(logits, history, 1, &scratch);
    FarRow row(logits);
    const SampledToken top = *sampler.Sample(row, 0, history, 1, &scratch);
    ASSERT_EQ(top.id, whole.id) << i;
    EXPECT_EQ(top.logprob, whole.logprob);
    EXPECT_EQ(top.top.size(), whole.top.size());
    fetched += row.fetched;
    history.Append(whole.id);
  }
  EXPECT_GE(fetched, expected.least);
  EXPECT_LE(fetched, expected.most);
}

constexpr Fetches kNever{0, 0}, kAlways{kRows, kRows};

TEST(SamplerTop, GreedyNeedsTheLargestAlone) { ExpectSameTokens({}, kNever); }

TEST(SamplerTop, TopKOfAsManyNeedsNoMore) {
  for (const int k : {1, 40, kTopLogits}) {
    SamplingParams p{.temperature = 1.3, .top_k = k};
    ExpectSameTokens(p, kNever);
    p.top_p = 0.9;
    ExpectSameTokens(p, kNever);
    p.min_p = 0.05;
    ExpectSameTokens(p, kNever);
    p.typical_p = 0.8;
    ExpectSameTokens(p, kNever);
  }
  ExpectSameTokens({.temperature = 1.3, .top_k = kTopLogits + 1}, kAlways);
}

TEST(SamplerTop, MinPNeedsTheRowWhereItKeepsMore) {
  ExpectSameTokens({.temperature = 1, .min_p = 0.5}, kNever);
  ExpectSameTokens({.temperature = 1, .min_p = 0.05, .typical_p = 0.9}, {1, kRows - 1});
  ExpectSameTokens({.temperature = 5, .min_p = 0.01}, kAlways);
}

TEST(SamplerTop, WhatLooksAtEveryLogitFetchesTheRow) {
  ExpectSameTokens({.temperature = 1}, kAlways);
  ExpectSameTokens({.temperature = 1, .top_p = 0.9}, kAlways);
  ExpectSameTokens({.temperature = 1, .typical_p = 0.9}, kAlways);
  ExpectSameTokens({.logprobs = true, .top_logprobs = 3}, kAlways);
}

TEST(SamplerTop, ChangedLogitsFetchTheRow) {
  ExpectSameTokens({.repetition_penalty = 1.2}, kAlways);
  ExpectSameTokens({.presence_penalty = 0.5}, kAlways);
  ExpectSameTokens({.logit_bias = {{9, 4.0f}}}, kAlways);
  // Until there are so many tokens.
  ExpectSameTokens({.min_tokens = 20, .stop_token_ids = {7}}, {20, 20});
}

TEST(SamplerTop, AVocabularyNoLargerThanWhatComesIsAllThere) {
  ExpectSameTokens({.temperature = 5, .min_p = 0.001}, kNever, kTopLogits);
  ExpectSameTokens({.temperature = 1, .top_k = 3}, kNever, 5);
}

TEST(SamplerTop, ALogitThatIsNotFiniteIsNamed) {
  std::vector<float> logits(kVocabulary, 1.0f);
  logits[130] = NAN;
  SamplerScratch scratch;
  FarRow row(logits);
  const auto token = Sampler::Make({}, kVocabulary)->Sample(row, 0, TokenHistory(0), 0, &scratch);
  EXPECT_EQ(token.status().code(), absl::StatusCode::kInternal);
  EXPECT_NE(std::string(token.status().message()).find("token id 130"), std::string::npos);
}

}  // namespace
}  // namespace catena
