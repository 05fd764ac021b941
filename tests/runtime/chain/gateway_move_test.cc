// How a gateway takes a sequence to another route in the middle of its text.
#include <gmock/gmock.h>

#include "tests/runtime/chain/gateway_move_rig.h"

namespace catena {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using State = SequenceSummary::State;

TEST_F(GatewayMove, ALostStageIsReplacedAndTheOthersKeepWhatTheyHave) {
  const auto outcome = Run();
  Lose(3);
  EXPECT_EQ(StateOfFirst(), State::kMoving);
  EXPECT_EQ(epoch_, 1u);
  EXPECT_EQ(upstream_[5], 4u);
  OpenAll();
  EXPECT_EQ(StateOfFirst(), State::kRunning);
  EXPECT_THAT(RouteOfFirst(), ElementsAre("host1:1", "host4:1", "host5:1"));
  const auto gos = Gos();
  ASSERT_EQ(gos.size(), 2u) << "a head sends nothing on";
  EXPECT_EQ(gos.at(1), std::pair(kKnown, int64_t{0}));
  EXPECT_EQ(gos.at(4), std::pair(int64_t{0}, kKnown - 1));
  SayToken(5, kPrompt + 2);
  EXPECT_EQ(outcome->tokens, 3);
  EXPECT_EQ(outcome->starts, 1);
}

TEST_F(GatewayMove, TheStageThatWasLeftIsToldToClose) {
  Run();
  Lose(3);
  std::vector<Incarnation> closed;
  for (const auto& [to, close] : Sent<Close>()) closed.push_back(to);
  EXPECT_THAT(closed, ElementsAre(3));
}

TEST_F(GatewayMove, NothingGoesOnUntilAllHaveAnswered) {
  Run();
  silent_ = {4};
  Lose(3);
  OpenAll();
  EXPECT_EQ(StateOfFirst(), State::kMoving);
  EXPECT_THAT(Gos(), IsEmpty());
  silent_ = {};
  Pass(2);  // it is asked again
  EXPECT_EQ(StateOfFirst(), State::kRunning);
}

TEST_F(GatewayMove, AnotherFailureDuringAMoveBeginsTheNextOne) {
  Run();
  Lose(3);
  const SequenceKey key = LastKey();
  Lose(1);
  EXPECT_EQ(epoch_, 2u);
  Asked();
  for (const Incarnation i : {2, 4, 5}) Receive(i, Opened{key, {.epoch = 1, .round = 0}, 0});
  EXPECT_EQ(StateOfFirst(), State::kMoving) << "answers of an older epoch are none";
  for (const Incarnation i : {2, 4, 5}) Receive(i, Opened{key, {.epoch = 2, .round = 0}, 0});
  EXPECT_EQ(StateOfFirst(), State::kRunning);
}

TEST_F(GatewayMove, AnAnswerThatComesWhenAStageIsLostAgainBeginsNothing) {
  Keep({1, 3, 4, 5});
  Run();
  Lose(3);
  Asked();
  const SequenceKey key = LastKey();
  for (const Incarnation i : {4, 5}) Receive(i, Opened{key, {.epoch = 1, .round = 0}, 0});
  Receive(1, Opened{key, {.epoch = 1, .round = 0}, kKnown});
  EXPECT_EQ(StateOfFirst(), State::kRunning);
  Lose(1);
  EXPECT_EQ(StateOfFirst(), State::kStranded);
  Receive(4, Opened{key, {.epoch = 1, .round = 0}, 0, true});
  EXPECT_EQ(StateOfFirst(), State::kStranded);
}

TEST_F(GatewayMove, AGoThatWasLostIsSaidAgain) {
  Run();
  Lose(3);
  OpenAll();
  Gos();
  Receive(4, Opened{LastKey(), {.epoch = 1, .round = 0}, 0, true});
  EXPECT_EQ(Gos().at(4), std::pair(int64_t{0}, kKnown - 1));
}

TEST_F(GatewayMove, WhatAStageHasOfARoundThatWasMissedDoesNotCount) {
  const auto outcome = Run(4);
  Receive(5, Tokens{{{LastKey(), {}, kPrompt + 2, {.id = 2, .logprob = 0, .top = {}}}}});
  EXPECT_EQ(outcome->tokens, 3);  // ones were guessed, and a two came: a round began there
  computed_ = {{1, kKnown + 1}, {3, 0}, {5, kKnown + 4}};
  round_ = {{1, 1}};
  Lose(3);
  round_[4] = 1;
  OpenAll();
  const auto gos = Gos();
  EXPECT_EQ(gos.at(1).first, kKnown + 1);
  EXPECT_EQ(gos.at(4).second, kKnown) << "what the head has behind that are wrong guesses";
}

TEST_F(GatewayMove, AStageThatHasLostItIsAskedAgain) {
  Run();
  Receive(3, Unknown{LastKey(), {}});
  Tick();
  EXPECT_THAT(Asked(), ElementsAre(1, 3, 5));
  EXPECT_EQ(epoch_, 1u);
  OpenAll();
  Receive(3, Unknown{LastKey(), {}});  // of the older life
  Tick();
  EXPECT_EQ(epoch_, 1u);
}

TEST_F(GatewayMove, ATokenThatComesMeanwhileIsTaken) {
  const auto outcome = Run();
  Lose(3);
  Receive(5, Tokens{{{LastKey(), {}, kPrompt + 2, {.id = 1, .logprob = 0, .top = {}}}}});
  EXPECT_EQ(outcome->tokens, 3);
  OpenAll();
  EXPECT_EQ(Gos().at(4).second, kPrompt + 1);
}

TEST_F(GatewayMove, WithoutARouteItWaitsAndGoesOnWhenThereIsOne) {
  Keep({1, 3, 5});
  const auto outcome = Run();
  Lose(3);
  EXPECT_EQ(StateOfFirst(), State::kStranded);
  Pass(20);
  EXPECT_FALSE(outcome->ended) << outcome->status;
  replicas_[1].replica.incarnation = 103;  // it was started again
  Describe();
  EXPECT_EQ(StateOfFirst(), State::kMoving);
  OpenAll();
  EXPECT_EQ(StateOfFirst(), State::kRunning);
}

TEST_F(GatewayMove, WithoutARouteForLongItEnds) {
  Keep({1, 3, 5});
  const auto outcome = Run();
  Lose(3);
  replicas_.erase(replicas_.begin() + 1);
  Pass(31);
  ASSERT_TRUE(outcome->ended);
  EXPECT_TRUE(absl::IsUnavailable(outcome->status));
  EXPECT_THAT(Text(outcome->status), HasSubstr("no shard that can be reached holds blocks [2, 4)"));
}

TEST_F(GatewayMove, AStageThatDrainsIsLeft) {
  const auto outcome = Run();
  Receive(3, Condition{.broken = {}, .draining = true});
  EXPECT_THAT(Asked(), ElementsAre(1, 4, 5));
  EXPECT_EQ(StateOfFirst(), State::kMoving);
  EXPECT_FALSE(outcome->ended);
}

TEST_F(GatewayMove, WhereThereIsNoOtherItStaysWithAStageThatDrains) {
  Keep({1, 3, 5});
  Run();
  Receive(3, Condition{.broken = {}, .draining = true});
  EXPECT_EQ(StateOfFirst(), State::kRunning);
  Lose(1);
  replicas_[0].replica.incarnation = 101;
  replicas_[1].draining = true;
  Describe();
  EXPECT_THAT(Asked(), ElementsAre(101, 3, 5)) << "it has what the others would have to make again";
}

TEST_F(GatewayMove, AnEdgeThatHealsAtOnceMovesNothing) {
  Run();
  Receive(1, Condition{{{3, absl::UnavailableError("reset")}}, false});
  Receive(1, Condition{});
  Pass(1);
  EXPECT_EQ(epoch_, 0u);
}

TEST_F(GatewayMove, AnEdgeThatStaysBrokenIsLeft) {
  Run();
  Receive(1, Condition{{{3, absl::UnavailableError("reset")}}, false});
  replica(1).broken_edges = {{3, absl::UnavailableError("reset")}};
  Pass(1);
  EXPECT_THAT(RouteOfFirst(), ElementsAre("host1:1", "host4:1", "host5:1"));
}

// Two that hold half a route each must not wait for one another.
TEST_F(GatewayMove, WithoutMemoryOnItsNewRouteItGivesUpTheOldOneAndWaitsForItsTurn) {
  const auto outcome = Run();
  Lose(3);
  const SequenceKey key = LastKey();
  Sent<Close>();
  Receive(4, Refused{key, {.epoch = 1, .round = 0}, absl::ResourceExhaustedError("no pages")});
  EXPECT_EQ(StateOfFirst(), State::kWaiting);
  EXPECT_EQ(Sent<Close>().size(), 3u);
  Asked();
  computed_ = {};
  Pass(1);
  EXPECT_EQ(StateOfFirst(), State::kRunning);
  EXPECT_EQ(outcome->starts, 1);
  EXPECT_EQ(asked_head_.first_token, kPrompt + 2) << "what it had stays";
}

TEST_F(GatewayMove, APauseBeginsBehindWhatWasSampledBefore) {
  const auto outcome = Run();
  now_ += milliseconds(30);
  Lose(3);
  now_ += milliseconds(2);
  SayToken(5, kPrompt + 2);
  now_ += milliseconds(50);
  OpenAll();
  for (int i = 1; i < 18; ++i) SayToken(5, kPrompt + 2 + i);
  ASSERT_TRUE(outcome->ended);
  EXPECT_EQ(outcome->stats.moves.count, 1);
  EXPECT_EQ(outcome->stats.moves.replayed, kKnown + 1);
  EXPECT_EQ(outcome->stats.moves.noticed, milliseconds(0));
  EXPECT_EQ(outcome->stats.moves.paused, milliseconds(50));
}

TEST_F(GatewayMove, ItsStatsSayWhatItCost) {
  const auto outcome = Run();
  now_ += milliseconds(30);
  Lose(3);
  now_ += milliseconds(50);
  OpenAll();
  for (int i = 0; i < 18; ++i) SayToken(5, kPrompt + 2 + i);
  ASSERT_TRUE(outcome->ended);
  EXPECT_EQ(outcome->stats.moves.count, 1);
  EXPECT_EQ(outcome->stats.moves.replayed, kKnown);
  EXPECT_EQ(outcome->stats.moves.noticed, milliseconds(30));
  EXPECT_EQ(outcome->stats.moves.paused, milliseconds(80));
  ASSERT_EQ(outcome->moves.size(), 1u);
  EXPECT_THAT(outcome->moves[0].why, testing::HasSubstr("host3:1"));
  EXPECT_EQ(outcome->moves[0].moves.replayed, kKnown);
}

TEST_F(GatewayMove, ANewReplicaTakesOverWhatRuns) {
  Keep({1, 3, 5});
  for (int i = 0; i < 6; ++i) SubmitAndOpen();
  std::vector<ReplicaInfo> more = SixReplicas();
  replicas_.push_back(more[1]);  // of the blocks of the first
  for (int i = 0; i < 5; ++i) {
    Describe();
    OpenAll();
  }
  int64_t there = 0;
  for (const SequenceSummary& s : core_.Sequences(10, now_))
    there += s.route[0].address == "host2:1";
  EXPECT_EQ(there, 3);
}

// Each that moves stands still for a moment, and the longer the more do at a time.
TEST_F(GatewayMove, FewTakeToANewReplicaAtATime) {
  Keep({1, 3, 5});
  for (int i = 0; i < 16; ++i) SubmitAndOpen();
  replicas_.push_back(SixReplicas()[1]);
  Describe();
  const auto all = core_.Sequences(20, now_);
  EXPECT_EQ(std::ranges::count(all, State::kMoving, &SequenceSummary::state), 2);
}

class GatewayMovePlace : public GatewayMove {
 protected:
  GatewayMovePlace() : GatewayMove({.self = kSelf, .growth_positions = 2}) {}
};

TEST_F(GatewayMovePlace, WhatMadePlaceForAnotherGoesOnBehindWhatItHas) {
  const auto outcome = Run();
  EXPECT_EQ(asked_stage_.reserve, kPrompt + 2);
  const int64_t came = asked_stage_.came;
  EXPECT_GT(came, 0);
  Receive(3, Refused{LastKey(), {}, absl::ResourceExhaustedError("others go first")});
  EXPECT_EQ(Sent<Close>().size(), 3u);
  EXPECT_EQ(StateOfFirst(), State::kWaiting);
  computed_ = {};
  Pass(1);
  EXPECT_EQ(StateOfFirst(), State::kRunning);
  EXPECT_EQ(asked_stage_.reserve, kKnown + 4) << "it wants more, so that it need not go again";
  EXPECT_EQ(asked_stage_.came, came) << "its place among the others is what it was";
  SayToken(asked_head_.upstream == 4 ? 6 : 5, kKnown);
  EXPECT_EQ(outcome->starts, 1);
  ASSERT_EQ(outcome->moves.size(), 1u);
  EXPECT_EQ(outcome->moves[0].why, "others go first");
}

// It has run nowhere since it wanted so much.
TEST_F(GatewayMovePlace, WhatFindsNoPlaceAsItMovesWantsNoMoreThanBefore) {
  Run();
  Lose(3);
  EXPECT_EQ(StateOfFirst(), State::kMoving);
  Receive(4, Refused{LastKey(), {.epoch = epoch_, .round = 0}, absl::ResourceExhaustedError("")});
  EXPECT_EQ(StateOfFirst(), State::kWaiting);
  computed_ = {};
  Pass(1);
  EXPECT_EQ(StateOfFirst(), State::kRunning);
  EXPECT_EQ(asked_stage_.reserve, kKnown + 2);
}

TEST_F(GatewayMove, WhatWaitsForMemoryWaitsAsLongAsItTakes) {
  Keep({1, 3, 4, 5});
  const auto outcome = Run();
  Lose(3);
  for (int i = 0; i < 80; ++i) {  // 40 s
    for (const auto& [to, ask] : std::exchange(asked_, {})) {
      if (to != 4) continue;
      Receive(
          4,
          Refused{ask.key, {.epoch = ask.epoch, .round = 0}, absl::ResourceExhaustedError("full")});
    }
    now_ += milliseconds(500);
    Tick();
  }
  EXPECT_FALSE(outcome->ended) << outcome->status;
}

TEST_F(GatewayMove, AReplicaThatCannotTakeWhatOthersTookIsNoEnd) {
  const auto outcome = Run();
  Lose(3);
  Receive(4, Refused{LastKey(),
                     {.epoch = 1, .round = 0},
                     absl::InvalidArgumentError("it has too little memory")});
  EXPECT_FALSE(outcome->ended) << outcome->status;
}

TEST_F(GatewayMove, WhoeverMovesForEverWithoutATokenEnds) {
  const auto outcome = Run();
  for (int i = 0; i < 200 && !outcome->ended; ++i) {
    Receive(StateOfFirst() == State::kRunning ? 1 : 5,
            Unknown{LastKey(), {.epoch = epoch_, .round = 0}});
    Pass(3);
  }
  EXPECT_TRUE(outcome->ended);
}

TEST_F(GatewayMove, NobodyIsToldToGoWhoIsNotMoving) {
  Run();
  for (const Incarnation i : {1, 3, 5}) Receive(i, Opened{LastKey(), {}, 0, true});
  EXPECT_THAT(Gos(), IsEmpty());
  Lose(3);
  OpenAll();
  Gos();
  Receive(5, Opened{LastKey(), {.epoch = 1, .round = 0}, 0, true});
  EXPECT_THAT(Gos(), IsEmpty()) << "a head sends nothing on";
}

TEST_F(GatewayMove, AProbeThatFindsNoMemoryIsNotWaitedFor) {
  const auto outcome = Submit(3);
  Receive(3, Refused{LastKey(), {}, absl::ResourceExhaustedError("full")});
  EXPECT_TRUE(absl::IsResourceExhausted(outcome->status)) << outcome->status;
}

TEST_F(GatewayMove, ATextThatFillsTheContextIsNotGoneOnWith) {
  auto outcome = std::make_shared<Outcome>();
  LoopRequest request;
  request.prompt.assign(static_cast<size_t>(core_.router().model().context_length) - 1, 1);
  request.output = {1, 1};
  request.params.max_tokens = 20;
  core_.Submit(next_ticket_++, request, outcome, now_);
  Settle();
  EXPECT_TRUE(outcome->ended);
  EXPECT_TRUE(outcome->status.ok()) << outcome->status;
}

// Which of the two is broken is not known, nor what the others made of its rows.
TEST_F(GatewayMove, AfterADivergenceAllIsComputedAnewElsewhere) {
  const auto outcome = Run();
  Receive(
      3, Refused{
             LastKey(), {}, WithReason(absl::DataLossError("other bits"), ErrorReason::kDiverged)});
  EXPECT_EQ(Sent<Close>().size(), 3u);
  computed_ = {};
  Pass(1);
  EXPECT_THAT(RouteOfFirst(), ElementsAre("host2:1", "host4:1", "host5:1"));
  EXPECT_EQ(Gos().at(2), std::pair(int64_t{0}, int64_t{0}));
  EXPECT_FALSE(outcome->ended) << outcome->status;
}

// What it was to show is shown.
TEST_F(GatewayMove, AProbeGoesNowhereElse) {
  const auto outcome = Submit(3);
  OpenAll();
  Lose(3);
  EXPECT_TRUE(absl::IsUnavailable(outcome->status)) << outcome->status;
}

TEST_F(GatewayMove, AProbeEndsWithTheDivergenceThatItShows) {
  const auto outcome = Submit(3);
  OpenAll();
  Receive(
      3, Refused{
             LastKey(), {}, WithReason(absl::DataLossError("other bits"), ErrorReason::kDiverged)});
  EXPECT_TRUE(absl::IsDataLoss(outcome->status)) << outcome->status;
}

}  // namespace
}  // namespace catena
