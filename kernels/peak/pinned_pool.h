// A thread pool whose threads have a core each, for measurements: left alone, the system may let
// two of them share a core as long as another program keeps the other one busy.
//
// Where there are fewer threads than cores, they stay where the system puts them: it knows which
// cores are two halves of one. Thread rules: as ThreadPool; the thread that makes it is the one
// that calls For, and is free again when the pool ends.
#pragma once

#include <sched.h>

#include "kernels/cpu/thread_pool.h"

namespace catena {

class PinnedPool {
 public:
  // Throws as ThreadPool.
  explicit PinnedPool(int threads);
  ~PinnedPool();
  PinnedPool(const PinnedPool&) = delete;
  PinnedPool& operator=(const PinnedPool&) = delete;

  ThreadPool* get() { return &pool_; }

 private:
  ThreadPool pool_;
  cpu_set_t allowed_;  // to the caller, before
};

}  // namespace catena
