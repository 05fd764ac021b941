#include <cmath>
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/sampler/finish.h"
#include "model/sampler/params.h"
#include "model/sampler/sampling_limits.h"

namespace catena {
namespace {

using ::testing::ElementsAre;

constexpr int64_t kVocab = 100;

struct BadValue {
  std::function<void(SamplingParams*)> set;
  std::string message;
};

TEST(SamplingParams, EveryBadValueIsRefusedWithItsFlagValueAndRange) {
  using P = SamplingParams*;
  const BadValue kBad[] = {
      {[](P p) { p->temperature = -0.1; }, "--temperature is -0.1: it must be from 0 to 100"},
      {[](P p) { p->temperature = 101; }, "--temperature is 101: it must be from 0 to 100"},
      {[](P p) { p->temperature = NAN; }, "--temperature is nan: it must be from 0 to 100"},
      {[](P p) { p->temperature = INFINITY; }, "--temperature is inf: it must be from 0 to 100"},
      {[](P p) { p->top_k = -2; }, "--top-k is -2: it must be from -1 to 2147483647"},
      {[](P p) { p->top_p = 1.5; }, "--top-p is 1.5: it must be from 0 to 1"},
      {[](P p) { p->top_p = -1; }, "--top-p is -1: it must be from 0 to 1"},
      {[](P p) { p->min_p = 2; }, "--min-p is 2: it must be from 0 to 1"},
      {[](P p) { p->min_p = NAN; }, "--min-p is nan: it must be from 0 to 1"},
      {[](P p) { p->typical_p = 0; }, "--typical-p is 0: it must be above 0 and at most 1"},
      {[](P p) { p->typical_p = 1.1; }, "--typical-p is 1.1: it must be above 0 and at most 1"},
      {[](P p) { p->repetition_penalty = 0; },
       "--repetition-penalty is 0: it must be above 0 and at most 100"},
      {[](P p) { p->presence_penalty = 2.5; },
       "--presence-penalty is 2.5: it must be from -2 to 2"},
      {[](P p) { p->frequency_penalty = -3; },
       "--frequency-penalty is -3: it must be from -2 to 2"},
      {[](P p) {
         p->logit_bias = {{5, 101}};
       },
       "--logit-bias of the token id 5 is 101: it must be from -100 to 100"},
      {[](P p) {
         p->logit_bias = {{100, 1}};
       },
       "--logit-bias names the token id 100: ids of this model are from 0 to 99"},
      {[](P p) {
         for (int32_t i = 0; i < 1025; ++i) p->logit_bias[i] = 1;
       },
       "--logit-bias has 1025 entries: at most 1024 are allowed"},
      {[](P p) { p->min_tokens = -1; }, "--min-tokens is -1: it must be from 0 to 1048576"},
      {[](P p) { p->min_tokens = 51; },
       "--min-tokens is 51: it must be from 0 to --max-tokens, 50"},
      {[](P p) { p->max_tokens = 0; }, "--max-tokens is 0: it must be from 1 to 1048576"},
      {[](P p) { p->stop_token_ids = {-1}; },
       "--stop-token-ids names the token id -1: ids of this model are from 0 to 99"},
      {[](P p) { p->stop_token_ids.assign(129, 1); },
       "--stop-token-ids has 129 entries: at most 128 are allowed"},
      {[](P p) { p->stop.assign(17, "x"); }, "--stop has 17 entries: at most 16 are allowed"},
      {[](P p) {
         p->stop = {"x", ""};
       },
       "the length in bytes of a --stop string is 0: it must be from 1 to 1024"},
      {[](P p) { p->stop = {std::string(1025, '\n')}; },
       "the length in bytes of a --stop string is 1025: it must be from 1 to 1024"},
      {[](P p) { p->n = 0; }, "--n is 0: it must be from 1 to 128"},
      {[](P p) { p->speculate = 16; }, "--speculate is 16: it must be from 0 to 15"},
      {[](P p) { p->logprobs = true, p->top_logprobs = 21; },
       "--logprobs is 21: it must be from 0 to 20"},
      {[](P p) { p->top_logprobs = 2; }, "top_logprobs is 2: it must be 0 without logprobs"},
  };
  for (const BadValue& bad : kBad) {
    SamplingParams params;
    bad.set(&params);
    const absl::Status status = Validate(params, kVocab);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << bad.message;
    EXPECT_EQ(Message(status), bad.message);
  }
}

TEST(SamplingParams, DefaultsAndLimitsThemselvesAreAllowed) {
  SamplingParams p;
  EXPECT_TRUE(Validate(p, kVocab).ok());
  p.temperature = kMaxTemperature;
  p.top_k = 1 << 30;
  p.top_p = 0;
  p.min_p = 1;
  p.typical_p = 1e-9;
  p.presence_penalty = -2;
  p.logit_bias = {{0, -100}, {99, 100}};
  p.min_tokens = p.max_tokens = kMaxNewTokens;
  p.eos_token_ids = {100000};  // the model's own files are not the user's fault
  p.stop.assign(kMaxStopStrings, std::string(kMaxStopBytes, 'x'));
  p.logprobs = true;
  p.top_logprobs = kMaxTopLogprobs;
  p.n = kMaxSequences;
  EXPECT_TRUE(Validate(p, kVocab).ok()) << Validate(p, kVocab);
}

TEST(WithDefaults, IsGreedyUnlessAskedOtherwise) {
  const SamplingParams p = WithDefaults({}, {}, 77);
  EXPECT_EQ(p.temperature, 0);
  EXPECT_EQ(p.max_tokens, 50);
  EXPECT_EQ(p.seed, 77u);
  GenerationConfig named;
  named.temperature = 0.8;  // without do_sample a temperature is not used
  EXPECT_EQ(WithDefaults(named, {}, 0).temperature, 0);
  SamplingOverrides filter_only;
  filter_only.top_p = 0.9;
  EXPECT_EQ(WithDefaults({}, filter_only, 0).temperature, 0);
}

TEST(WithDefaults, TakesTheModelsConfigWhereTheUserSaysNothing) {
  GenerationConfig model;
  model.do_sample = true;
  model.top_p = 0.9;
  model.top_k = -1;
  model.min_p = 0.01;
  model.typical_p = 0.95;
  model.repetition_penalty = 1.1;
  model.eos_ids = {2, 7};
  SamplingParams p = WithDefaults(model, {}, 0);
  EXPECT_EQ(p.temperature, 1.0);
  EXPECT_EQ(p.top_p, 0.9);
  EXPECT_EQ(p.top_k, 0);
  EXPECT_EQ(p.min_p, 0.01);
  EXPECT_EQ(p.typical_p, 0.95);
  EXPECT_EQ(p.repetition_penalty, 1.1);
  EXPECT_THAT(p.eos_token_ids, ElementsAre(2, 7));
  model.temperature = 0.6;
  model.top_k = int64_t{1} << 40;
  p = WithDefaults(model, {}, 0);
  EXPECT_EQ(p.temperature, 0.6);
  EXPECT_EQ(p.top_k, 2147483647);
}

TEST(WithDefaults, TheUsersWordWins) {
  GenerationConfig model;
  model.do_sample = true;
  model.temperature = 0.6;
  model.top_p = 0.9;
  SamplingOverrides user;
  user.temperature = 0;
  user.top_p = 1;
  user.top_k = 5;
  user.min_p = 0.2;
  user.typical_p = 0.4;
  user.repetition_penalty = 1.5;
  user.presence_penalty = 0.1;
  user.frequency_penalty = 0.2;
  user.logit_bias = {{1, 2}};
  user.min_tokens = 3;
  user.max_tokens = 4;
  user.ignore_eos = true;
  user.stop_token_ids = {9};
  user.stop = {"s"};
  user.logprobs = true;
  user.top_logprobs = 6;
  user.n = 7;
  user.speculate = 9;
  user.seed = 8;
  const SamplingParams p = WithDefaults(model, user, 1);
  EXPECT_EQ(p.temperature, 0);
  EXPECT_EQ(p.top_p, 1);
  EXPECT_EQ(p.top_k, 5);
  EXPECT_EQ(p.min_p, 0.2);
  EXPECT_EQ(p.typical_p, 0.4);
  EXPECT_EQ(p.repetition_penalty, 1.5);
  EXPECT_EQ(p.presence_penalty, 0.1);
  EXPECT_EQ(p.frequency_penalty, 0.2);
  EXPECT_EQ(p.logit_bias.at(1), 2);
  EXPECT_EQ(p.min_tokens, 3);
  EXPECT_EQ(p.max_tokens, 4);
  EXPECT_TRUE(p.ignore_eos);
  EXPECT_THAT(p.stop_token_ids, ElementsAre(9));
  EXPECT_THAT(p.stop, ElementsAre("s"));
  EXPECT_TRUE(p.logprobs);
  EXPECT_EQ(p.top_logprobs, 6);
  EXPECT_EQ(p.n, 7);
  EXPECT_EQ(p.speculate, 9);
  EXPECT_EQ(p.seed, 8u);
}

TEST(FinishAfter, StopIdsStopAndLengthEnds) {
  SamplingParams p;
  p.max_tokens = 3;
  p.eos_token_ids = {1};
  p.stop_token_ids = {2};
  EXPECT_EQ(FinishAfter(p, 1, 0), std::nullopt);
  EXPECT_EQ(FinishAfter(p, 1, 1), FinishReason::kStop);
  EXPECT_EQ(FinishAfter(p, 2, 2), FinishReason::kStop);
  EXPECT_EQ(FinishAfter(p, 3, 0), FinishReason::kLength);
  EXPECT_EQ(FinishAfter(p, 3, 1), FinishReason::kStop);
  p.ignore_eos = true;
  EXPECT_EQ(FinishAfter(p, 1, 1), std::nullopt);
  EXPECT_EQ(FinishAfter(p, 1, 2), FinishReason::kStop);
  EXPECT_EQ(FinishReasonName(FinishReason::kStop), "stop");
  EXPECT_EQ(FinishReasonName(FinishReason::kLength), "length");
}

TEST(FinishAfter, NoStopIdEndsBeforeMinTokens) {
  SamplingParams p;
  p.min_tokens = 2;
  p.eos_token_ids = {1};
  EXPECT_EQ(FinishAfter(p, 2, 1), std::nullopt);
  EXPECT_EQ(FinishAfter(p, 3, 1), FinishReason::kStop);
}

TEST(PositionsNeeded, TheLastTokenIsNeverReadAndTheContextIsTheMost) {
  SamplingParams p;
  p.max_tokens = 3;
  EXPECT_EQ(PositionsNeeded(10, p, 100), 12);
  EXPECT_EQ(PositionsNeeded(10, p, 11), 11);
  p.max_tokens = 1;
  EXPECT_EQ(PositionsNeeded(10, p, 100), 10);
}

}  // namespace
}  // namespace catena
