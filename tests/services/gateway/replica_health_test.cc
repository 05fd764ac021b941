#include "services/gateway/replica_health.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace catena {
namespace {

using std::chrono::seconds;
using ::testing::HasSubstr;

class ReplicaHealthTest : public ::testing::Test {
 protected:
  void Answer(int64_t progress, bool busy = true, Incarnation incarnation = 1) {
    ReplicaLoad load;
    load.progress = progress;
    load.oldest_step_ns = busy ? 1'000'000 : 0;
    health_.Answered(incarnation, load, now_);
  }
  // A probe a second.
  void AnswerFor(int n, int64_t progress, bool busy = true) {
    for (int i = 0; i < n; ++i) {
      now_ += seconds(1);
      Answer(progress, busy);
    }
  }
  ReplicaHealth health_{limits::DetectionLimits()};
  Instant now_{std::chrono::hours(1)};
};

TEST_F(ReplicaHealthTest, IsGoneAtOnceWhereItRefusesAndAfterTwoProbesWhereItIsSilent) {
  EXPECT_FALSE(health_.answers());
  Answer(0);
  EXPECT_TRUE(health_.answers());
  health_.Missed("too late");
  EXPECT_TRUE(health_.answers()) << "a busy machine may miss one";
  health_.Missed("too late");
  EXPECT_FALSE(health_.answers());
  EXPECT_THAT(health_.problem(), HasSubstr("too late"));
  Answer(0);
  health_.Missed("too late");
  EXPECT_TRUE(health_.answers()) << "they are counted in a row";
  health_.Refused("nobody there");
  EXPECT_FALSE(health_.answers());
}

TEST_F(ReplicaHealthTest, WorkThatStandsStillIsAFailureAfterTheLimit) {
  Answer(5);
  AnswerFor(9, 5);
  EXPECT_TRUE(health_.answers());
  AnswerFor(1, 5);
  EXPECT_FALSE(health_.answers());
  EXPECT_THAT(health_.problem(), HasSubstr("stands still"));
  EXPECT_EQ(health_.well_at(), now_ - seconds(10)) << "what runs there need not wait again";
  Answer(6);
  EXPECT_TRUE(health_.answers());
}

// Six hundred prompt tokens in one batch of the reference backend: no batch ends for long.
TEST_F(ReplicaHealthTest, ABatchThatIsSlowIsProgress) {
  for (int i = 0; i < 60; ++i) AnswerFor(1, i);
  EXPECT_TRUE(health_.answers());
}

TEST_F(ReplicaHealthTest, NothingToDoIsNoFailure) {
  AnswerFor(60, 5, false);
  EXPECT_TRUE(health_.answers());
  AnswerFor(9, 5);
  EXPECT_TRUE(health_.answers()) << "it has work since then only";
}

TEST_F(ReplicaHealthTest, AnotherProcessBeginsAnew) {
  AnswerFor(9, 5);
  now_ += seconds(5);
  Answer(5, true, 2);
  EXPECT_TRUE(health_.answers());
}

}  // namespace
}  // namespace catena
