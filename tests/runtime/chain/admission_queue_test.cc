#include "runtime/chain/admission_queue.h"

#include <gtest/gtest.h>

namespace catena {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class AdmissionQueueTest : public ::testing::Test {
 protected:
  void Take(uint64_t ticket) {
    ASSERT_EQ(queue_.Next(now_), ticket);
    queue_.Take(ticket);
  }
  AdmissionQueue queue_{{.max_waiting = 4}};
  Instant now_{std::chrono::hours(1)};
};

TEST_F(AdmissionQueueTest, WhoCameFirstIsServedFirstAlsoAfterARefusal) {
  for (const uint64_t ticket : {1, 2, 3}) queue_.Add(ticket, now_);
  Take(1);
  Take(2);
  queue_.PutBack(1, AdmissionQueue::Why::kBroken, now_);
  EXPECT_FALSE(queue_.Next(now_)) << "it pauses, and nobody overtakes it";
  now_ = *queue_.NextAt();
  Take(1);
  Take(3);
  EXPECT_FALSE(queue_.NextAt());
  EXPECT_EQ(queue_.waiting(), 3);
}

TEST_F(AdmissionQueueTest, WhatFoundNoMemoryIsOpenedAlone) {
  for (const uint64_t ticket : {1, 2}) queue_.Add(ticket, now_);
  Take(1);
  queue_.PutBack(1, AdmissionQueue::Why::kNoMemory, now_);
  queue_.MemoryWasFreed(now_);
  Take(1);
  EXPECT_FALSE(queue_.NextAt());
  queue_.Remove(1);
  Take(2);
}

TEST_F(AdmissionQueueTest, AsksOneByOneOnlyAfterRefusalsForMemory) {
  queue_.Add(1, now_);
  for (int i = 0; i < 5; ++i) {
    Take(1);
    EXPECT_FALSE(queue_.OneByOne(1)) << "links that broke are no refusals";
    queue_.PutBack(1, AdmissionQueue::Why::kBroken, now_);
    now_ += seconds(1);
  }
  for (int i = 0; i < 3; ++i) {
    Take(1);
    EXPECT_FALSE(queue_.OneByOne(1));
    queue_.PutBack(1, AdmissionQueue::Why::kNoMemory, now_);
    now_ += seconds(1);
  }
  Take(1);
  EXPECT_TRUE(queue_.OneByOne(1));
}

TEST_F(AdmissionQueueTest, TheExpectedWaitIsThatOfThoseBefore) {
  for (const uint64_t ticket : {1, 2, 3}) queue_.Add(ticket, now_);
  EXPECT_EQ(queue_.ExpectedWait(), Nanoseconds(0)) << "nobody has waited yet";
  Take(1);
  queue_.Opened(1, now_);
  now_ += seconds(2);
  Take(2);
  queue_.Opened(2, now_);
  EXPECT_EQ(queue_.ExpectedWait(), seconds(2));
  EXPECT_TRUE(absl::IsResourceExhausted(queue_.MayWait(now_ + seconds(1), now_)));
  EXPECT_TRUE(queue_.MayWait(now_ + seconds(3), now_).ok());
  for (const uint64_t ticket : {4, 5, 6}) queue_.Add(ticket, now_);
  EXPECT_TRUE(absl::IsResourceExhausted(queue_.MayWait({}, now_))) << "four wait already";
}

}  // namespace
}  // namespace catena
