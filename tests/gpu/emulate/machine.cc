#include "tests/gpu/emulate/machine.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include <boost/context/detail/fcontext.hpp>
#include <sys/mman.h>

#include "tests/gpu/emulate/block_memory.h"
#include "tests/gpu/emulate/sanitizers.h"

namespace catena::emulate {
namespace {

namespace context = boost::context::detail;

constexpr size_t kStackBytes = 64 << 10, kGuardBytes = 4096;
constexpr unsigned kMaxThreads = 1024;

struct Dropped {};  // unwinds the thread that failed

enum class State { kReady, kAtBarrier, kInMeeting, kDone, kDropped };

struct Fiber {
  ThreadView view;
  unsigned thread = 0;  // in the block
  State state = State::kReady;
  context::fcontext_t context = nullptr;
  char* stack = nullptr;  // its lowest address
  void* tsan = nullptr;
  const char* at = "";  // what it waits for
  Where where = Where::Here();
  unsigned meetings = 0;
  CopyQueue copies;
};

struct WarpMeeting {
  const char* what = nullptr;
  Where where = Where::Here();
  unsigned arrived = 0;
  char token = 0;
  alignas(16) std::byte bytes[32][kLaneBytes];
  alignas(16) std::byte result[kWarpResultBytes];
};

// The lanes of one may already be at the next meeting while others leave the last.
struct Warp {
  WarpMeeting meeting[2];
  unsigned exited = 0;
};

struct Block {
  unsigned threads = 0, alive = 0, at_barrier = 0;
  Where barrier = Where::Here();
  char barrier_token[2] = {};
  unsigned barriers = 0;
  BlockMemory memory;
  std::vector<Warp> warps;
};

class Machine {
 public:
  void Run(const LaunchShape& shape, const std::function<void()>& thread);
  void Body(Fiber* fiber);
  void Leave();
  [[noreturn]] void Fail(std::string what, const Where& where);
  void Barrier(const Where& where);
  Meeting Meet(const char* what, const void* bytes, size_t n, bool orders, const Where& where);

  Fiber* running = nullptr;
  Block block;
  context::fcontext_t scheduler = nullptr;
  const void* scheduler_stack = nullptr;
  size_t scheduler_stack_bytes = 0;

 private:
  void StartBlock(const LaunchShape& shape, unsigned flat);
  void RunBlock();
  void DropFibers();
  bool RunWarp(unsigned warp);
  void Enter(Fiber* fiber);
  void Exit(Fiber* fiber);
  void Wait(State state, const char* at, const Where& where);
  std::string Waiters() const;
  std::vector<unsigned> OrderOf(unsigned n);

