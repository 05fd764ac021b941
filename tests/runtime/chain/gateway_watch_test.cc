// What a gateway does about sequences that stand still, and about edges that break.
#include <gmock/gmock.h>

#include "tests/runtime/chain/gateway_rig.h"

namespace catena {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class GatewayWatch : public GatewayRig {};

// --- standing still ---

TEST_F(GatewayWatch, AStageThatMakesNoProgressIsLeft) {
  const auto outcome = SubmitAndOpen();
  Say(1, kPrompt);
  computed_ = {{1, kPrompt}, {3, 10}, {5, 10}};
  Pass(9);
  EXPECT_FALSE(outcome->ended);
  Pass(2);
  EXPECT_FALSE(outcome->ended) << outcome->status;
  EXPECT_THAT(RouteOfFirst(), ElementsAre("host1:1", "host4:1", "host5:1"));
}

TEST_F(GatewayWatch, AHeadThatGivesNoTokenIsLeft) {
  const auto outcome = SubmitAndOpen();
  Say(1, kPrompt);
  computed_ = {{1, kPrompt}, {3, kPrompt}, {5, kPrompt}};
  Pass(11);
  EXPECT_THAT(RouteOfFirst(), ElementsAre("host1:1", "host3:1", "host6:1")) << outcome->status;
}

TEST_F(GatewayWatch, AStageThatAnswersNothingIsLeft) {
  const auto outcome = SubmitAndOpen();
  Say(1, kPrompt);
  computed_ = {{1, kPrompt}};
  silent_ = {3};
  Pass(11);
  EXPECT_THAT(RouteOfFirst(), ElementsAre("host1:1", "host4:1", "host5:1")) << outcome->status;
}

TEST_F(GatewayWatch, AStageWhoseWindowIsClosedIsNotToBlame) {
  const auto outcome = SubmitAndOpen();
  Say(1, 20);
  computed_ = {{1, 20}, {3, 0}};  // the first one waits for the second
  Pass(11);
  EXPECT_THAT(RouteOfFirst(), ElementsAre("host1:1", "host4:1", "host5:1")) << outcome->status;
}

// What those behind it have is of a round that is no more, and more than what there is.
TEST_F(GatewayWatch, AStageThatDoesNotHearOfARoundIsLeft) {
  const auto outcome = std::make_shared<Outcome>();
  LoopRequest request;
  request.prompt.assign(kPrompt, 1);
  request.params.max_tokens = 9;
  request.params.speculate = 4;
  core_.Submit(next_ticket_++, request, outcome, now_);
  Settle();
  OpenAll();
  SayToken(5, kPrompt);  // behind which more of the same is guessed
  Receive(5, Tokens{{{last_key_, {}, kPrompt + 1, {.id = 2, .logprob = 0, .top = {}}}}});
  EXPECT_EQ(outcome->tokens, 2);
  computed_ = {{1, kPrompt + 2}, {3, kPrompt + 5}, {5, kPrompt + 1}};
  round_ = {{1, 1}};
  Pass(11);
  EXPECT_THAT(RouteOfFirst(), ElementsAre("host1:1", "host4:1", "host5:1")) << outcome->status;
}

TEST_F(GatewayWatch, SlowIsNotDead) {
  const auto outcome = SubmitAndOpen();
  computed_ = {{1, 0}};
  Pass(120, {1});  // it computes, whatever it is, and says nothing of this sequence
  EXPECT_FALSE(outcome->ended) << outcome->status;
  const auto listed = core_.Sequences(10, now_);
  ASSERT_EQ(listed.size(), 1u);
  EXPECT_GE(listed[0].still, seconds(100)) << "it is noticed all the same";
  Pass(11);  // it stops
  EXPECT_EQ(RouteOfFirst()[0], "host2:1");
}

TEST_F(GatewayWatch, ALongPrefillInALaterStageIsProgress) {
  const auto outcome = SubmitAndOpen();
  Say(1, kPrompt);
  computed_ = {{1, kPrompt}, {3, 0}};
  for (int i = 0; i < 10; ++i) {
    Pass(6);
    ++computed_[3];  // only its answers say so
  }
  EXPECT_FALSE(outcome->ended) << outcome->status;
}

TEST_F(GatewayWatch, ItsFirstStageAndItsTokensShowThatASequenceMoves) {
  const auto outcome = SubmitAndOpen();
  computed_ = {{1, 0}};
  for (int i = 1; i <= 4; ++i) {
    Pass(8);
    Say(1, i * 10);
  }
  for (int i = 0; i < 3; ++i) {
    Pass(8);
    SayToken(5, kPrompt + i);
  }
  EXPECT_FALSE(outcome->ended) << outcome->status;
  EXPECT_EQ(outcome->tokens, 3);
}

TEST_F(GatewayWatch, AGatewayThatWasStoppedHasSeenNobodyStandStill) {
  const auto outcome = SubmitAndOpen();
  Pass(2);
  now_ += std::chrono::minutes(10);
  core_.Tick(now_);
  Settle();
  EXPECT_FALSE(outcome->ended) << outcome->status;
}

TEST_F(GatewayWatch, AStageThatDoesNotOpenIsPassedBy) {
  silent_ = {1};
  const auto outcome = SubmitAndOpen();
  EXPECT_EQ(outcome->starts, 0);
  Pass(12);
  EXPECT_EQ(outcome->starts, 1) << outcome->status;
  EXPECT_FALSE(outcome->ended);
}

TEST_F(GatewayWatch, AStageThatNeverOpensEndsWhatHasNoOtherWay) {
  Keep({1, 3, 5});
  silent_ = {1};
  const auto outcome = SubmitAndOpen();
  Pass(100);
  ASSERT_TRUE(outcome->ended);
  EXPECT_TRUE(absl::IsUnavailable(outcome->status));
  EXPECT_THAT(Text(outcome->status), HasSubstr("host1:1"));
}

TEST_F(GatewayWatch, WhatStoodStillAtAStageIsFollowedElsewhere) {
  SubmitAndOpen();
  computed_ = {{1, 0}};
  Pass(11);
  EXPECT_THAT(Asked(), IsEmpty());
  Submit();
  EXPECT_THAT(Asked(), ElementsAre(2, 3, 5));
}

// It is then to go on as if it had not.
TEST_F(GatewayWatch, AHeadThatHasLostASequenceIsToldWhatItHadSampled) {
  SubmitAndOpen();
  EXPECT_THAT(asked_head_.ids, IsEmpty());  // they come with the steps
  SayToken(5, kPrompt);
  SayToken(5, kPrompt + 1);
  Receive(5, Unknown{LastKey(), {}});
  Tick();
  EXPECT_EQ(asked_head_.first_token, kPrompt + 2);
  // The last id comes with the row that the next token is sampled from.
  EXPECT_THAT(asked_head_.ids, testing::SizeIs(kPrompt + 1));
}

TEST_F(GatewayWatch, AHeadThatHasLostScoresIsToldWhichHaveCome) {
  const auto outcome = std::make_shared<Outcome>();
  LoopRequest request;
  request.prompt.assign(kPrompt, 1);
  request.score = true;
  core_.Submit(next_ticket_++, request, outcome, now_);
  Settle();
  OpenAll();
  for (int64_t p = 1; p <= 3; ++p) SayToken(5, p);
  EXPECT_EQ(outcome->tokens, 3);
  Receive(5, Unknown{LastKey(), {}});
  Tick();
  EXPECT_EQ(asked_head_.first_token, 4);
  EXPECT_THAT(asked_head_.ids, testing::SizeIs(3));
}

TEST_F(GatewayWatch, AnAbsentReplicaIsLeftByTheTimeItWasWellForTheLastTime) {
  const auto outcome = SubmitAndOpen();
  std::vector<ReplicaInfo> others(replicas_.begin() + 1, replicas_.end());
  now_ += seconds(5);
  const AbsentReplica absent{1, now_ - seconds(6), "its work stands still"};
  core_.SetReplicas(others, now_, {absent});
  Settle();
  EXPECT_EQ(RouteOfFirst()[0], "host1:1");
  now_ += seconds(4);
  core_.SetReplicas(others, now_, {absent});
  Settle();
  EXPECT_EQ(RouteOfFirst()[0], "host2:1");
  EXPECT_FALSE(outcome->ended) << outcome->status;
}

// --- edges ---

TEST_F(GatewayWatch, OpensNameWhoSendsTheSteps) {
  Submit();
  EXPECT_EQ(upstream_[1], kSelf);
  EXPECT_EQ(upstream_[3], 1u);
  EXPECT_EQ(upstream_[5], 3u);
}

TEST_F(GatewayWatch, ABrokenEdgeIsPassedByAsSoonAsItIsSaid) {
  Receive(1, Condition{{{3, absl::UnavailableError("no way")}}, false});
  Submit();
  EXPECT_THAT(Asked(), ElementsAre(1, 4, 5));
  Receive(1, Condition{});
  Submit();
  EXPECT_THAT(Asked()[1], 3u);
}

TEST_F(GatewayWatch, WhatIsBeingOpenedOverABrokenEdgeGoesElsewhere) {
  const auto outcome = Submit();
  EXPECT_THAT(Asked(), ElementsAre(1, 3, 5));
  Receive(1, Condition{{{3, absl::UnavailableError("no way")}}, false});
  Pass(1);
  EXPECT_EQ(outcome->starts, 1) << outcome->status;
  EXPECT_FALSE(outcome->ended);
}

TEST_F(GatewayWatch, WithoutARouteThatHasNoBrokenEdgeRequestsEndAndNameIt) {
  Keep({1, 3, 5});
  replica(1).broken_edges = {{3, absl::UnavailableError("no way")}};
  Describe();
  const auto outcome = Submit();
  EXPECT_FALSE(outcome->ended) << "it may heal";
  Pass(31);
  ASSERT_TRUE(outcome->ended);
  EXPECT_TRUE(absl::IsUnavailable(outcome->status));
  EXPECT_THAT(Text(outcome->status), AllOf(HasSubstr("host1:1 cannot reach"), HasSubstr("no way")));
}

TEST_F(GatewayWatch, AStageThatCannotReachTheNextOneLosesIt) {
  const auto outcome = SubmitAndOpen();
  Receive(1, Refused{LastKey(), {}, absl::UnavailableError("its link broke")});
  Tick();
  EXPECT_FALSE(outcome->ended) << outcome->status;
  EXPECT_THAT(Asked(), ElementsAre(1, 4, 5)) << "the edge has failed, its ends have not";
  EXPECT_EQ(outcome->starts, 1);
}

// In a rolling update the next process at the address is wanted at once.
TEST_F(GatewayWatch, AStageThatDrainsIsPassedByAndNothingIsHeldAgainstItsAddress) {
  Submit();
  EXPECT_THAT(Asked(), ElementsAre(1, 3, 5));
  Receive(1, Refused{LastKey(), {}, absl::UnavailableError("it is draining"), true});
  now_ += milliseconds(200);
  core_.Tick(now_);
  Settle();
  EXPECT_THAT(Asked(), ElementsAre(2, 3, 5));
  replica(1).replica.incarnation = 100;
  Describe();
  Submit();
  EXPECT_THAT(Asked(), ElementsAre(100, 3, 5));
}

TEST_F(GatewayWatch, AStageThatStopsIsHeldToNothingByWhatItEnds) {
  SubmitAndOpen();
  Receive(1, Refused{LastKey(), {}, absl::UnavailableError("it stops"), true});
  Tick();
  EXPECT_THAT(Asked(), ElementsAre(2, 3, 5));
  replica(4).load.sequences = replica(6).load.sequences = 5;
  Describe();  // as if it had thought better of it
  Submit();
  EXPECT_THAT(Asked(), ElementsAre(1, 3, 5));
}

TEST_F(GatewayWatch, AStageThatFailsWithTheLeastLoadDoesNotGetAllThatComes) {
  for (const Incarnation i : {2, 3, 4, 5, 6}) replica(i).load.sequences = 30;
  Describe();
  for (int i = 0; i < 5; ++i) {
    Submit();
    const std::vector<Incarnation> asked = Asked();
    EXPECT_EQ(asked[0], i == 0 ? 1u : 2u);
    if (asked[0] != 1) continue;
    Receive(1, Refused{LastKey(), {}, absl::InternalError("not a number")});
    now_ += milliseconds(200);
    Tick();
    EXPECT_EQ(Asked()[0], 2u) << "it is tried elsewhere";
  }
}

TEST_F(GatewayWatch, AReplicaWeDoNotReachIsCalledAgainUntilItIsReached) {
  connected_.clear();
  core_.Disconnected(1, absl::UnavailableError("broke"), now_);
  Describe();
  EXPECT_THAT(connected_, ElementsAre(1));
  Submit();
  EXPECT_THAT(Asked()[0], 2u);
  core_.Connected(1, now_);
  connected_.clear();
  Describe();
  EXPECT_THAT(connected_, IsEmpty());
  Submit();
  EXPECT_THAT(Asked()[0], 1u);
}

TEST_F(GatewayWatch, AProbeGoesThroughTheReplicaThatItIsFor) {
  Submit(4);
  EXPECT_THAT(Asked(), ElementsAre(1, 4, 5));
  Submit(6);
  EXPECT_THAT(Asked().back(), 6u);
}

TEST_F(GatewayWatch, TokensLeaveATrailOnTheReplicasOfTheirRoute) {
  SubmitAndOpen();
  SayToken(5, kPrompt);
  EXPECT_EQ(core_.trail().tokens(), 1);
  for (const TokenTrail::Entry& e : core_.trail().entries()) {
    const bool on_route = e.replica == 1 || e.replica == 3 || e.replica == 5;
    EXPECT_EQ(e.at, on_route ? now_ : Instant()) << e.replica;
  }
  Keep({1, 4, 6});
  ASSERT_EQ(core_.trail().entries().size(), 3u);
  EXPECT_EQ(core_.trail().entries()[0].at, now_);
}

// --- what it tells ---

TEST_F(GatewayWatch, AListOfAllSaysWhereEachIs) {
  SubmitAndOpen();
  SayToken(5, kPrompt);
  Pass(2);
  silent_ = {1, 2, 3, 4, 5, 6};
  Submit();
  const auto all = core_.Sequences(10, now_);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].state, SequenceSummary::State::kRunning);
  EXPECT_EQ(all[0].prompt_tokens, kPrompt);
  EXPECT_EQ(all[0].output_tokens, 1);
  EXPECT_EQ(all[0].age, seconds(2));
  EXPECT_EQ(all[0].still, seconds(2));
  ASSERT_EQ(all[0].route.size(), 3u);
  EXPECT_EQ(all[0].route[2].address, "host5:1");
  EXPECT_EQ(all[1].state, SequenceSummary::State::kOpening);
  EXPECT_EQ(core_.Sequences(1, now_).size(), 1u);
}

}  // namespace
}  // namespace catena
