#include "kernels/cpu/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <vector>

#include <gtest/gtest.h>

namespace catena {
namespace {

TEST(ThreadPool, RunsEveryUnitOnceWhateverTheThreads) {
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (int units : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> runs(units);
      pool.For(units, [&](int64_t unit, int worker) {
        EXPECT_LT(worker, threads);
        runs[unit].fetch_add(1, std::memory_order_relaxed);
      });
      for (const auto& n : runs) EXPECT_EQ(n.load(), 1);
    }
  }
}

TEST(ThreadPool, RunsAreShorterTheFewerUnitsAreLeft) {
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    for (int units : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> runs(units);
      pool.ForRuns(units, [&](int64_t begin, int64_t end, int worker) {
        EXPECT_LT(worker, threads);
        EXPECT_EQ(end - begin, std::max<int64_t>(1, (units - begin) / (2 * threads)));
        for (int64_t unit = begin; unit < end; ++unit) {
          runs[unit].fetch_add(1, std::memory_order_relaxed);
        }
      });
      for (const auto& n : runs) EXPECT_EQ(n.load(), 1);
    }
  }
}

TEST(ThreadPool, ManyShortLoopsSeeEachOthersResults) {
  ThreadPool pool(4);
  // Plain memory: each loop must happen after the one before. Every round shifts by one.
  std::vector<int64_t> from(64), to(64);
  for (int64_t i = 0; i < 64; ++i) from[i] = i;
  for (int round = 0; round < 6400; ++round) {
    pool.For(64, [&](int64_t unit, int) { to[unit] = from[(unit + 1) % 64]; });
    std::swap(from, to);
  }
  for (int64_t i = 0; i < 64; ++i) EXPECT_EQ(from[i], i);
}

TEST(ThreadPool, SleepingWorkersWakeAgain) {
  for (int round = 0; round < 50; ++round) {
    ThreadPool pool(3);  // workers may be anywhere between start and sleep
    std::atomic<int> n = 0;
    pool.For(10, [&](int64_t, int) { ++n; });
    EXPECT_EQ(n.load(), 10);
  }
}

}  // namespace
}  // namespace catena
