// Whole clusters in simulation, a kind of trouble at a time: each client must have exactly the
// reference text, and afterwards nothing may be held anywhere.
#include <gtest/gtest.h>

#include "tests/sim/scenario.h"

namespace catena::sim {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr uint64_t kSeeds = 30;

WorldOptions Chain(std::vector<LayerRange> shards, uint64_t seed) {
  WorldOptions options;
  options.shards = std::move(shards);
  options.seed = seed;
  return options;
}

// Requests over the first 50 ms; `impatient`: some of whose clients go or have deadlines.
Scenario Load(const WorldOptions& world, int requests, bool impatient = false) {
  Random random(world.seed * 77 + 1);
  Scenario scenario{.world = world, .requests = {}, .faults = {}};
  for (int i = 0; i < requests; ++i) {
    const int64_t max_prompt = random.Chance(0.25) ? world.process.context - 1 : 40;
    Scenario::Request r{.request = RandomRequest(&random, max_prompt, 60)};
    r.at = random.UpTo(milliseconds(50));
    r.gateway = static_cast<size_t>(random.Below(world.gateways));
    if (impatient && random.Chance(0.25)) r.deadline = random.UpTo(milliseconds(200));
    if (impatient && random.Chance(0.25)) r.cancel_after = random.UpTo(milliseconds(100));
    scenario.requests.push_back(std::move(r));
  }
  return scenario;
}

void ExpectGood(const Scenario& scenario) {
  const std::string problems = Run(scenario);
  EXPECT_EQ(problems, "") << ToString(scenario);
}

TEST(ChainSim, EveryCutGivesTheReferenceText) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    ExpectGood(Load(Chain({{0, 12}}, seed), 12));
    ExpectGood(Load(Chain({{0, 5}, {5, 12}}, seed), 12));
    ExpectGood(Load(Chain({{0, 1}, {1, 2}, {2, 7}, {7, 12}}, seed), 12));
  }
}

TEST(ChainSim, MixedCutsAndReplicasGiveTheReferenceText) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    WorldOptions options =
        Chain({{0, 6}, {0, 6}, {0, 3}, {3, 6}, {6, 12}, {6, 12}, {6, 8}, {8, 12}}, seed);
    options.heads = 2;
    options.gateways = 3;
    ExpectGood(Load(options, 40));
  }
}

TEST(ChainSim, LostAndRepeatedMessagesAreMadeGood) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    WorldOptions options = Chain({{0, 4}, {4, 8}, {8, 12}}, seed);
    options.network.loss = 0.03;
    options.network.duplicate = 0.03;
    ExpectGood(Load(options, 12));
  }
}

TEST(ChainSim, SlowProcessesDelayAndNothingElse) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    WorldOptions options = Chain({{0, 4}, {4, 8}, {8, 12}}, seed);
    options.slow = 0.4;
    options.network.loss = 0.01;
    ExpectGood(Load(options, 12));
  }
}

// What the journal no longer has is computed again, with the same bits.
TEST(ChainSim, JournalsThatForgetCostTimeAndNothingElse) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    WorldOptions options = Chain({{0, 4}, {4, 8}, {8, 12}}, seed);
    options.process.journal_bytes = 0;
    options.process.sliding_window = 8;  // a wrong guess goes back further than it keeps
    options.network.loss = 0.03;
    ExpectGood(Load(options, 12));
  }
}

TEST(ChainSim, CancelsAndDeadlinesFreeEverything) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    WorldOptions options = Chain({{0, 6}, {0, 6}, {6, 12}}, seed);
    options.gateways = 2;
    options.network.loss = seed % 2 == 0 ? 0.02 : 0;
    ExpectGood(Load(options, 60, true));
  }
}

// Room for two or three sequences at a time, three gateways that compete for it.
TEST(ChainSim, AFullCacheMakesRequestsWaitAndNoneStarve) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    WorldOptions options = Chain({{0, 6}, {6, 12}}, seed);
    options.process.kv_positions = 1100;
    options.gateways = 3;
    ExpectGood(Load(options, 40));
  }
}

TEST(ChainSim, PastTheQueueRequestsAreRefusedAtOnce) {
  WorldOptions options = Chain({{0, 12}}, 1);
  options.process.kv_positions = 512;
  options.process.max_waiting = 3;
  options.may_refuse = true;
  World world(options);
  Random random(1);
  std::vector<std::shared_ptr<Outcome>> outcomes;
  for (int i = 0; i < 20; ++i) {
    LoopRequest request = RandomRequest(&random, 1, 60);
    request.prompt.assign(400, 1);
    outcomes.push_back(world.Submit(request));
  }
  EXPECT_EQ(world.Run(), "");
  int refused = 0;
  for (const auto& outcome : outcomes) refused += absl::IsResourceExhausted(outcome->status);
  EXPECT_GT(refused, 10);
  EXPECT_LT(refused, 20);
}

TEST(ChainSim, ScoresEveryPositionOfThePrompt) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    WorldOptions options = Chain({{0, 6}, {6, 12}}, seed);
    options.network.loss = 0.02;
    World world(options);
    LoopRequest request;
    request.score = true;
    request.score_top = 3;
    for (uint64_t i = 0; i < 150; ++i) {
      request.prompt.push_back(static_cast<int32_t>(i * seed % kVocab));
    }
    const auto outcome = world.Submit(request);
    EXPECT_EQ(world.Run(), "");
    EXPECT_EQ(outcome->tokens.size(), request.prompt.size());
  }
}

}  // namespace
}  // namespace catena::sim
