#include "services/common/worker_pool.h"

#include <utility>

namespace catena {
namespace {

// Tasks that a strand runs before it lets others at the thread.
constexpr int kTurn = 16;

}  // namespace

WorkerPool::WorkerPool(int threads) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Run(); });
}

bool WorkerPool::Post(Task task) {
  {
    std::lock_guard lock(mutex_);
    if (stopped_) return false;
    tasks_.push_back(std::move(task));
  }
  changed_.notify_one();
  return true;
}

bool WorkerPool::PostAfter(std::chrono::milliseconds delay, Task task) {
  {
    std::lock_guard lock(mutex_);
    if (stopped_) return false;
    delayed_.push({Clock::now() + delay, next_number_++, std::make_shared<Task>(std::move(task))});
  }
  changed_.notify_one();
  return true;
}

size_t WorkerPool::queued() const {
  std::lock_guard lock(mutex_);
  return tasks_.size();
}

void WorkerPool::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  // Without the lock: a task's captures may post when they are destroyed.
  std::priority_queue<Delayed> never;
  {
    std::lock_guard lock(mutex_);
    std::swap(never, delayed_);
  }
}

WorkerPool::Task WorkerPool::Next() {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (!delayed_.empty() && delayed_.top().due <= Clock::now()) {
      Task task = std::move(*delayed_.top().task);
      delayed_.pop();
      return task;
    }
    if (!tasks_.empty()) {
      Task task = std::move(tasks_.front());
      tasks_.pop_front();
      return task;
    }
    if (stopped_) return nullptr;
    if (delayed_.empty()) {
      changed_.wait(lock);
    } else {
      // A copy: the heap may move while the lock is free.
      const Clock::time_point due = delayed_.top().due;
      changed_.wait_until(lock, due);
    }
  }
}

void WorkerPool::Run() {
  while (const Task task = Next()) task();
}

void Strand::Post(WorkerPool::Task task) {
  {
    std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
    if (std::exchange(running_, true)) return;
  }
  Schedule();
}

void Strand::Schedule() {
  if (pool_->Post([self = shared_from_this()] { self->Run(); })) return;
  // Nothing runs any more; what the tasks hold may hold this strand.
  std::deque<WorkerPool::Task> dropped;
  {
    std::lock_guard lock(mutex_);
    running_ = false;
    std::swap(dropped, tasks_);
  }
}

void Strand::PostAfter(std::chrono::milliseconds delay, WorkerPool::Task task) {
  pool_->PostAfter(delay, [self = shared_from_this(), task = std::move(task)]() mutable {
    self->Post(std::move(task));
  });
}

void Strand::Run() {
  for (int turn = 0; turn < kTurn; ++turn) {
    WorkerPool::Task task;
    {
      std::lock_guard lock(mutex_);
      if (tasks_.empty()) {
        running_ = false;
        return;
      }
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    task();
  }
  Schedule();
}

}  // namespace catena