  const std::function<void()>* thread_ = nullptr;
  void* tsan_ = nullptr;  // of the scheduler
  char start_token_ = 0, end_token_ = 0;
  // Two neighbouring blocks have different fibers: to the thread sanitizer each is one thread, and
  // what two blocks do is not ordered.
  std::vector<std::unique_ptr<Fiber>> pools_[2];
  std::vector<std::unique_ptr<Fiber>>* fibers_ = &pools_[0];  // of the block
  std::string fault_;
  std::mt19937 random_;
};

Machine& TheMachine() {
  static auto* machine = new Machine;
  return *machine;
}

std::string Place(const Where& where) {
  const char* slash = std::strrchr(where.file, '/');
  return std::string(slash == nullptr ? where.file : slash + 1) + ":" + std::to_string(where.line);
}

std::string Text(const Index3& i) {
  return "(" + std::to_string(i.x) + "," + std::to_string(i.y) + "," + std::to_string(i.z) + ")";
}

Index3 Unflatten(unsigned flat, const Index3& of) {
  return {flat % of.x, flat / of.x % of.y, flat / of.x / of.y};
}

char* NewStack() {
  void* p = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED || mprotect(p, kGuardBytes, PROT_NONE) != 0) throw std::bad_alloc();
  return static_cast<char*>(p);
}

// Bare of the address sanitizer: the frame of what a fiber starts with is left, not returned from.
#define CATENA_EMULATE_BARE __attribute__((no_sanitize("address"), noinline))

CATENA_EMULATE_BARE void FiberMain(context::transfer_t from) {
  Machine& machine = TheMachine();
  machine.scheduler = from.fctx;
  FinishSwitch(nullptr, &machine.scheduler_stack, &machine.scheduler_stack_bytes);
  machine.Body(static_cast<Fiber*>(from.data));
  machine.Leave();
  std::abort();
}

CATENA_EMULATE_BARE void Machine::Enter(Fiber* fiber) {
  running = fiber;
  SwitchTsanThread(fiber->tsan, false);
  void* fake = nullptr;
  StartSwitch(&fake, fiber->stack, kStackBytes);
  const context::transfer_t back = context::jump_fcontext(fiber->context, fiber);
  FinishSwitch(fake, nullptr, nullptr);
  fiber->context = back.fctx;
  running = nullptr;
}

// Back to the scheduler; a fiber that is done does not return.
CATENA_EMULATE_BARE void Machine::Leave() {
  const bool for_good = running->state == State::kDone || running->state == State::kDropped;
  void* fake = nullptr;
  SwitchTsanThread(tsan_, false);
  StartSwitch(for_good ? nullptr : &fake, scheduler_stack, scheduler_stack_bytes);
  const context::transfer_t back = context::jump_fcontext(scheduler, nullptr);
  scheduler = back.fctx;
  FinishSwitch(fake, &scheduler_stack, &scheduler_stack_bytes);
}

void Machine::Body(Fiber* fiber) {
  try {
    Acquire(&start_token_);
    (*thread_)();
    Release(&end_token_);
    const Unseen unseen;
    Exit(fiber);
  } catch (const Dropped&) {
    fiber->state = State::kDropped;
  }
}

void Machine::Wait(State state, const char* at, const Where& where) {
  running->state = state;
  running->at = at;
  running->where = where;
  Leave();
}

void Machine::Fail(std::string what, const Where& where) {
  if (running == nullptr) throw Fault(what);
  {
    const Unseen unseen;
    fault_ = what + "\n  by thread " + Text(running->view.thread) + " of block " +
             Text(running->view.block) + " at " + Place(where) + Waiters();
  }
  throw Dropped{};
}

std::string Machine::Waiters() const {
  std::map<std::string, int> groups;
  for (unsigned t = 0; t < block.threads; ++t) {
    const Fiber& f = *(*fibers_)[t];
    if (&f == running) continue;
    ++groups[f.state == State::kDone    ? "have left the kernel"
             : f.state == State::kReady ? "can run"
                                        : std::string("wait at ") + f.at + ", " + Place(f.where)];
  }
  std::string text;
  for (const auto& [where, n] : groups) text += "\n  " + std::to_string(n) + " others " + where;
  return text;
}

void Machine::Exit(Fiber* fiber) {
  fiber->state = State::kDone;
  --block.alive;
  const Warp& warp = block.warps[fiber->thread / 32];
  block.warps[fiber->thread / 32].exited |= 1u << fiber->view.lane;
  for (const WarpMeeting& m : warp.meeting) {
    if (m.arrived != 0) Fail("a lane left the kernel, whom others wait for", m.where);
  }
  if (block.at_barrier != 0) Fail("barrier divergence: a thread left the kernel", block.barrier);
}

void Machine::Barrier(const Where& where) {
  const unsigned generation = block.barriers % 2;
  {
    const Unseen unseen;
    if (block.alive != block.threads) {
      Fail("barrier divergence: other threads have left the kernel", where);
    }
    const bool elsewhere =
        block.barrier.line != where.line || std::strcmp(block.barrier.file, where.file) != 0;
    if (block.at_barrier != 0 && elsewhere) {
      Fail("barrier divergence: others wait at " + Place(block.barrier), where);
    }
    block.barrier = where;
    ++block.at_barrier;
  }
  Release(&block.barrier_token[generation]);
  if (block.at_barrier == block.threads) {
    const Unseen unseen;
    block.at_barrier = 0;
    ++block.barriers;
    for (unsigned t = 0; t < block.threads; ++t) {
      if ((*fibers_)[t]->state == State::kAtBarrier) (*fibers_)[t]->state = State::kReady;
    }
  } else {
    Wait(State::kAtBarrier, "a barrier", where);
  }
  Acquire(&block.barrier_token[generation]);
}

Meeting Machine::Meet(const char* what, const void* bytes, size_t n, bool orders,
                      const Where& where) {
  Fiber& self = *running;
  Warp& warp = block.warps[self.thread / 32];
  WarpMeeting& m = warp.meeting[self.meetings++ % 2];
  Meeting result;
  {
    const Unseen unseen;
    if (warp.exited != 0) Fail(std::string(what) + " without lanes that left the kernel", where);
    const bool elsewhere = m.arrived != 0 && (m.where.line != where.line ||
                                              std::strcmp(m.where.file, where.file) != 0);
    if (elsewhere) {
      Fail(std::string(what) + " while others of the warp are at " + m.what + ", " + Place(m.where),
           where);
    }
    m.what = what;
    m.where = where;
    m.arrived |= 1u << self.view.lane;
    if (n > 0) std::memcpy(m.bytes[self.view.lane], bytes, n);
    for (int lane = 0; lane < 32; ++lane) result.lane[lane] = m.bytes[lane];
    result.result = m.result;
    result.last = m.arrived == ~0u;
  }
  if (orders) Release(&m.token);
  if (result.last) {
    const Unseen unseen;
    m.arrived = 0;
    for (unsigned lane = 0; lane < 32; ++lane) {
      Fiber& other = *(*fibers_)[self.thread / 32 * 32 + lane];
      if (other.state == State::kInMeeting) other.state = State::kReady;
    }
  } else {
    Wait(State::kInMeeting, what, where);
  }
  if (orders) Acquire(&m.token);
  return result;
}

std::vector<unsigned> Machine::OrderOf(unsigned n) {
  std::vector<unsigned> order(n);
  for (unsigned i = 0; i < n; ++i) order[i] = i;
  if (GlobalOptions().order == Order::kReverse) std::reverse(order.begin(), order.end());
  if (GlobalOptions().order == Order::kShuffled) std::shuffle(order.begin(), order.end(), random_);
  return order;
}

// Each lane that can run, once; whether there was one.
bool Machine::RunWarp(unsigned warp) {
  bool ran = false;
  const bool reverse = GlobalOptions().order == Order::kReverse;
  const unsigned rotate = GlobalOptions().order == Order::kShuffled ? random_() : 0;
  for (unsigned i = 0; i < 32; ++i) {
    const unsigned lane = reverse ? 31 - i : (i + rotate) % 32;
    Fiber& f = *(*fibers_)[warp * 32 + lane];
    if (f.state != State::kReady) continue;
    ran = true;
    Enter(&f);
    if (!fault_.empty()) throw Fault(std::exchange(fault_, {}));
  }
  return ran;
}

void Machine::RunBlock() {
  while (block.alive > 0) {
    bool ran = false;
    for (const unsigned warp : OrderOf(block.threads / 32)) {
      while (RunWarp(warp)) ran = true;
    }
    if (!ran) throw Fault("deadlock: no thread of the block can run" + Waiters());
  }
}

void Machine::StartBlock(const LaunchShape& shape, unsigned flat) {
  const Unseen unseen;
  block.threads = block.alive = shape.block.x * shape.block.y * shape.block.z;
  block.at_barrier = 0;
  block.memory.Start(shape.shared_bytes);
  block.warps.assign(block.threads / 32, {});
  fibers_ = &pools_[flat % 2];
  while (fibers_->size() < block.threads) {
    fibers_->push_back(std::make_unique<Fiber>());
    fibers_->back()->stack = NewStack();
  }
  for (unsigned t = 0; t < block.threads; ++t) {
    Fiber& f = *(*fibers_)[t];
    f.view = {.thread = Unflatten(t, shape.block),
              .block = Unflatten(flat, shape.grid),
              .block_dim = shape.block,
              .grid_dim = shape.grid,
              .lane = t % 32};
    f.thread = t;
    f.state = State::kReady;
    if (f.tsan == nullptr) f.tsan = NewTsanThread();
    f.meetings = 0;
    f.copies = {};
    f.context = context::make_fcontext(f.stack + kStackBytes, kStackBytes, FiberMain);
  }
}

// After a fault, when some have not left their kernel.
void Machine::DropFibers() {
  for (const auto& pool : pools_) {
    for (const auto& f : pool) {
      ForgetStack(f->stack + kGuardBytes, kStackBytes - kGuardBytes);
      f->state = State::kDone;
      if (f->tsan == nullptr) continue;
      SwitchTsanThread(f->tsan, true);  // what it did comes before what follows
      SwitchTsanThread(tsan_, true);
      DropTsanThread(std::exchange(f->tsan, nullptr));
    }
  }
}

void Machine::Run(const LaunchShape& shape, const std::function<void()>& thread) {
  const unsigned threads = shape.block.x * shape.block.y * shape.block.z;
  if (running != nullptr) throw Fault("a kernel launched by a kernel");
  if (threads == 0 || threads > kMaxThreads || threads % 32 != 0) {
    throw Fault("a block of " + std::to_string(threads) + " threads");
  }
  if (shape.grid.x == 0 || shape.grid.y - 1 >= 65535 || shape.grid.z - 1 >= 65535) {
    throw Fault("a grid of " + Text(shape.grid) + " blocks");
  }
  if (shape.shared_bytes > GlobalOptions().shared_limit) {
    throw Fault(std::to_string(shape.shared_bytes) + " bytes of shared memory");
  }
  thread_ = &thread;
  tsan_ = ThisTsanThread();
  Release(&start_token_);
  const unsigned blocks = shape.grid.x * shape.grid.y * shape.grid.z;
  try {
    for (const unsigned flat : OrderOf(blocks)) {
      StartBlock(shape, flat);
      RunBlock();
    }
  } catch (const Fault&) {
    running = nullptr;
    DropFibers();
    block.memory.End();
    throw;
  }
  Acquire(&end_token_);
  block.memory.End();
}

}  // namespace

