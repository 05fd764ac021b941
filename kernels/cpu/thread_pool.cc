#include "kernels/cpu/thread_pool.h"

#include <algorithm>
#include <chrono>
#include <climits>
#include <system_error>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernels/base/cores.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace catena {
namespace {

// Longer than the gap between two ops of a step, shorter than anybody notices a busy core.
constexpr int64_t kSpinNs = 50'000;

constexpr uint32_t kOpen = uint32_t{1} << 31;

int64_t NowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void Pause() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

// Raw futexes: std::atomic::wait has a spin and a shared table of its own.
void FutexWait(std::atomic<uint32_t>& word, uint32_t expected) {
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, expected, nullptr, nullptr, 0);
}
void FutexWake(std::atomic<uint32_t>& word, int count) {
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, count, nullptr, nullptr, 0);
}

// True as soon as done() is; false if it was not within spin_ns.
template <class Done>
bool SpinUntil(int64_t spin_ns, const Done& done) {
  if (done()) return true;
  if (spin_ns == 0) return false;
  const int64_t end = NowNs() + spin_ns;
  do {
    for (int i = 0; i < 64; ++i) {
      if (done()) return true;
      Pause();
    }
  } while (NowNs() < end);
  return false;
}

// Rounding to nearest and subnormals kept, whatever the thread's owner has set: part of the
// exactness contract. Restored on the way out.
class FloatMode {
 public:
#if defined(__x86_64__)
  FloatMode() : saved_(_mm_getcsr()) { _mm_setcsr(0x1f80); }
  ~FloatMode() { _mm_setcsr(saved_); }

 private:
  unsigned saved_;
#endif
};

}  // namespace

ThreadPool::ThreadPool(int threads) : spin_ns_(threads <= UsableCores() ? kSpinNs : 0) {
  try {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { WorkerLoop(i); });
  } catch (const std::system_error&) {
    Stop();
    throw;
  }
}

ThreadPool::~ThreadPool() { Stop(); }

void ThreadPool::Stop() {
  stop_.store(true);
  Raise();
  for (std::thread& t : workers_) t.join();
}

void ThreadPool::Rest() { resting_.store(true, std::memory_order_relaxed); }

void ThreadPool::Prepare() {
  if (spin_ns_ > 0 && sleepers_.load(std::memory_order_relaxed) > 0) Raise();
}

// Wakes who sleeps. The raise is sequentially consistent with sleepers_ in WorkerLoop.
void ThreadPool::Raise() {
  resting_.store(false, std::memory_order_relaxed);
  generation_.fetch_add(1);
  if (sleepers_.load() > 0 && sleepers_.exchange(0) > 0) FutexWake(generation_, INT_MAX);
}

void ThreadPool::Run(int64_t units, int64_t parts, Call call, const void* fn) {
  FloatMode mode;
  call_ = call;
  fn_ = fn;
  units_ = units;
  parts_ = parts;
  next_unit_.store(0, std::memory_order_relaxed);
  if (workers_.empty() || units <= 1) return Work(0);
  loop_.store(kOpen);
  Raise();
  Work(0);
  loop_.fetch_and(~kOpen);
  auto done = [this] { return loop_.load(std::memory_order_acquire) == 0; };
  while (!SpinUntil(spin_ns_, done)) {
    caller_sleeps_.store(true);
    const uint32_t inside = loop_.load();
    if (inside != 0) FutexWait(loop_, inside);
    caller_sleeps_.store(false);
  }
}

void ThreadPool::Work(int worker) {
  int64_t begin = next_unit_.load(std::memory_order_relaxed);
  while (begin < units_) {
    const int64_t end = begin + std::max<int64_t>(1, (units_ - begin) / parts_);
    if (!next_unit_.compare_exchange_weak(begin, end, std::memory_order_relaxed)) continue;
    call_(fn_, begin, end, worker);
    begin = next_unit_.load(std::memory_order_relaxed);
  }
}

// Works on the loop in progress, unless it is over: then what it is made of may not be touched.
void ThreadPool::Enter(int worker) {
  uint32_t loop = loop_.load();
  while ((loop & kOpen) != 0) {
    if (!loop_.compare_exchange_weak(loop, loop + 1)) continue;
    Work(worker);
    const bool last_of_closed = loop_.fetch_sub(1) == 1;
    if (last_of_closed && caller_sleeps_.load()) FutexWake(loop_, 1);
    return;
  }
}

void ThreadPool::WorkerLoop(int worker) {
  FloatMode mode;
  uint32_t seen = 0;
  for (;;) {
    auto raised = [&] { return generation_.load(std::memory_order_acquire) != seen; };
    auto moved = [&] { return raised() || resting_.load(std::memory_order_relaxed); };
    SpinUntil(spin_ns_, moved);
    while (!raised()) {
      sleepers_.fetch_add(1);  // whoever wakes us sets it back
      if (generation_.load() == seen) FutexWait(generation_, seen);
    }
    seen = generation_.load(std::memory_order_acquire);
    if (stop_.load()) return;
    Enter(worker);
  }
}

}  // namespace catena
