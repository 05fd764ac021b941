#include "runtime/chain/outbox.h"

#include <gtest/gtest.h>

namespace catena {
namespace {

constexpr int64_t kWindow = 8;
constexpr SequenceKey kKey{1, 2};

// An outbox in the round `life_`, of which `available_` positions exist.
class OutboxTest : public ::testing::Test {
 protected:
  int64_t Sendable() const { return outbox_.Sendable(available_); }
  // Sends all that may be sent, as one message.
  void SendAll(Lane lane = Lane::kDecode) { outbox_.Sent(outbox_.cursor() + Sendable(), lane); }
  bool Hear(int64_t length, uint32_t round) {
    return outbox_.OnLength({kKey, {.epoch = life_.epoch, .round = round}, length}, life_,
                            available_);
  }
  bool Hear(int64_t length) { return Hear(length, life_.round); }
  bool Ask(uint64_t number, int64_t position) {
    return outbox_.Rewind({kKey, life_, number, position});
  }
  // The ids from `position` on are others.
  void BeginRound(int64_t position) { outbox_.BeginRound(++life_.round, position); }

  Outbox outbox_{kWindow};
  Life life_{.epoch = 1, .round = 0};
  int64_t available_ = 0;
};

// --- windows ---

TEST_F(OutboxTest, SendsWhatExistsAndNothingTwice) {
  EXPECT_EQ(Sendable(), 0);
  available_ = 3;
  EXPECT_EQ(Sendable(), 3);
  SendAll();
  EXPECT_EQ(outbox_.cursor(), 3);
  EXPECT_EQ(Sendable(), 0);
  available_ = 5;
  EXPECT_EQ(Sendable(), 2);
}

TEST_F(OutboxTest, SendsNoFurtherThanAWindowPastWhatTheNextStageHasComputed) {
  available_ = 100;
  EXPECT_EQ(Sendable(), kWindow);
  SendAll();
  EXPECT_EQ(Sendable(), 0);
  EXPECT_TRUE(Hear(3));
  EXPECT_EQ(outbox_.window_end(), 3 + kWindow);
  EXPECT_EQ(Sendable(), 3);
  available_ = 10;  // the end of what exists comes before the window's
  EXPECT_EQ(Sendable(), 2);
}

// A sequence that was cut back has less than was sent of it.
TEST_F(OutboxTest, ACursorPastWhatExistsSendsNothing) {
  available_ = 5;
  SendAll();
  available_ = 2;
  EXPECT_EQ(Sendable(), 0);
}

// --- what the next stage says ---

TEST_F(OutboxTest, ALengthIsTakenOnlyAsFarAsThereArePositions) {
  available_ = 6;
  SendAll();
  Hear(1'000'000);
  EXPECT_EQ(outbox_.peer_length(), 6);
  Hear(-1'000'000);
  EXPECT_EQ(outbox_.peer_length(), 0);
}

// It was rewound, or is another one than before.
TEST_F(OutboxTest, ALengthMayBeLessThanBefore) {
  available_ = 6;
  SendAll();
  Hear(6);
  EXPECT_TRUE(Hear(2));
  EXPECT_EQ(outbox_.peer_length(), 2);
  EXPECT_EQ(outbox_.cursor(), 6);
}

TEST_F(OutboxTest, LengthsOfOtherEpochsAndOfRoundsToComeAreOfNoInterest) {
  available_ = 6;
  SendAll();
  EXPECT_FALSE(outbox_.OnLength({kKey, {.epoch = 0, .round = 0}, 5}, life_, available_));
  EXPECT_FALSE(outbox_.OnLength({kKey, {.epoch = 2, .round = 0}, 5}, life_, available_));
  EXPECT_FALSE(Hear(5, 1));
  EXPECT_EQ(outbox_.peer_length(), 0);
}

// --- lanes ---

TEST_F(OutboxTest, ADecodeLeavesTheBulkLaneWhenAllThatWentThereWasComputed) {
  available_ = 4;
  EXPECT_EQ(outbox_.LaneFor(false), Lane::kBulk);
  EXPECT_EQ(outbox_.LaneFor(true), Lane::kDecode);  // nothing went there yet
  SendAll(Lane::kBulk);
  EXPECT_EQ(outbox_.LaneFor(true), Lane::kBulk);
  Hear(3);
  EXPECT_EQ(outbox_.LaneFor(true), Lane::kBulk);
  Hear(4);
  EXPECT_EQ(outbox_.LaneFor(true), Lane::kDecode);
  available_ = 5;
  SendAll(Lane::kDecode);
  EXPECT_EQ(outbox_.LaneFor(true), Lane::kDecode);
}

TEST_F(OutboxTest, WhatIsSentAgainMayTakeTheLaneThatItsPositionAllows) {
  available_ = 8;
  SendAll(Lane::kBulk);
  Hear(4);
  ASSERT_TRUE(Ask(1, 4));  // what went behind it on the bulk lane was lost, or will be dropped
  EXPECT_EQ(outbox_.LaneFor(true), Lane::kDecode);
}

// --- questions ---

TEST_F(OutboxTest, EachQuestionRewindsOnce) {
  available_ = 6;
  SendAll();
  Hear(5);
  EXPECT_TRUE(Ask(1, 2));
  EXPECT_EQ(outbox_.cursor(), 2);
  EXPECT_EQ(outbox_.peer_length(), 2);  // it has not computed what it asks for
  EXPECT_EQ(Sendable(), 4);
  SendAll();
  EXPECT_FALSE(Ask(1, 2));  // it came twice
  EXPECT_EQ(outbox_.cursor(), 6);
  EXPECT_TRUE(Ask(3, 4));
  EXPECT_FALSE(Ask(2, 1));  // it was overtaken
  EXPECT_EQ(outbox_.cursor(), 4);
}

TEST_F(OutboxTest, AQuestionDoesNotRaiseWhatTheNextStageHasComputed) {
  available_ = 6;
  SendAll();
  Hear(2);
  EXPECT_TRUE(Ask(1, 5));  // the rows before are queued there
  EXPECT_EQ(outbox_.peer_length(), 2);
  EXPECT_EQ(outbox_.window_end(), 2 + kWindow);
}

// A peer that asks for what does not exist gets nothing, and no more window than it had.
TEST_F(OutboxTest, AQuestionForPositionsThatDoNotExistSendsNothing) {
  available_ = 6;
  EXPECT_TRUE(Ask(1, int64_t{1} << 60));
  EXPECT_EQ(Sendable(), 0);
  EXPECT_EQ(outbox_.window_end(), kWindow);
  EXPECT_TRUE(Ask(2, 0));
  EXPECT_EQ(Sendable(), 6);
}

// --- rounds ---

TEST_F(OutboxTest, ARoundGoesBackToItsBeginningAndTakesEarlierOnesAlongUntilItIsSeen) {
  available_ = 6;
  SendAll();
  Hear(6);
  BeginRound(4);
  EXPECT_EQ(outbox_.cursor(), 4);
  EXPECT_EQ(outbox_.peer_length(), 4);
  EXPECT_EQ(outbox_.round_begin(), 4);
  SendAll();
  BeginRound(5);
  EXPECT_EQ(outbox_.cursor(), 5);
  EXPECT_EQ(outbox_.round_begin(), 4);  // of the round before, as far as is known
}

TEST_F(OutboxTest, ARoundThatBeginsLaterSendsNothingAgain) {
  available_ = 3;
  SendAll();
  BeginRound(5);
  EXPECT_EQ(outbox_.cursor(), 3);
  EXPECT_EQ(outbox_.round_begin(), 5);
}

TEST_F(OutboxTest, RoundBeginIsTheLeastOfTheRoundsThatWereNotAcknowledged) {
  available_ = 20;
  BeginRound(9);
  BeginRound(3);
  BeginRound(7);
  BeginRound(5);
  EXPECT_EQ(outbox_.round_begin(), 3);
  Hear(0, 1);  // the first of them was seen
  EXPECT_EQ(outbox_.round_begin(), 3);
  Hear(0, 2);
  EXPECT_EQ(outbox_.round_begin(), 5);
  Hear(0, 3);
  EXPECT_EQ(outbox_.round_begin(), 5);
}

TEST_F(OutboxTest, ARoundThatWasSeenBindsTheNextNoMore) {
  available_ = 6;
  SendAll();
  BeginRound(2);
  SendAll();
  Hear(3);
  BeginRound(5);
  EXPECT_EQ(outbox_.round_begin(), 5);
}

// It missed the first steps of this round, whatever it says of its length.
TEST_F(OutboxTest, ANextStageInAnEarlierRoundGetsThisOneFromItsBeginning) {
  available_ = 6;
  SendAll();
  Hear(6);
  BeginRound(2);
  BeginRound(4);
  SendAll();
  EXPECT_TRUE(Hear(6, 1));
  EXPECT_EQ(outbox_.cursor(), 4);  // it has seen the round from 2
  EXPECT_EQ(outbox_.peer_length(), 2);
  SendAll();
  EXPECT_TRUE(Hear(6, 0));
  EXPECT_EQ(outbox_.cursor(), 4);  // it has said since that it is further
}

TEST_F(OutboxTest, AnOldWordOfAnEarlierRoundSendsNothingAgain) {
  available_ = 6;
  SendAll();
  BeginRound(2);
  SendAll();
  EXPECT_TRUE(Hear(4));
  EXPECT_FALSE(Hear(6, 0));
  EXPECT_EQ(outbox_.cursor(), 6);
  EXPECT_EQ(outbox_.peer_length(), 4);
}

// They are kept as fewer, which begin no later.
TEST_F(OutboxTest, RoundsThatPileUpStillGoBackToTheLeastOfThem) {
  available_ = 500;
  BeginRound(7);
  for (int64_t i = 0; i < 200; ++i) BeginRound(100 + i);
  EXPECT_EQ(outbox_.round_begin(), 7);
  Hear(7, 100);  // the half of them; that of 7 is one with a later one now
  EXPECT_EQ(outbox_.round_begin(), 7);
  Hear(7);
  BeginRound(400);
  EXPECT_EQ(outbox_.round_begin(), 400);
}

TEST_F(OutboxTest, ARoundTakesBackWhatWentOnTheBulkLane) {
  available_ = 6;
  SendAll(Lane::kBulk);
  BeginRound(0);
  EXPECT_EQ(outbox_.LaneFor(true), Lane::kDecode);
}

}  // namespace
}  // namespace catena
