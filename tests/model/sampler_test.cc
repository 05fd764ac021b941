#include "model/sampler/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <numeric>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/file_limits.h"

namespace catena {
namespace {

using ::testing::HasSubstr;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

Sampler MakeSampler(const SamplingParams& params, int64_t vocab_size) {
  auto sampler = Sampler::Make(params, vocab_size);
  CATENA_CHECK(sampler.ok());
  return *std::move(sampler);
}

TokenHistory MakeHistory(const std::vector<int32_t>& prompt, const std::vector<int32_t>& output) {
  TokenHistory history(static_cast<int64_t>(prompt.size()));
  history.Append(prompt);
  history.Append(output);
  return history;
}

int32_t SampleId(const Sampler& sampler, const std::vector<float>& logits,
                 const TokenHistory& history) {
  SamplerScratch scratch;
  auto token = sampler.Sample(logits, history, 0, &scratch);
  CATENA_CHECK(token.ok());
  return token->id;
}

std::vector<TokenProbability> Distribution(const Sampler& sampler, const std::vector<float>& logits,
                                           const TokenHistory& history) {
  SamplerScratch scratch;
  auto distribution = sampler.Distribution(logits, history, &scratch);
  CATENA_CHECK(distribution.ok());
  return *distribution;
}

std::vector<float> RandomLogits(size_t n, uint32_t seed, float scale) {
  std::mt19937 rng(seed);
  std::vector<float> logits(n);
  for (float& z : logits) z = (static_cast<float>(rng() >> 8) * 0x1p-23f - 1) * scale;
  return logits;
}

SamplingParams ParamsFromJson(const nlohmann::json& j) {
  SamplingParams p;
  p.temperature = j.value("temperature", p.temperature);
  p.top_k = j.value("top_k", p.top_k);
  p.top_p = j.value("top_p", p.top_p);
  p.min_p = j.value("min_p", p.min_p);
  p.typical_p = j.value("typical_p", p.typical_p);
  p.repetition_penalty = j.value("repetition_penalty", p.repetition_penalty);
  p.presence_penalty = j.value("presence_penalty", p.presence_penalty);
  p.frequency_penalty = j.value("frequency_penalty", p.frequency_penalty);
  p.min_tokens = j.value("min_tokens", p.min_tokens);
  p.max_tokens = j.value("max_tokens", p.max_tokens);
  p.ignore_eos = j.value("ignore_eos", p.ignore_eos);
  p.eos_token_ids = j.value("eos_token_ids", p.eos_token_ids);
  p.stop_token_ids = j.value("stop_token_ids", p.stop_token_ids);
  if (auto bias = j.find("logit_bias"); bias != j.end()) {
    for (const auto& [id, value] : bias->items()) p.logit_bias[std::stoi(id)] = value;
  }
  return p;
}

// The cases are written by make_sampler_cases.py.
TEST(Sampler, AgreesWithHuggingFaceFormulasWrittenInPython) {
  auto cases =
      ReadJsonFile(std::string(std::getenv("CATENA_SOURCE")) + "/tests/model/sampler_cases.json",
                   limits::kTokenizerJson);
  ASSERT_TRUE(cases.ok()) << cases.status();
  ASSERT_GT(cases->size(), 50u);
  for (const auto& c : *cases) {
    SCOPED_TRACE(c["params"].dump());
    const auto logits = c["logits"].get<std::vector<float>>();
    const auto sampler = MakeSampler(ParamsFromJson(c["params"]), logits.size());
    const auto got = Distribution(sampler, logits, MakeHistory(c["prompt"], c["output"]));
    ASSERT_EQ(got.size(), c["expected"].size());
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(got[i].id, c["expected"][i][0].get<int32_t>());
      EXPECT_NEAR(got[i].probability, c["expected"][i][1].get<double>(), 2e-6);
    }
  }
}

// The filters as their definitions say, by sorting everything; ties by the lowest id.
struct NaiveToken {
  int32_t id;
  double z, weight;
};

void KeepFirstWithShare(std::vector<NaiveToken>* tokens, double share) {
  double total = 0, reached = 0;
  for (const auto& t : *tokens) total += t.weight;
  size_t kept = 0;
  while (kept < tokens->size() && reached < share * total) reached += (*tokens)[kept++].weight;
  tokens->resize(kept);
}

std::vector<NaiveToken> NaiveSelect(const std::vector<float>& logits, const SamplingParams& p) {
  std::vector<NaiveToken> tokens;
  const double max = *std::max_element(logits.begin(), logits.end());
  for (size_t i = 0; i < logits.size(); ++i) {
    const double z = (logits[i] - max) / p.temperature;
    tokens.push_back({static_cast<int32_t>(i), z, std::exp(z)});
  }
  std::stable_sort(tokens.begin(), tokens.end(), [](auto& a, auto& b) { return a.z > b.z; });
  if (p.top_k > 0) tokens.resize(std::min<size_t>(p.top_k, tokens.size()));
  if (p.top_p < 1) KeepFirstWithShare(&tokens, p.top_p);
  std::erase_if(tokens, [&](auto& t) { return t.weight < p.min_p; });
  if (p.typical_p < 1) {
    double total = 0, mean = 0;
    for (const auto& t : tokens) total += t.weight;
    for (const auto& t : tokens) mean += t.weight / total * t.z;
    std::sort(tokens.begin(), tokens.end(), [](auto& a, auto& b) { return a.id < b.id; });
    std::stable_sort(tokens.begin(), tokens.end(),
                     [&](auto& a, auto& b) { return std::abs(a.z - mean) < std::abs(b.z - mean); });
    KeepFirstWithShare(&tokens, p.typical_p);
  }
  std::erase_if(tokens, [](auto& t) { return t.z < -708; });  // no chance: e^z counts as 0
  std::sort(tokens.begin(), tokens.end(), [](auto& a, auto& b) { return a.id < b.id; });
  return tokens;
}

TEST(Sampler, FiltersAgreeWithSortingEverythingOverManyTies) {
  std::mt19937 rng(7);
  auto one_of = [&](std::vector<double> values) { return values[rng() % values.size()]; };
  for (int round = 0; round < 400; ++round) {
    const size_t vocab = static_cast<size_t>(one_of({1, 2, 63, 64, 65, 300, 3001}));
    std::vector<float> logits = RandomLogits(vocab, round, one_of({0.0, 1.0, 10.0, 60.0}));
    if (round % 4 != 0) {
      for (float& z : logits) z = std::round(z * 2) / 2;  // few values: ties everywhere
    }
    SamplingParams p;
    p.temperature = one_of({0.1, 0.7, 1.0, 3.0});
    p.top_k = one_of({0, 0, 1, 5, 47, 1000});
    p.top_p = one_of({1, 1, 0.0001, 0.513, 0.9017, 0.99993});
    p.min_p = one_of({0, 0, 0.0137, 0.77, 1});
    p.typical_p = one_of({1, 1, 0.2031, 0.9319});
    SCOPED_TRACE(fmt::format("round {} vocab {} T {} k {} p {} min {} typical {}", round, vocab,
                             p.temperature, p.top_k, p.top_p, p.min_p, p.typical_p));
    const auto want = NaiveSelect(logits, p);
    const double total = std::accumulate(want.begin(), want.end(), 0.0,
                                         [](double sum, auto& t) { return sum + t.weight; });
    const auto got = Distribution(MakeSampler(p, vocab), logits, MakeHistory({0}, {}));
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < got.size(); ++i) {
      ASSERT_EQ(got[i].id, want[i].id);
      ASSERT_NEAR(got[i].probability, want[i].weight / total, 1e-12);
    }
  }
}

