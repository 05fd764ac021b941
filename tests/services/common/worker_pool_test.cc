#include "services/common/worker_pool.h"

#include <atomic>
#include <future>

#include <gtest/gtest.h>

namespace catena {
namespace {

using std::chrono::milliseconds;

TEST(WorkerPoolTest, TasksOfAStrandRunInOrderAndNeverTwoAtATime) {
  WorkerPool pool(4);
  constexpr int kTasks = 1000;
  std::vector<std::shared_ptr<Strand>> strands;
  std::vector<std::vector<int>> seen(3);
  std::atomic<int> left = 3 * kTasks;
  std::promise<void> done;
  for (int s = 0; s < 3; ++s) strands.push_back(Strand::Make(&pool));
  for (int i = 0; i < kTasks; ++i) {
    for (int s = 0; s < 3; ++s) {
      strands[s]->Post([&, s, i] {
        seen[s].push_back(i);  // a race where two run at a time
        if (--left == 0) done.set_value();
      });
    }
  }
  done.get_future().wait();
  for (const std::vector<int>& order : seen) {
    for (int i = 0; i < kTasks; ++i) ASSERT_EQ(order[i], i);
  }
}

TEST(WorkerPoolTest, DelayedTasksRunInTheOrderOfTheirTimes) {
  WorkerPool pool(1);
  std::string order;
  std::promise<void> posted, done;
  pool.Post([&] { posted.get_future().wait(); });
  pool.PostAfter(milliseconds(200), [&] {
    order += "b";
    done.set_value();
  });
  pool.PostAfter(milliseconds(0), [&] { order += "a"; });
  posted.set_value();
  done.get_future().wait();
  EXPECT_EQ(order, "ab");
}

// Under the address sanitizer: the list of delayed tasks moves while threads wait for its first.
TEST(WorkerPoolTest, DelayedTasksMayBeAddedWhileThreadsWaitForOthers) {
  WorkerPool pool(2);
  for (int i = 0; i < 300; ++i) {
    pool.PostAfter(std::chrono::hours(2) - milliseconds(i), [] {});
    std::promise<void> ran;
    pool.Post([&] { ran.set_value(); });
    ran.get_future().wait();
  }
}

TEST(WorkerPoolTest, StopRunsWhatIsQueuedAndDropsWhatComesLater) {
  auto held = std::make_shared<int>(1);
  std::atomic<int> ran = 0;
  WorkerPool pool(1);
  const auto strand = Strand::Make(&pool);
  for (int i = 0; i < 10; ++i) pool.Post([&] { ++ran; });
  pool.PostAfter(std::chrono::hours(1), [held] {});
  pool.Stop();
  EXPECT_EQ(ran, 10);
  EXPECT_FALSE(pool.Post([held] {}));
  EXPECT_FALSE(pool.PostAfter(milliseconds(1), [held] {}));
  for (int i = 0; i < 2; ++i) strand->Post([held, strand] {});  // would hold itself for ever
  EXPECT_EQ(held.use_count(), 1);
  EXPECT_EQ(strand.use_count(), 1);
}

}  // namespace
}  // namespace catena
