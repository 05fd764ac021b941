// What a gateway does about a sequence that may be what makes stages fail.
#include <gmock/gmock.h>

#include "tests/runtime/chain/gateway_move_rig.h"

namespace catena {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using State = SequenceSummary::State;

using GatewayTrial = GatewayMove;

TEST_F(GatewayTrial, WhatMakesEachStageFailEnds) {
  const auto outcome = Run();
  Incarnation shards[] = {3, 4}, newest = 6;
  for (int i = 0; i < 10 && !outcome->ended; ++i) {
    for (Incarnation& shard : shards) {
      Lose(shard);
      StartAnew(&shard, ++newest);
      Pass(3);
    }
  }
  EXPECT_TRUE(absl::IsInternal(outcome->status)) << outcome->status;
}

// Two gateways' suspects must not hold a stage each that the other one waits for.
TEST_F(GatewayTrial, ASuspectAsksStagesInTurnAndLeavesAllWhereOneTriesAnother) {
  const auto outcome = Run();
  Incarnation shards[] = {3, 4}, newest = 6;
  for (int i = 0; i < 2; ++i) {
    for (Incarnation& shard : shards) {
      EXPECT_EQ(asked_stage_.trial_end, 0);
      Asked();
      Lose(shard);
      StartAnew(&shard, ++newest);
      Pass(3);
    }
  }
  EXPECT_EQ(asked_stage_.trial_end, kKnown);
  Asked();
  Lose(5);
  now_ += seconds(2);
  Tick();
  EXPECT_THAT(Asked(), ElementsAre(6)) << "the head, which has no pages to lose";
  Sent<Close>();
  for (int i = 0; i < 20; ++i) {
    TryAnother(6);
    EXPECT_EQ(StateOfFirst(), State::kStranded);
    EXPECT_EQ(Sent<Close>().size(), 3u);
    EXPECT_TRUE(Asked().empty()) << "after a pause";
    now_ += milliseconds(100);
    Tick();
    EXPECT_THAT(Asked(), ElementsAre(6));
  }
  EXPECT_FALSE(outcome->ended) << "it waited for its turn, and nothing failed: " << outcome->status;
  computed_ = {};
  Receive(6, Opened{LastKey(), {.epoch = epoch_, .round = 0}, 0});
  EXPECT_THAT(Asked(), ElementsAre(1)) << "then the shards in layer order";
  Pass(2);
  EXPECT_EQ(StateOfFirst(), State::kRunning);
  SayToken(6, kKnown);
  Lose(1);
  EXPECT_EQ(asked_stage_.trial_end, 0) << "a token cleared it";
}

// What it holds is what others that are suspected wait for.
TEST_F(GatewayTrial, ASuspectWithoutARouteLeavesTheStagesThatItHas) {
  Run();
  FailInARow(4);
  Lose(shards_[0]);
  Sent<Close>();
  now_ += milliseconds(300);
  Tick();
  EXPECT_EQ(StateOfFirst(), State::kStranded);
  EXPECT_EQ(Sent<Close>().size(), 3u);
  StartAnew(&shards_[1], 20);
  computed_ = {};
  Pass(3);
  EXPECT_EQ(StateOfFirst(), State::kRunning);
}

// A token that was sampled before may come while the stages are asked.
TEST_F(GatewayTrial, WhatATokenClearsAsksAgainAtOnceWhereItWasToWait) {
  Run();
  FailInARow(4);
  EXPECT_EQ(asked_head_.trial_end, kKnown);
  EXPECT_THAT(Asked(), ElementsAre(5));
  SayToken(5, kKnown);
  TryAnother(5);
  EXPECT_EQ(StateOfFirst(), State::kMoving);
  EXPECT_THAT(Asked(), ElementsAre(5));
  EXPECT_EQ(asked_head_.trial_end, 0);
}

TEST_F(GatewayTrial, AProcessThatIsThereAfterAllWasNotKilledByIt) {
  const auto outcome = Run();
  for (int i = 0; i < 10; ++i) {
    for (const Incarnation shard : {3, 4}) {
      Lose(shard);
      core_.Connected(shard, now_);
      Pass(3);
    }
  }
  EXPECT_FALSE(outcome->ended) << outcome->status;
}

TEST_F(GatewayTrial, ATokenClearsIt) {
  const auto outcome = Run();
  for (int i = 0; i < 12; ++i) {
    for (const Incarnation shard : {3, 4}) {
      Lose(shard);
      core_.Connected(shard, now_);
    }
    Pass(3);
    SayToken(5, kPrompt + 2 + i);
  }
  EXPECT_FALSE(outcome->ended) << outcome->status;
}

// One that kills and is not suspected yet is not to end those that are.
TEST_F(GatewayTrial, ASuspectIsNotHeldToAccountForWhatAnotherDoesBesideIt) {
  const auto outcome = Run();
  FailInARow(4);
  Pass(3);
  for (int others = 0; others < 2; ++others) {
    Submit();
    OpenAll();
    FailInARow(4);
    Pass(3);
  }
  EXPECT_FALSE(outcome->ended) << outcome->status;
  FailInARow(4);  // they are suspected too
  EXPECT_TRUE(outcome->ended);
}

// However many others come, and fail with it.
TEST_F(GatewayTrial, WhatKillsEndsThoughOthersFailBesideItAllTheTime) {
  const auto outcome = Run();
  for (int i = 0; i < 20 && !outcome->ended; ++i) {
    Submit();
    OpenAll();
    FailInARow(1);
    Pass(3);
  }
  EXPECT_TRUE(outcome->ended);
  EXPECT_TRUE(absl::IsInternal(outcome->status)) << outcome->status;
}

}  // namespace
}  // namespace catena