TEST(Sampler, TiesGoToTheLowestId) {
  std::vector<float> logits(200, -1.0f);
  for (int32_t id : {70, 71, 130}) logits[id] = 2.5f;
  const TokenHistory history = MakeHistory({1}, {});
  EXPECT_EQ(SampleId(MakeSampler({}, 200), logits, history), 70);
  SamplingParams p;
  p.temperature = 1;
  p.top_k = 2;
  const auto top = Distribution(MakeSampler(p, 200), logits, history);
  ASSERT_EQ(top.size(), 2u);
  EXPECT_EQ(top[0].id, 70);
  EXPECT_EQ(top[1].id, 71);
  EXPECT_EQ(SampleId(MakeSampler({}, 3), {-0.0f, 0.0f, -1.0f}, history), 0);
}

TEST(Sampler, GreedyIgnoresFiltersAndSeed) {
  SamplingParams p;
  p.typical_p = 0.05;  // as a filter, it would drop the most likely
  p.top_k = 3;
  std::vector<float> logits = RandomLogits(1000, 3, 5);
  const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
  for (uint64_t seed : {0, 1, 2}) {
    p.seed = seed;
    EXPECT_EQ(SampleId(MakeSampler(p, 1000), logits, MakeHistory({1}, {2, 3})), best);
  }
}

