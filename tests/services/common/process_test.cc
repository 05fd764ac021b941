// How a process waits for the end: for a signal, for what still runs, for a second signal.
#include "services/common/process.h"

#include <atomic>
#include <thread>

#include <gtest/gtest.h>
#include <unistd.h>

namespace catena {
namespace {

constexpr std::chrono::minutes kLong{10};

// Of this process; they are blocked in all of its threads.
void Signal(int signal) { ASSERT_EQ(kill(getpid(), signal), 0); }

TEST(StopSignalsTest, WaitsForWhatRunsForTheGraceOrForAnotherSignal) {
  StopSignals stop;
  Signal(SIGTERM);
  stop.Wait();
  EXPECT_TRUE(stop.WaitUntil([] { return true; }, std::chrono::milliseconds(0)));
  EXPECT_FALSE(stop.WaitUntil([] { return false; }, std::chrono::milliseconds(1)));
  int asked = 0;
  EXPECT_TRUE(stop.WaitUntil([&] { return ++asked == 3; }, kLong));
  Signal(SIGINT);
  EXPECT_FALSE(stop.WaitUntil([] { return false; }, kLong));
  std::atomic<bool> done = false;
  std::thread running([&] { done = true; });
  EXPECT_TRUE(stop.WaitUntil([&] { return done.load(); }, kLong));
  running.join();
}

TEST(StopSignalsTest, WhoeverAsksEndsTheWaitAndCutsNoGraceShort) {
  StopSignals stop;
  std::thread asking([&] { stop.Ask(); });
  stop.Wait();
  asking.join();
  stop.Ask();
  int asked = 0;
  EXPECT_TRUE(stop.WaitUntil([&] { return ++asked == 3; }, kLong));
}

}  // namespace
}  // namespace catena
