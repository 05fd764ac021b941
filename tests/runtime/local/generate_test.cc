#include "runtime/local/generate.h"

#include <gtest/gtest.h>

#include "model/sampler/sampling_limits.h"
#include "runtime/local/score.h"
#include "tests/runtime/tiny_checkpoint.h"

namespace catena {
namespace {

class GenerateTest : public ::testing::Test {
 protected:
  void SetUp() override {
    engine_ = *Engine::Load(*TinyCheckpoint(kTinyPhi3, DType::kQ8_0), {.threads = 2,
                                                                       .layers = {{0, 1}, {1, 4}},
                                                                       .max_rows = 16,
                                                                       .max_logit_rows = 2,
                                                                       .max_sequences = 8});
    for (int i = 0; i < 50; ++i) prompt_.push_back(i * 7 % kTinyVocab);
  }

  std::vector<std::vector<int32_t>> Run(const SamplingParams& params, std::vector<int32_t> prompt,
                                        KeptSequence* kept = nullptr) {
    const Sampler sampler = *Sampler::Make(params, kTinyVocab);
    std::vector<std::vector<int32_t>> ids(params.n);
    const GenerateRequest request{.prompt = std::move(prompt),
                                  .sampler = &sampler,
                                  .on_token =
                                      [&](const TokenEvent& e) {
                                        ids[e.sequence].push_back(e.token.id);
                                        return true;
                                      },
                                  .cancel = nullptr,
                                  .kept = kept};
    const auto stats = Generate(request, engine_.get());
    EXPECT_TRUE(stats.ok()) << stats.status();
    if (stats.ok()) stats_ = *stats;
    return ids;
  }

  std::unique_ptr<Engine> engine_;
  std::vector<int32_t> prompt_;
  GenerateStats stats_;
};

TEST_F(GenerateTest, SequencesOfOnePromptDifferAndEachIsWhatItIsAlone) {
  SamplingParams params{.temperature = 1.0, .max_tokens = 20, .n = 5, .seed = 9};
  const auto together = Run(params, prompt_);
  EXPECT_NE(together[0], together[1]);
  EXPECT_EQ(stats_.completion_tokens, 100);
  params.n = 1;
  EXPECT_EQ(Run(params, prompt_)[0], together[0]);
  EXPECT_EQ(engine_->kv_bytes_in_use(), 0);
}

TEST_F(GenerateTest, AKeptSequenceGivesTheTokensOfComputingItAll) {
  const SamplingParams params{.max_tokens = 12};
  KeptSequence kept;
  std::vector<int32_t> prompt = prompt_;
  for (int turn = 0; turn < 4; ++turn) {
    const auto expected = Run(params, prompt);
    EXPECT_EQ(Run(params, prompt, &kept), expected) << turn;
    EXPECT_EQ(stats_.reused_tokens > 0, turn > 0);
    if (turn == 2) prompt.resize(30);  // the conversation is edited
    prompt.insert(prompt.end(), expected[0].begin(), expected[0].end());
    prompt.insert(prompt.end(), {1, 2, 3});
  }
  engine_->Close(kept.id);
  EXPECT_EQ(engine_->kv_bytes_in_use(), 0);
}

// Only two ids are likely, so that guesses are often wrong and often right.
SamplingParams TwoLikelyIds() {
  return {.temperature = 10.0,
          .logit_bias = {{3, 100.0f}, {7, 100.0f}},
          .max_tokens = 60,
          .n = 3,
          .seed = 5};
}

TEST_F(GenerateTest, SpeculationChangesNoToken) {
  SamplingParams params = TwoLikelyIds();
  const auto expected = Run(params, prompt_);
  EXPECT_EQ(stats_.drafted_tokens, 0);
  for (const int32_t n : {1, 4, kMaxDrafts}) {
    params.speculate = n;
    EXPECT_EQ(Run(params, prompt_), expected) << n;
    EXPECT_GT(stats_.accepted_tokens, 20) << n;
    EXPECT_GT(stats_.drafted_tokens, stats_.accepted_tokens + 20) << n;
  }
  EXPECT_EQ(engine_->kv_bytes_in_use(), 0);
}

TEST_F(GenerateTest, AKeptSequenceHoldsNothingThatWasGuessedWrong) {
  SamplingParams params = TwoLikelyIds();
  params.n = 1;
  params.speculate = 8;
  KeptSequence kept;
  std::vector<int32_t> prompt = prompt_;
  for (int turn = 0; turn < 4; ++turn) {
    params.eos_token_ids = {turn % 2 == 0 ? 3 : 7};  // an end may be what was guessed
    params.min_tokens = 10 + turn;
    const auto expected = Run(params, prompt);
    EXPECT_EQ(Run(params, prompt, &kept), expected) << turn;
    prompt.insert(prompt.end(), expected[0].begin(), expected[0].end());
    prompt.insert(prompt.end(), {1, 2, 3});
  }
  engine_->Close(kept.id);
  EXPECT_EQ(engine_->kv_bytes_in_use(), 0);
}

TEST_F(GenerateTest, GuessesEndWithTheContext) {
  SamplingParams params = TwoLikelyIds();
  params.speculate = 8;
  params.n = 1;
  for (int32_t length = 490; length <= 512; ++length) {
    const std::vector<int32_t> prompt(static_cast<size_t>(length), 3);
    EXPECT_EQ(Run(params, prompt)[0].size(), static_cast<size_t>(513 - length));
  }
}

// Tokens across the position from which longrope has other factors, at every one of them.
class LongRopeTest : public GenerateTest {
 protected:
  void SetUp() override {
    engine_ = *Engine::Load(
        *TinyCheckpoint(kTinyLongRope, DType::kQ8_0),
        {.threads = 2, .layers = {{0, 1}, {1, 4}}, .max_rows = 16, .max_sequences = 8});
    for (int i = 0; i < 40; ++i) prompt_.push_back(i * 7 % kTinyVocab);
  }