TEST(Sampler, NonFiniteLogitsAreAnErrorWhereverTheyAre) {
  SamplingParams sampled;
  sampled.temperature = 1;
  for (const SamplingParams& p : {SamplingParams{}, sampled}) {
    const Sampler sampler = MakeSampler(p, 150);
    SamplerScratch scratch;
    for (float bad : {kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN()}) {
      for (size_t at : {0, 63, 64, 127, 128, 149}) {
        std::vector<float> logits(150, 1.0f);
        logits[at] = bad;
        const auto token = sampler.Sample(logits, MakeHistory({4, 5}, {6}), 0, &scratch);
        EXPECT_EQ(token.status().code(), absl::StatusCode::kInternal);
        EXPECT_THAT(std::string(Message(token.status())),
                    HasSubstr(fmt::format("non-finite logits: {} for the token id {} at position 3",
                                          bad, at)));
      }
    }
    EXPECT_TRUE(
        sampler.Sample(std::vector<float>(150, 1.0f), MakeHistory({4}, {}), 0, &scratch).ok());
  }
}

TEST(Sampler, ExtremeFiniteLogitsStayFinite) {
  constexpr float kMax = std::numeric_limits<float>::max();
  SamplingParams p;
  p.repetition_penalty = 100;
  p.logit_bias = {{1, 100}};
  for (double temperature : {0.0, 1e-5, 1.0, 100.0}) {
    p.temperature = temperature;
    const Sampler sampler = MakeSampler(p, 4);
    EXPECT_EQ(SampleId(sampler, {-kMax, kMax, 0, kMax}, MakeHistory({0, 1, 2}, {})), 3);
    EXPECT_LT(SampleId(sampler, {-kMax, -kMax, -kMax, -kMax}, MakeHistory({0, 1}, {})), 4);
  }
  p.repetition_penalty = 0.01;  // a reward: it would lift the first to infinity
  p.temperature = 1;
  const auto lifted = Distribution(MakeSampler(p, 4), {kMax, kMax, 0, 1}, MakeHistory({0}, {}));
  ASSERT_EQ(lifted.size(), 2u);
  EXPECT_EQ(lifted[0].probability, 0.5);
}

TEST(Sampler, MinTokensMaskStopIdsUntilTheOutputIsLongEnough) {
  SamplingParams p;
  p.min_tokens = 2;
  p.eos_token_ids = {1, 99999, -1};  // a config may name ids that the model lacks
  p.stop_token_ids = {2};
  const std::vector<float> logits = {0, 3, 2, 1};
  EXPECT_EQ(SampleId(MakeSampler(p, 4), logits, MakeHistory({0}, {0})), 3);
  EXPECT_EQ(SampleId(MakeSampler(p, 4), logits, MakeHistory({0}, {0, 0})), 1);
  p.ignore_eos = true;  // eos does not stop, so it is not masked; the request's own id still is
  EXPECT_EQ(SampleId(MakeSampler(p, 4), logits, MakeHistory({0}, {0})), 1);
  EXPECT_EQ(SampleId(MakeSampler(p, 4), {0, 0, 9, 1}, MakeHistory({0}, {0})), 3);
}

