#include "services/gateway/running_calls.h"

#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace catena {
namespace {

using std::chrono::milliseconds;

// Leaves as soon as it is ended.
class Call final : public RunningCalls::Call {
 public:
  explicit Call(std::unique_ptr<RunningCalls::Place> place) : place_(std::move(place)) {}
  void End(const absl::Status& why) override {
    ended = why;
    place_.reset();
  }
  absl::Status ended;

 private:
  std::unique_ptr<RunningCalls::Place> place_;
};

std::shared_ptr<Call> Enter(RunningCalls* calls) {
  auto place = calls->Enter();
  if (!place.ok()) return nullptr;
  RunningCalls::Place* own = place->get();
  auto call = std::make_shared<Call>(*std::move(place));
  own->BelongsTo(std::weak_ptr<RunningCalls::Call>(call));
  return call;
}

TEST(RunningCallsTest, ThereAreNoMoreThanMayBe) {
  RunningCalls calls(2, "requests");
  auto a = Enter(&calls), b = Enter(&calls);
  EXPECT_TRUE(a && b);
  EXPECT_TRUE(absl::IsResourceExhausted(calls.Enter().status()));
  a.reset();
  EXPECT_TRUE(Enter(&calls));
}

TEST(RunningCallsTest, ADrainWaitsForWhatRunsAndLetsNothingIn) {
  RunningCalls calls(9, "requests");
  auto a = Enter(&calls);
  std::vector<size_t> told;
  std::thread drain([&] {
    EXPECT_EQ(calls.Drain(std::chrono::hours(1), milliseconds(0),
                          [&](size_t left) { told.push_back(left); }),
              0u);
  });
  while (Enter(&calls)) std::this_thread::yield();
  EXPECT_TRUE(absl::IsUnavailable(calls.Enter().status()));
  EXPECT_TRUE(a->ended.ok());
  a.reset();
  drain.join();
  EXPECT_THAT(told, testing::AllOf(testing::Contains(1u), testing::Contains(0u)));
}

TEST(RunningCallsTest, WhatRunsAfterTheGraceIsEndedAndWhatComesLateToo) {
  RunningCalls calls(9, "requests");
  auto a = Enter(&calls);
  auto unbound = calls.Enter();
  ASSERT_TRUE(unbound.ok());
  EXPECT_EQ(calls.Drain(milliseconds(0), milliseconds(0)), 2u);
  EXPECT_TRUE(absl::IsUnavailable(a->ended)) << a->ended;
  RunningCalls::Place* own = unbound->get();
  const auto late = std::make_shared<Call>(*std::move(unbound));
  own->BelongsTo(std::weak_ptr<RunningCalls::Call>(late));
  EXPECT_TRUE(absl::IsUnavailable(late->ended)) << late->ended;
  calls.Drain(std::chrono::hours(1), milliseconds(0));  // nobody is left to wait for
}

}  // namespace
}  // namespace catena
