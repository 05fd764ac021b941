#include "kernels/peak/machine_peak.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <fstream>
#include <limits>
#include <system_error>
#include <vector>

#include "kernels/base/huge_buffer.h"
#include "kernels/peak/loops.h"
#include "kernels/peak/pinned_pool.h"

namespace catena {
namespace {

using Clock = std::chrono::steady_clock;
using cpu::peak::Bf16Loop;
using cpu::peak::F32Loop;
using cpu::peak::Int8Loop;
using cpu::peak::ReadLoop;

constexpr int64_t kChunkBytes = int64_t{1} << 20;  // a unit of reading: 40 µs at 25 GB/s
constexpr int64_t kBytesPerThread = 64 * kChunkBytes, kLeastBytes = 1024 * kChunkBytes;

// The best of many short passes is one that met no other program: a pass reads an eighth of the
// buffer, and what it read last time has left the caches when it comes there again.
constexpr int kSegments = 8;

// A unit of arithmetic takes 50 µs or more, so that handing it out costs nothing; a pass 2 ms.
constexpr int64_t kRounds = int64_t{1} << 14, kUnitsPerThread = 40;

// Of operands: a number near 0.75 in float and bfloat16, 63 in int8. No sum overflows.
constexpr int kOperandByte = 0x3F;

// The memory that can be taken now: the system's, or what a container's limit (cgroup v2) leaves.
int64_t FreeBytes() {
  int64_t free = std::numeric_limits<int64_t>::max(), limit = 0, used = 0;
  std::ifstream meminfo("/proc/meminfo");
  for (std::string word; meminfo >> word;) {
    if (int64_t kib = 0; word == "MemAvailable:" && meminfo >> kib) free = kib << 10;
  }
  std::ifstream max("/sys/fs/cgroup/memory.max"), current("/sys/fs/cgroup/memory.current");
  if (max >> limit && current >> used) free = std::min(free, std::max<int64_t>(0, limit - used));
  return free;
}

// A buffer's memory is taken when it is touched, and then there is nobody to tell.
absl::StatusOr<HugeBuffer> AllocateToRead(int64_t bytes) {
  const int64_t free = FreeBytes();
  if (bytes <= free) {
    auto buffer = HugeBuffer::Allocate(static_cast<size_t>(bytes));
    if (buffer.ok()) return buffer;
  }
  return absl::ResourceExhaustedError(fmt::format(
      "measuring the read bandwidth takes {} MiB of memory, and at most {} MiB are free; stop "
      "other programs, raise the memory limit, or give fewer threads",
      bytes >> 20, free >> 20));
}

// The chunks of a buffer, a part of them a worker, so that each reads what it touched first (on the
// same NUMA node). Who is through with its own part helps others.
class Chunks {
 public:
  Chunks(const HugeBuffer& buffer, ThreadPool* pool)
      : buffer_(buffer), pool_(pool), parts_(static_cast<size_t>(pool->threads())) {}

  // Calls fn(chunk) for each chunk of segment `segment` of `segments` of every part, on all
  // threads. Gives their bytes.
  template <class Fn>
  int64_t Each(int segment, int segments, const Fn& fn) {
    const auto count = static_cast<int64_t>(buffer_.bytes()) / kChunkBytes;
    const auto pieces = static_cast<int64_t>(parts_.size()) * segments;
    int64_t units = 0;
    for (size_t p = 0; p < parts_.size(); ++p) {
      const int64_t piece = static_cast<int64_t>(p) * segments + segment;
      const int64_t begin = count * piece / pieces;
      parts_[p].next.store(begin, std::memory_order_relaxed);
      parts_[p].end = count * (piece + 1) / pieces;
      units += parts_[p].end - begin;
    }
    pool_->For(units,
               [&](int64_t, int worker) { fn(buffer_.data() + Take(worker) * kChunkBytes); });
    return units * kChunkBytes;
  }

 private:
  struct alignas(64) Part {
    std::atomic<int64_t> next = 0;
    int64_t end = 0;
  };

  // There is one left: a loop has as many units as there are chunks.
  int64_t Take(int worker) {
    for (auto p = static_cast<size_t>(worker);; p = (p + 1) % parts_.size()) {
      const int64_t chunk = parts_[p].next.fetch_add(1, std::memory_order_relaxed);
      if (chunk < parts_[p].end) return chunk;
    }
  }