TEST(Sampler, MinTokensThatMaskEverythingAreAnError) {
  SamplingParams p;
  p.min_tokens = 1;
  p.stop_token_ids = {0, 1};
  SamplerScratch scratch;
  const auto token =
      MakeSampler(p, 2).Sample(std::vector<float>{1, 2}, TokenHistory(0), 0, &scratch);
  EXPECT_EQ(token.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(Sampler, IgnoreEosLeavesTheLogitsUntouched) {
  SamplingParams p;
  p.eos_token_ids = {1};
  p.ignore_eos = true;
  EXPECT_EQ(SampleId(MakeSampler(p, 3), {0, 5, 1}, MakeHistory({0}, {})), 1);
}

TEST(Sampler, AnIdOutsideTheVocabularyInTheHistoryIsAnError) {
  SamplingParams p;
  p.repetition_penalty = 1.1;
  SamplerScratch scratch;
  for (int32_t id : {-1, 4}) {
    const auto token =
        MakeSampler(p, 4).Sample(std::vector<float>(4, 1), MakeHistory({id}, {}), 0, &scratch);
    EXPECT_EQ(token.status().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST(Sampler, LogprobsAreOfTheModelNotOfTheFilters) {
  SamplingParams p;
  p.temperature = 0.3;
  p.top_k = 1;
  p.logit_bias = {{5, 50}, {100, 40}, {200, 40}, {300, 40}};
  p.logprobs = true;
  p.top_logprobs = 3;
  std::vector<float> logits = RandomLogits(500, 11, 4);
  logits[20] = logits[30] = 6;
  SamplerScratch scratch;
  const auto token = MakeSampler(p, 500).Sample(logits, MakeHistory({1}, {}), 0, &scratch);
  ASSERT_TRUE(token.ok());
  double sum = 0;
  for (float z : logits) sum += std::exp(double{z});
  EXPECT_EQ(token->id, 5);
  EXPECT_NEAR(token->logprob, logits[5] - std::log(sum), 1e-5);
  ASSERT_EQ(token->top.size(), 3u);
  EXPECT_EQ(token->top[0].id, 20);
  EXPECT_EQ(token->top[1].id, 30);
  EXPECT_NEAR(token->top[0].logprob, 6 - std::log(sum), 1e-5);
  EXPECT_LT(token->top[2].logprob, token->top[1].logprob);
  p.logprobs = false;
  p.top_logprobs = 0;
  EXPECT_TRUE(MakeSampler(p, 500).Sample(logits, MakeHistory({1}, {}), 0, &scratch)->top.empty());
}

TEST(Sampler, AnIncrementalHistorySamplesLikeARebuiltOne) {
  SamplingParams p;
  p.temperature = 1.2;
  p.repetition_penalty = 1.2;
  p.presence_penalty = 0.4;
  p.frequency_penalty = 0.3;
  p.top_p = 0.95;
  p.seed = 99;
  constexpr int64_t kVocab = 50, kPrompt = 6;
  const Sampler sampler = MakeSampler(p, kVocab);
  std::mt19937 rng(5);
  TokenHistory incremental(kPrompt);
  SamplerScratch shared;
  for (int step = 0; step < 600; ++step) {
    if (step % 7 == 6) {
      incremental.Truncate(rng() % (incremental.size() + 1));  // a roll-back, also into the prompt
    }
    TokenHistory rebuilt(kPrompt);
    rebuilt.Append(incremental.ids());
    ASSERT_EQ(rebuilt.size(), incremental.size());
    ASSERT_EQ(rebuilt.n_output(), incremental.n_output());
    ASSERT_EQ(rebuilt.counts().size(), incremental.counts().size());
    const std::vector<float> logits = RandomLogits(kVocab, step, 3);
    const auto token = sampler.Sample(logits, incremental, 0, &shared);
    ASSERT_TRUE(token.ok());
    ASSERT_EQ(token->id, SampleId(sampler, logits, rebuilt));
    const auto a = Distribution(sampler, logits, incremental);
    const auto b = Distribution(sampler, logits, rebuilt);
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) ASSERT_EQ(a[i].probability, b[i].probability);
    incremental.Append(token->id);
  }
}

TEST(Sampler, WhatOneCallLeavesInTheScratchDoesNotReachTheNext) {
  SamplerScratch shared;
  for (int round = 0; round < 60; ++round) {
    SamplingParams p;
    p.temperature = round % 4;
    p.top_k = round % 3 * 20;
    p.top_p = round % 5 == 0 ? 0.8 : 1.0;
    p.logprobs = round % 2;
    p.presence_penalty = round % 7 == 0 ? 1.0 : 0.0;
    const size_t vocab = 30 + 97 * (round % 6);
    const std::vector<float> logits = RandomLogits(vocab, round, 6);
    const Sampler sampler = MakeSampler(p, vocab);
    const TokenHistory history = MakeHistory({1, 2}, {3});
    const auto token = sampler.Sample(logits, history, 0, &shared);
    ASSERT_TRUE(token.ok());
    EXPECT_EQ(token->id, SampleId(sampler, logits, history));
  }
}

}  // namespace
}  // namespace catena
