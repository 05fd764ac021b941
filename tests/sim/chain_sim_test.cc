// Whole clusters in simulation: each client must have exactly the reference text, and afterwards
// nothing may be held anywhere.
#include <gtest/gtest.h>

#include "model/sampler/sampling_limits.h"
#include "tests/sim/world.h"

namespace catena::sim {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

struct Asked {
  LoopRequest request;
  std::shared_ptr<Outcome> outcome;
  bool may_fail = false;
};

LoopRequest RandomRequest(std::mt19937_64* random, int64_t context) {
  auto below = [&](uint64_t n) { return static_cast<int64_t>((*random)() % n); };
  LoopRequest request;
  const int64_t prompt = 1 + below(below(4) == 0 ? static_cast<uint64_t>(context) - 1 : 40);
  for (int64_t i = 0; i < prompt; ++i) {
    request.prompt.push_back(static_cast<int32_t>(below(kVocab)));
  }
  request.params.max_tokens = static_cast<int32_t>(1 + below(60));
  request.params.temperature = below(2) == 0 ? 0.0 : 0.9;
  request.params.repetition_penalty = below(3) == 0 ? 1.2 : 1.0;
  request.params.seed = (*random)();
  request.params.eos_token_ids = {static_cast<int32_t>(below(kVocab))};
  request.sequence_index = static_cast<uint32_t>(below(3));
  if (below(2) == 0) {  // guesses, of which about half are right where two ids are likely
    request.params.speculate = static_cast<int32_t>(1 + below(kMaxDrafts));
    request.params.logit_bias = {{static_cast<int32_t>(below(30)), 100.0f},
                                 {static_cast<int32_t>(30 + below(30)), 100.0f}};
  }
  return request;
}

void ExpectReference(const Asked& asked, int64_t context) {
  ASSERT_TRUE(asked.outcome->ended);
  if (asked.may_fail && !asked.outcome->status.ok()) return;
  ASSERT_TRUE(asked.outcome->status.ok()) << asked.outcome->status;
  const LoopRequest& r = asked.request;
  const auto prompt = static_cast<int64_t>(r.prompt.size());
  const int rotary = prompt + r.params.max_tokens > context / 2 ? 1 : 0;
  std::vector<int32_t> tokens;
  for (const Token& token : asked.outcome->tokens) {
    EXPECT_EQ(token.position, prompt + static_cast<int64_t>(tokens.size()));
    tokens.push_back(token.token.id);
  }
  EXPECT_EQ(tokens, ReferenceTokens(r.prompt, r.params, r.sequence_index, rotary, context));
}

void RunAndCheck(const WorldOptions& options, int requests, bool disturb) {
  SCOPED_TRACE(fmt::format("seed {}", options.seed));
  World world(options);
  std::mt19937_64 random(options.seed * 77 + 1);
  std::vector<Asked> asked;
  for (int i = 0; i < requests; ++i) {
    const auto at = milliseconds(random() % 50);
    Asked a{.request = RandomRequest(&random, options.context), .outcome = nullptr};
    if (disturb && random() % 4 == 0) {
      a.request.deadline = world.now() + milliseconds(random() % 200);
      a.may_fail = true;
    }
    a.outcome = world.Submit(a.request, at, static_cast<int>(random() % options.gateways));
    if (disturb && random() % 4 == 0) {
      world.CancelAt(a.outcome, at + milliseconds(random() % 100));
      a.may_fail = true;
    }
    asked.push_back(std::move(a));
  }
  world.Run(std::chrono::hours(1));
  for (const Asked& a : asked) ExpectReference(a, options.context);
  EXPECT_EQ(world.Leaks(), "");
  EXPECT_EQ(world.Divergences(), 0);
}

WorldOptions Chain(std::vector<LayerRange> shards, uint64_t seed) {
  WorldOptions options;
  options.shards = std::move(shards);
  options.seed = seed;
  return options;
}

constexpr uint64_t kSeeds = 30;

TEST(ChainSim, EveryCutGivesTheReferenceText) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    RunAndCheck(Chain({{0, 12}}, seed), 12, false);
    RunAndCheck(Chain({{0, 5}, {5, 12}}, seed), 12, false);
    RunAndCheck(Chain({{0, 1}, {1, 2}, {2, 7}, {7, 12}}, seed), 12, false);
  }
}