Options& GlobalOptions() {
  static Options options;
  return options;
}

const ThreadView& Self() { return TheMachine().running->view; }

void RunKernel(const LaunchShape& shape, const std::function<void()>& thread) {
  TheMachine().Run(shape, thread);
}

void Fail(std::string what, const Where& where) { TheMachine().Fail(std::move(what), where); }

void BlockBarrier(const Where& where) { TheMachine().Barrier(where); }

Meeting Meet(const char* what, const void* bytes, size_t n, bool orders, const Where& where) {
  return TheMachine().Meet(what, bytes, n, orders, where);
}

void* DynamicShared() { return TheMachine().block.memory.dynamic(); }
void* SharedVariable(const void* key, size_t bytes) {
  const Unseen unseen;
  return TheMachine().block.memory.Variable(key, bytes);
}
uint32_t ToShared(const void* p, const Where& where) {
  return TheMachine().block.memory.AddressOf(p, where);
}
void* FromShared(uint32_t address, size_t bytes, const Where& where) {
  return TheMachine().block.memory.At(address, bytes, where);
}

void CopyAsync16(uint32_t shared, const void* global, bool valid, const Where& where) {
  TheMachine().running->copies.Add(FromShared(shared, kCopyBytes, where), global, valid, where);
}
void CommitCopies() { TheMachine().running->copies.Commit(); }
void WaitForCopies(int groups_left) { TheMachine().running->copies.Wait(groups_left); }

}  // namespace catena::emulate