  const HugeBuffer& buffer_;
  ThreadPool* pool_;
  std::vector<Part> parts_;
};

// The most a second of the passes that `seconds` have room for; pass() gives how much it did.
template <class Pass>
double BestRate(double seconds, const Pass& pass) {
  using Seconds = std::chrono::duration<double>;
  double best = 0;
  const Clock::time_point start = Clock::now();
  for (Clock::time_point now = start; Seconds(now - start).count() < seconds || now == start;) {
    const Clock::time_point pass_start = now;
    const auto done = static_cast<double>(pass());
    now = Clock::now();
    best = std::max(best, done / Seconds(now - pass_start).count());
  }
  return best;
}

Peak MeasureRead(const HugeBuffer& buffer, double seconds, ThreadPool* pool) {
  Chunks chunks(buffer, pool);
  const ReadLoop loop = cpu::peak::ReadLoops().front();
  const auto rate = [&](auto sum) {
    int segment = 0;
    return BestRate(seconds, [&] {
      segment = (segment + 1) % kSegments;
      return chunks.Each(segment, kSegments, [&](const uint8_t* p) { sum(p, kChunkBytes); });
    });
  };
  const double plain = rate(loop.sum), prefetched = rate(loop.sum_prefetched);
  const std::string name(loop.instructions);
  return plain >= prefetched ? Peak{plain, name} : Peak{prefetched, name + " + prefetch"};
}

template <class Loop>
Peak MeasureMacs(const Loop& loop, double seconds, ThreadPool* pool) {
  constexpr int kValues = cpu::peak::kMostLanes * Loop::kGroup;
  alignas(64) typename Loop::A a[kValues];
  alignas(64) typename Loop::B b[kValues];
  std::memset(a, kOperandByte, sizeof a);
  std::memset(b, kOperandByte, sizeof b);
  const int64_t units = kUnitsPerThread * pool->threads();
  const double rate = BestRate(seconds, [&] {
    pool->For(units, [&](int64_t, int) {
      alignas(64) typename Loop::Sum sums[cpu::peak::kSums * cpu::peak::kMostLanes] = {};
      loop.run(kRounds, a, b, sums);
    });
    return units * kRounds * loop.macs_per_round();
  });
  return {rate, std::string(loop.instructions)};
}

MachinePeak MeasureThreads(const HugeBuffer& buffer, double seconds, ThreadPool* pool) {
  MachinePeak out;
  out.threads = pool->threads();
  out.read_bytes = MeasureRead(buffer, seconds, pool);
  out.f32_macs = MeasureMacs(cpu::peak::F32Loops().front(), seconds, pool);
  out.int8_macs = MeasureMacs(cpu::peak::Int8Loops().front(), seconds, pool);
  const std::vector<Bf16Loop> bf16 = cpu::peak::Bf16Loops();
  if (!bf16.empty()) out.bf16_macs = MeasureMacs(bf16.front(), seconds, pool);
  return out;
}

absl::StatusOr<std::vector<MachinePeak>> Measure(const MachinePeakOptions& o) {
  const int most = *std::max_element(o.threads.begin(), o.threads.end());
  int64_t bytes = o.read_bytes > 0 ? o.read_bytes : std::max(kLeastBytes, most * kBytesPerThread);
  bytes = std::max(bytes, most * kSegments * kChunkBytes);  // no segment is empty
  CATENA_ASSIGN_OR_RETURN(const HugeBuffer buffer,
                          AllocateToRead((bytes + kChunkBytes - 1) / kChunkBytes * kChunkBytes));
  {
    PinnedPool pool(most);
    Chunks(buffer, pool.get()).Each(0, 1, [](uint8_t* chunk) {
      std::memset(chunk, 1, kChunkBytes);
    });
  }
  std::vector<MachinePeak> out;
  for (const int threads : o.threads) {
    PinnedPool pool(threads);
    out.push_back(MeasureThreads(buffer, o.seconds_each, pool.get()));
  }
  return out;
}

}  // namespace

absl::StatusOr<std::vector<MachinePeak>> MeasureMachinePeak(const MachinePeakOptions& options) {
  CATENA_CHECK(!options.threads.empty());
  try {
    return Measure(options);
  } catch (const std::system_error&) {
    return absl::ResourceExhaustedError("that many threads cannot be started; give fewer");
  }
}

}  // namespace catena