TEST(ChainSim, MixedCutsAndReplicasGiveTheReferenceText) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    WorldOptions options =
        Chain({{0, 6}, {0, 6}, {0, 3}, {3, 6}, {6, 12}, {6, 12}, {6, 8}, {8, 12}}, seed);
    options.heads = 2;
    options.gateways = 3;
    RunAndCheck(options, 40, false);
  }
}

TEST(ChainSim, LostAndRepeatedMessagesAreMadeGood) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    WorldOptions options = Chain({{0, 4}, {4, 8}, {8, 12}}, seed);
    options.loss = 0.03;
    options.duplicate = 0.03;
    RunAndCheck(options, 12, false);
  }
}

TEST(ChainSim, SlowProcessesDelayAndNothingElse) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    WorldOptions options = Chain({{0, 4}, {4, 8}, {8, 12}}, seed);
    options.slow = 0.4;
    options.loss = 0.01;
    RunAndCheck(options, 12, false);
  }
}

// What the journal no longer has is computed again, with the same bits.
TEST(ChainSim, JournalsThatForgetCostTimeAndNothingElse) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    WorldOptions options = Chain({{0, 4}, {4, 8}, {8, 12}}, seed);
    options.journal_bytes = 0;
    options.loss = 0.03;
    options.window = 64;
    RunAndCheck(options, 12, false);
  }
}

TEST(ChainSim, CancelsAndDeadlinesFreeEverything) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    WorldOptions options = Chain({{0, 6}, {0, 6}, {6, 12}}, seed);
    options.gateways = 2;
    options.loss = seed % 2 == 0 ? 0.02 : 0;
    RunAndCheck(options, 60, true);
  }
}

// Room for two or three sequences at a time, three gateways that compete for it.
TEST(ChainSim, AFullCacheMakesRequestsWaitAndNoneStarve) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    WorldOptions options = Chain({{0, 6}, {6, 12}}, seed);
    options.kv_positions = 1100;
    options.gateways = 3;
    RunAndCheck(options, 40, false);
  }
}

TEST(ChainSim, PastTheQueueRequestsAreRefusedAtOnce) {
  WorldOptions options = Chain({{0, 12}}, 1);
  options.kv_positions = 512;
  options.max_waiting = 3;
  World world(options);
  std::mt19937_64 random(1);
  std::vector<std::shared_ptr<Outcome>> outcomes;
  for (int i = 0; i < 20; ++i) {
    LoopRequest request = RandomRequest(&random, options.context);
    request.prompt.assign(400, 1);
    outcomes.push_back(world.Submit(request));
  }
  world.Run(seconds(60));
  int refused = 0;
  for (const auto& outcome : outcomes) {
    ASSERT_TRUE(outcome->ended);
    refused += absl::IsResourceExhausted(outcome->status);
    EXPECT_TRUE(outcome->status.ok() || absl::IsResourceExhausted(outcome->status));
  }
  EXPECT_GT(refused, 10);
  EXPECT_LT(refused, 20);
  EXPECT_EQ(world.Leaks(), "");
}

TEST(ChainSim, ScoresEveryPositionOfThePrompt) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    WorldOptions options = Chain({{0, 6}, {6, 12}}, seed);
    options.loss = 0.02;
    World world(options);
    LoopRequest request;
    request.score = true;
    request.score_top = 3;
    for (int i = 0; i < 150; ++i) request.prompt.push_back(static_cast<int32_t>(i * seed % kVocab));
    auto outcome = world.Submit(request);
    world.Run(seconds(120));
    ASSERT_TRUE(outcome->ended);
    ASSERT_TRUE(outcome->status.ok()) << outcome->status;
    ASSERT_EQ(outcome->tokens.size(), request.prompt.size());
    ToyCache cache({0, kLayers}, 0);
    for (size_t p = 0; p < request.prompt.size(); ++p) {
      const std::vector<float> logits = ToyLogits(cache.Run(Embed(request.prompt[p], 0)));
      const SampledToken& score = outcome->tokens[p].token;
      const int32_t next = p + 1 < request.prompt.size() ? request.prompt[p + 1] : -1;
      EXPECT_EQ(score.id, next);
      ASSERT_EQ(score.top.size(), 3u);
      EXPECT_EQ(score.top[0].id, std::max_element(logits.begin(), logits.end()) - logits.begin());
    }
    EXPECT_EQ(world.Leaks(), "");
  }
}

}  // namespace
}  // namespace catena::sim