  // Each token by a sequence that computes its whole text anew.
  std::vector<int32_t> WithoutCache(const SamplingParams& params, uint32_t index) {
    const Sampler sampler = *Sampler::Make(params, kTinyVocab);
    TokenHistory history(static_cast<int64_t>(prompt_.size()));
    history.Append(prompt_);
    SamplerScratch scratch;
    std::vector<int32_t> ids;
    for (int i = 0; i < params.max_tokens; ++i) {
      std::vector<float> last;
      EXPECT_TRUE(ForEachPosition(history.ids(), engine_.get(),
                                  [&](int64_t, absl::Span<const float> logits) {
                                    last.assign(logits.begin(), logits.end());
                                    return absl::OkStatus();
                                  })
                      .ok());
      ids.push_back(sampler.Sample(last, history, index, &scratch)->id);
      history.Append(ids.back());
    }
    return ids;
  }
};

TEST_F(LongRopeTest, EveryTokenIsThatOfAComputationWithoutACache) {
  for (const int32_t speculate : {0, 8}) {
    SamplingParams params = TwoLikelyIds();
    params.max_tokens = 25;  // 40 positions and more: the switch is at 48
    params.speculate = speculate;
    const auto together = Run(params, prompt_);
    for (uint32_t i = 0; i < 3; ++i) EXPECT_EQ(together[i], WithoutCache(params, i)) << speculate;
  }
  EXPECT_EQ(engine_->kv_bytes_in_use(), 0);
}

TEST_F(LongRopeTest, WhatMayBeAskedForDoesNotMatter) {
  SamplingParams params{.max_tokens = 8};
  const auto few = Run(params, prompt_)[0];
  params.max_tokens = 60;
  auto many = Run(params, prompt_)[0];
  many.resize(few.size());
  EXPECT_EQ(many, few);
}

TEST_F(LongRopeTest, AKeptSequenceCrossesTheSwitch) {
  const SamplingParams params{.max_tokens = 6};
  KeptSequence kept;
  std::vector<int32_t> prompt(prompt_.begin(), prompt_.begin() + 20);
  for (int turn = 0; turn < 5; ++turn) {
    const auto expected = Run(params, prompt);
    EXPECT_EQ(Run(params, prompt, &kept), expected) << turn;
    prompt.insert(prompt.end(), expected[0].begin(), expected[0].end());
    prompt.push_back(1);
  }
  EXPECT_GT(static_cast<int64_t>(prompt.size()), kTinyRotarySwitch);
  engine_->Close(kept.id);
  EXPECT_EQ(engine_->kv_bytes_in_use(), 0);
}

TEST_F(GenerateTest, EndsWithTheContext) {
  const SamplingParams params{.max_tokens = 1000};
  std::vector<int32_t> prompt(500, 3);
  EXPECT_EQ(Run(params, prompt)[0].size(), 13u);  // the 512 positions, and one token more
  prompt.resize(512, 3);
  EXPECT_EQ(Run(params, prompt)[0].size(), 1u);
}

TEST_F(GenerateTest, RefusesWhatItCannotDo) {
  const Sampler sampler = *Sampler::Make({}, kTinyVocab);
  GenerateRequest request{.prompt = {}, .sampler = &sampler, .on_token = nullptr};
  EXPECT_EQ(Generate(request, engine_.get()).status().code(), absl::StatusCode::kInvalidArgument);
  request.prompt.assign(513, 1);
  EXPECT_EQ(Generate(request, engine_.get()).status().code(), absl::StatusCode::kInvalidArgument);
  request.prompt = {kTinyVocab};
  EXPECT_EQ(Generate(request, engine_.get()).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(engine_->kv_bytes_in_use(), 0);
}

TEST_F(GenerateTest, StopsWhenItIsCancelledOrTheListenerHasEnough) {
  const Sampler sampler = *Sampler::Make({.max_tokens = 400}, kTinyVocab);
  std::atomic<bool> cancel = false;
  int tokens = 0;
  GenerateRequest request{.prompt = prompt_,
                          .sampler = &sampler,
                          .on_token =
                              [&](const TokenEvent&) {
                                cancel = ++tokens == 5;
                                return true;
                              },
                          .cancel = &cancel};
  EXPECT_EQ(Generate(request, engine_.get()).status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(tokens, 5);
  request.on_token = [&](const TokenEvent&) { return ++tokens < 8; };
  cancel = false;
  EXPECT_EQ(Generate(request, engine_.get())->completion_tokens, 3);
  EXPECT_EQ(engine_->kv_bytes_in_use(), 0);
}

}  // namespace
}  // namespace catena
