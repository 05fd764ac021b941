#include "kernels/peak/pinned_pool.h"

#include <latch>
#include <vector>

namespace catena {

PinnedPool::PinnedPool(int threads) : pool_(threads) {
  CPU_ZERO(&allowed_);
  // Fails where there are more CPUs than the set holds: then nobody is pinned.
  if (sched_getaffinity(0, sizeof allowed_, &allowed_) != 0) CPU_ZERO(&allowed_);
  if (CPU_COUNT(&allowed_) != threads) return;
  std::vector<cpu_set_t> own;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed_)) continue;
    CPU_ZERO(&own.emplace_back());
    CPU_SET(cpu, &own.back());
  }
  std::latch all(threads);  // nobody takes two units: each thread is pinned
  pool_.For(threads, [&](int64_t, int worker) {
    sched_setaffinity(0, sizeof own[worker], &own[worker]);
    all.arrive_and_wait();
  });
}

PinnedPool::~PinnedPool() {
  if (CPU_COUNT(&allowed_) > 0) sched_setaffinity(0, sizeof allowed_, &allowed_);
}

}  // namespace catena
