// The threads of one process that compute: a step's ops are many short parallel loops, so a worker
// that has just finished one spins for the next for a while, then sleeps on a futex. Who knows when
// a step has ended and when the next one comes says so: Rest and Prepare.
//
// A loop waits only for the workers that have entered it. Where a core is busy with another process
// (several stages of a cluster share one machine), its worker comes late or not at all, and the
// others do its share.
//
// Where there are more threads than cores, nobody spins: a spinning thread would hold the core that
// the thread it waits for needs. Thread rules: one caller of For and Rest at a time, who works too;
// Prepare from any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace catena {

class ThreadPool {
 public:
  // The caller counts as one. Throws std::system_error where the system starts no more threads.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls fn(unit, worker) for every unit in [0, units), worker in [0, threads()), units handed out
  // by a counter. Returns when all are done. What fn computes must not depend on the worker.
  template <class Fn>
  void For(int64_t units, const Fn& fn) {
    Run(
        units, /*parts=*/units,
        [](const void* f, int64_t unit, int64_t, int worker) {
          (*static_cast<const Fn*>(f))(unit, worker);
        },
        &fn);
  }

  // The same for units that take about as long each, in runs of neighbours: fn(begin, end, worker).
  // A run is a thread's share of half of what is left, so that runs are long and the threads still
  // end together (guided self-scheduling: Polychronopoulos and Kuck, IEEE Transactions on Computers
  // 36, 1987).
  template <class Fn>
  void ForRuns(int64_t units, const Fn& fn) {
    Run(
        units, /*parts=*/int64_t{2} * threads(),
        [](const void* f, int64_t begin, int64_t end, int worker) {
          (*static_cast<const Fn*>(f))(begin, end, worker);
        },
        &fn);
  }

  // No loop comes soon: nobody spins for it.
  void Rest();
  // A loop comes within microseconds: workers that sleep wake meanwhile.
  void Prepare();

 private:
  using Call = void (*)(const void* fn, int64_t begin, int64_t end, int worker);
  // A run is 1 / `parts` of the units that are left, and one at least.
  void Run(int64_t units, int64_t parts, Call call, const void* fn);
  void Raise();
  void Stop();
  void Work(int worker);
  void Enter(int worker);
  void WorkerLoop(int worker);

  const int64_t spin_ns_;
  // The loop in progress: written before it is opened, read by those who have entered it.
  Call call_ = nullptr;
  const void* fn_ = nullptr;
  int64_t units_ = 0, parts_ = 0;
  alignas(64) std::atomic<int64_t> next_unit_{0};
  alignas(64) std::atomic<uint32_t> generation_{0};  // raised with every loop: workers wait for it
  std::atomic<int> sleepers_{0};                     // at least the workers that sleep
  std::atomic<bool> resting_{false};                 // nobody spins
  alignas(64) std::atomic<uint32_t> loop_{0};        // kOpen, and the number of workers inside
  std::atomic<bool> caller_sleeps_{false};
  std::atomic<bool> stop_{false};
  std::vector<std::thread> workers_;
};

}  // namespace catena
