// Threads for the work that must hold up neither gRPC's threads nor the token loop, and strands:
// queues whose tasks run one at a time, in order, on whichever of the threads is free. What belongs
// to one request runs on its strand and needs no lock.
//
// Thread rules: everything may be called from any thread. Tasks must not block for long.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <queue>
#include <thread>
#include <vector>

namespace catena {

class WorkerPool {
 public:
  using Task = std::function<void()>;

  explicit WorkerPool(int threads);
  ~WorkerPool() { Stop(); }
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // False, and the task is dropped: the pool has stopped.
  bool Post(Task task);
  bool PostAfter(std::chrono::milliseconds delay, Task task);
  // How many tasks wait for a thread; those with a delay do not count.
  size_t queued() const;

  // Ends the threads once they have run what is queued without a delay; what comes later is
  // dropped. Not from a task.
  void Stop();

 private:
  using Clock = std::chrono::steady_clock;
  struct Delayed {
    Clock::time_point due;
    uint64_t number;  // of two that are due together the older first
    std::shared_ptr<Task> task;
    bool operator<(const Delayed& o) const {
      return due != o.due ? due > o.due : number > o.number;
    }
  };

  void Run();
  // The next task to run; waits for it. Empty: the pool has stopped.
  Task Next();

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Task> tasks_;
  std::priority_queue<Delayed> delayed_;
  uint64_t next_number_ = 0;
  bool stopped_ = false;
  std::vector<std::thread> threads_;
};

class Strand : public std::enable_shared_from_this<Strand> {
 public:
  // `pool` outlives it.
  static std::shared_ptr<Strand> Make(WorkerPool* pool) {
    return std::shared_ptr<Strand>(new Strand(pool));
  }

  void Post(WorkerPool::Task task);
  void PostAfter(std::chrono::milliseconds delay, WorkerPool::Task task);

 private:
  explicit Strand(WorkerPool* pool) : pool_(pool) {}
  void Schedule();
  void Run();

  WorkerPool* pool_;
  std::mutex mutex_;
  std::deque<WorkerPool::Task> tasks_;
  bool running_ = false;  // a task of the pool is on its way for this strand
};

}  // namespace catena
