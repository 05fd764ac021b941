// CUDA's machine on the CPU, for tests: each thread of a block is a fiber of one host thread, which
// is left only at barriers and where the lanes of a warp meet. So a run is deterministic, and what
// a GPU would leave undefined or hang on is reported with its place.
//
// Seen: barriers that threads of a block meet in different places or not at all; lanes of a warp
// that do not meet; shared memory, which is NaN before it is written and a heap block a variable,
// read past its end (the address sanitizer) or by a wrong shared address; asynchronous copies read
// before they were waited for, whose target is NaN till then; a missing barrier, by running the
// threads in other orders (Options::order), and surely by the thread sanitizer, to which each CUDA
// thread is a thread of its own, ordered by barriers alone.
// Not seen: the order of memory between blocks, whose stores are all visible at once; timing, bank
// conflicts, registers; how a tensor core rounds within one instruction.
//
// Rules for kernels: whole warps, and full masks. Shared variables by CATENA_SHARED. All PTX in
// kernels/cuda/ptx.h, whose other branch is instructions.h.
//
// Thread rules: one host thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>

namespace catena::emulate {

// Where a kernel called something. A function takes one as its last argument, by default the place
// of the call.
struct Where {
  static constexpr Where Here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
  }
  const char* file;
  int line;
};

struct Index3 {
  unsigned x = 1, y = 1, z = 1;
};

// Whose turn it is first, between two barriers. A race that one order hides shows in another.
enum class Order { kForward, kReverse, kShuffled };

// Of the machine.
struct Options {
  Order order = Order::kForward;
  int devices = 1;                  // all alike, with one memory
  int capability = 90;              // major and minor compute capability
  int multiprocessors = 4;          // so that a small matrix fills them
  size_t shared_limit = 227 << 10;  // bytes a block may ask for
  size_t memory = size_t{1} << 30;  // of the device
};
Options& GlobalOptions();

// What a kernel did wrong, with the block, the thread, its place and where the others are.
struct Fault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The CUDA thread that runs.
struct ThreadView {
  Index3 thread, block, block_dim, grid_dim;
  unsigned lane = 0;
};
const ThreadView& Self();

struct LaunchShape {
  Index3 grid, block;
  size_t shared_bytes = 0;  // dynamic
};

// Runs a kernel, one block after the other; `thread` is what each of its threads does. Throws
// Fault.
void RunKernel(const LaunchShape& shape, const std::function<void()>& thread);

// Ends the run: for what the running thread may not do.
[[noreturn]] void Fail(std::string what, const Where& where);

// --- what the running thread calls ---

void BlockBarrier(const Where& where);

// A meeting of the 32 lanes of a warp: each brings some bytes and then sees what all brought.
inline constexpr size_t kLaneBytes = 64, kWarpResultBytes = 1024;
struct Meeting {
  const std::byte* lane[32];  // what each brought
  std::byte* result;          // kWarpResultBytes that the lanes share
  bool last;                  // true for the one that came last
};
// `orders`: whether what lanes did to memory before is seen by the others after it.
Meeting Meet(const char* what, const void* bytes, size_t n, bool orders, const Where& where);

void* DynamicShared();
// A variable of the running block's shared memory: `key` names it.
void* SharedVariable(const void* key, size_t bytes);
// The 32-bit addresses that PTX has for shared memory.
uint32_t ToShared(const void* p, const Where& where);
void* FromShared(uint32_t address, size_t bytes, const Where& where);  // aligned to `bytes`

// Copies of 16 bytes to shared memory, zeros where not `valid`, that are done when waited for.
void CopyAsync16(uint32_t shared, const void* global, bool valid, const Where& where);
void CommitCopies();
void WaitForCopies(int groups_left);

}  // namespace catena::emulate
