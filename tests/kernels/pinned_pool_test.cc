#include "kernels/peak/pinned_pool.h"

#include <latch>
#include <vector>

#include <gtest/gtest.h>

namespace catena {
namespace {

cpu_set_t Allowed() {
  cpu_set_t set;
  EXPECT_EQ(sched_getaffinity(0, sizeof set, &set), 0);
  return set;
}

// The cores that each thread of the pool may run on.
std::vector<cpu_set_t> OfEachThread(ThreadPool* pool) {
  std::vector<cpu_set_t> sets(pool->threads());
  std::latch all(pool->threads());  // nobody takes two units
  pool->For(pool->threads(), [&](int64_t, int worker) {
    sets[worker] = Allowed();
    all.arrive_and_wait();
  });
  return sets;
}

TEST(PinnedPool, AsManyThreadsAsCoresHaveOneEachAndTheCallerIsFreeAfterwards) {
  const cpu_set_t before = Allowed();
  const int cores = CPU_COUNT(&before);
  {
    PinnedPool pool(cores);
    cpu_set_t together;
    CPU_ZERO(&together);
    for (const cpu_set_t& set : OfEachThread(pool.get())) {
      EXPECT_EQ(CPU_COUNT(&set), 1);
      CPU_OR(&together, &together, &set);
    }
    EXPECT_TRUE(CPU_EQUAL(&together, &before));
  }
  const cpu_set_t after = Allowed();
  EXPECT_TRUE(CPU_EQUAL(&after, &before));
}

TEST(PinnedPool, MoreThreadsThanCoresGoWhereTheSystemPutsThem) {
  const cpu_set_t before = Allowed();
  PinnedPool pool(CPU_COUNT(&before) + 1);
  for (const cpu_set_t& set : OfEachThread(pool.get())) EXPECT_TRUE(CPU_EQUAL(&set, &before));
}

}  // namespace
}  // namespace catena
