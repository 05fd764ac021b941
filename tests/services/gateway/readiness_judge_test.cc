#include "services/gateway/readiness_judge.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace catena {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A cluster of replicas 1 and 2, looked at ten times a second. What is sent through it comes back
// at once, or never, or fails.
class ReadinessJudgeTest : public ::testing::Test {
 protected:
  enum class Chain { kWorks, kHangs, kFails };

  void Look() {
    now_ += milliseconds(100);
    const std::vector<ReadinessJudge::Probe> probes =
        judge_.Look({.now = now_,
                     .complete = complete_,
                     .replicas = {{1, token_at_[1]}, {2, token_at_[2]}},
                     .worked_at = working_ ? now_ : worked_at_});
    for (const ReadinessJudge::Probe& p : probes) {
      sent_.push_back(p);
      if (chain_ == Chain::kWorks) {
        TokenBy(p.through.value_or(1));
        judge_.Ended(p.number, absl::OkStatus(), now_);
      } else if (chain_ == Chain::kFails) {
        judge_.Ended(p.number, failure_, now_);
      }
    }
  }
  void LookFor(seconds time) {
    for (const Instant end = now_ + time; now_ < end;) Look();
  }
  void TokenBy(Incarnation replica) { token_at_[replica] = now_; }
  bool ready() const { return judge_.status().ok(); }
  std::string problem() const { return std::string(Message(judge_.status())); }
  size_t SentThroughAny() const {
    return static_cast<size_t>(
        std::count_if(sent_.begin(), sent_.end(), [](auto& p) { return !p.through; }));
  }
  size_t SentThrough(Incarnation r) const {
    return static_cast<size_t>(
        std::count_if(sent_.begin(), sent_.end(), [r](auto& p) { return p.through == r; }));
  }

  ReadinessJudge judge_{ReadinessOptions()};
  Instant now_{std::chrono::hours(1)};
  Chain chain_ = Chain::kWorks;
  absl::Status complete_;
  absl::Status failure_ = absl::UnavailableError("a shard is gone");
  bool working_ = false;
  Instant worked_at_ = now_;
  std::map<Incarnation, Instant> token_at_;
  std::vector<ReadinessJudge::Probe> sent_;
};

TEST_F(ReadinessJudgeTest, IsReadyOnceATokenHasCome) {
  EXPECT_FALSE(ready());
  complete_ = absl::UnavailableError("no shard holds blocks [0, 2)");
  Look();
  EXPECT_THAT(problem(), HasSubstr("[0, 2)"));
  EXPECT_THAT(sent_, IsEmpty());
  complete_ = absl::OkStatus();
  Look();
  Look();
  EXPECT_TRUE(ready());
}

TEST_F(ReadinessJudgeTest, WhileTokensComeNoneIsSent) {
  LookFor(seconds(1));
  const size_t before = sent_.size();
  chain_ = Chain::kHangs;
  for (int i = 0; i < 100; ++i) {
    TokenBy(1);
    TokenBy(2);
    LookFor(seconds(2));
  }
  EXPECT_EQ(sent_.size(), before);
  EXPECT_TRUE(ready());
}

// A request that hung counted as one that runs, and nothing was sent for as long as it did.
TEST_F(ReadinessJudgeTest, ARequestThatGivesNoTokenShowsNothing) {
  LookFor(seconds(1));
  chain_ = Chain::kHangs;
  LookFor(seconds(14));
  EXPECT_TRUE(ready());
  LookFor(seconds(2));
  EXPECT_FALSE(ready()) << "neither a token nor progress for fifteen seconds";
  EXPECT_THAT(problem(), HasSubstr("no token has come"));
  TokenBy(1);
  Look();
  EXPECT_TRUE(ready()) << "one that comes shows that it serves, whoever asked for it";
}

TEST_F(ReadinessJudgeTest, SlowIsReady) {
  LookFor(seconds(1));
  chain_ = Chain::kHangs;
  working_ = true;
  LookFor(seconds(300));
  EXPECT_TRUE(ready()) << "its stages make progress: the token waits for a long prompt";
}

TEST_F(ReadinessJudgeTest, WhatFailsSpeaksAgainstItUntilATokenComes) {
  LookFor(seconds(1));
  chain_ = Chain::kFails;
  LookFor(seconds(6));
  EXPECT_FALSE(ready());
  EXPECT_THAT(problem(), HasSubstr("no token came through the chain: a shard is gone"));
  const size_t before = SentThroughAny();
  LookFor(seconds(5));
  EXPECT_GE(SentThroughAny(), before + 9) << "it tries on";
  EXPECT_LE(SentThroughAny(), before + 11) << "with pauses";
  chain_ = Chain::kWorks;
  LookFor(seconds(1));
  EXPECT_TRUE(ready());
}

TEST_F(ReadinessJudgeTest, NoRoomIsNoFault) {
  LookFor(seconds(1));
  chain_ = Chain::kFails;
  failure_ = absl::ResourceExhaustedError("1024 requests wait already");
  LookFor(seconds(60));
  EXPECT_TRUE(ready());
  EXPECT_THAT(judge_.troubles(), IsEmpty());
}

TEST_F(ReadinessJudgeTest, ARouteThatIsLostIsNotReadyAndNeedsATokenAgain) {
  LookFor(seconds(1));
  complete_ = absl::UnavailableError("no head");
  Look();
  EXPECT_FALSE(ready());
  complete_ = absl::OkStatus();
  chain_ = Chain::kHangs;
  LookFor(seconds(2));
  EXPECT_FALSE(ready());
}

TEST_F(ReadinessJudgeTest, EveryReplicaIsExercisedSoonerOrLater) {
  LookFor(seconds(1));
  EXPECT_EQ(SentThrough(2), 1u) << "nothing had come by way of it";
  LookFor(seconds(100));
  EXPECT_GE(SentThrough(2), 3u);
  EXPECT_LE(SentThrough(2), 4u);
  EXPECT_EQ(SentThrough(1), 0u) << "what goes by any route goes by way of it";
}

TEST_F(ReadinessJudgeTest, AReplicaByWhichNoTokenComesIsInTroubleAndTheClusterIsNot) {
  LookFor(seconds(1));
  chain_ = Chain::kFails;
  for (int i = 0; i < 40; ++i) {
    TokenBy(1);
    LookFor(seconds(1));
  }
  EXPECT_TRUE(ready());
  EXPECT_THAT(judge_.troubles().at(2), HasSubstr("no token came by way of it: a shard is gone"));
  EXPECT_EQ(judge_.troubles().count(1), 0u);
  const size_t before = SentThrough(2);
  chain_ = Chain::kWorks;
  LookFor(seconds(6));
  EXPECT_EQ(SentThrough(2), before + 1) << "it is tried again soon";
  EXPECT_THAT(judge_.troubles(), IsEmpty());
}

TEST_F(ReadinessJudgeTest, OneThatHangsThroughAReplicaHoldsUpNothingElse) {
  LookFor(seconds(1));
  chain_ = Chain::kHangs;
  for (int i = 0; i < 40; ++i) {
    TokenBy(1);
    LookFor(seconds(1));
  }
  EXPECT_EQ(SentThrough(2), 2u);
  chain_ = Chain::kWorks;
  const size_t before = SentThroughAny();
  LookFor(seconds(10));
  EXPECT_GT(SentThroughAny(), before);
  EXPECT_TRUE(ready());
}

}  // namespace
}  // namespace catena
