// The largest logits of each row, a block a row. Of kGroups interleaved groups of the row the
// kTopLogits-th largest maximum is no larger than the kTopLogits-th largest logit, so only what is
// at least that is looked at: little more than kTopLogits, but in rows made for the purpose.
#include "kernels/base/top_logits.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/ops.h"

namespace catena::cuda {
namespace {

constexpr int kThreads = 1024, kGroups = 256, kThreadsOfGroup = kThreads / kGroups;
constexpr int kRoom = 1024;  // for what is looked at
static_assert(kGroups >= kTopLogits && kRoom >= kTopLogits && kRoom <= kThreads);

using Key = unsigned long long;
constexpr Key kNoKey = 0;  // less than any

// Larger for what comes first: a larger logit, of equal ones the lower id. All are different.
__device__ __forceinline__ Key KeyOf(float logit, int id) {
  const unsigned bits = __float_as_uint(logit + 0.0f);  // -0 is 0
  const unsigned ordered = (bits & 0x80000000) != 0 ? ~bits : bits | 0x80000000;
  return static_cast<Key>(ordered) << 32 | (0xffffffff - static_cast<unsigned>(id));
}
__device__ __forceinline__ int IdOf(Key key) {
  return static_cast<int>(0xffffffff - static_cast<unsigned>(key));
}
__device__ __forceinline__ Key Larger(Key a, Key b) { return a > b ? a : b; }

struct Selection {
  Key maxima[kGroups];
  Key found[kRoom];
  Key bound;  // what is found is at least this
  int not_finite, n;
};

// How many of keys[0, n) are larger.
__device__ __forceinline__ int RankOf(Key key, const Key* keys, int n) {
  int rank = 0;
  for (int i = 0; i < n; ++i) rank += keys[i] > key ? 1 : 0;
  return rank;
}

// The thread's largest key below `below`; counts what is not finite.
__device__ __forceinline__ Key LargestBelow(Key below, const float* row, int cols,
                                            int* not_finite) {
  Key largest = kNoKey;
  for (int id = Thread(); id < cols; id += kThreads) {
    const float z = row[id];
    if (z - z != 0.0f) atomicAdd(not_finite, 1);
    const Key key = KeyOf(z, id);
    if (key < below) largest = Larger(largest, key);
  }
  return largest;
}

// Where too many are at least the bound: one after the other.
__device__ void FindInTurn(const float* row, int cols, Selection* s) {
  Key below = ~Key{0};
  for (int i = 0; i < kTopLogits; ++i) {
    Key largest = LargestBelow(below, row, cols, &s->not_finite);
    for (int bits = kWarpLanes / 2; bits > 0; bits /= 2) {
      largest = Larger(largest, __shfl_xor_sync(kWholeWarp, largest, bits));
    }
    if (Lane() == 0) s->maxima[Warp()] = largest;
    __syncthreads();
    below = kNoKey;
    for (int warp = 0; warp < kThreads / kWarpLanes; ++warp) below = Larger(below, s->maxima[warp]);
    if (Thread() == 0) s->found[i] = below;
    __syncthreads();
  }
}

__global__ __launch_bounds__(kThreads) void TopOfRow(DeviceFloats logits, TopLogits* out) {
  CATENA_SHARED(Selection, selection, [1]);
  Selection& s = selection[0];
  const float* row = logits.data + blockIdx.x * logits.stride;
  TopLogits& top = out[blockIdx.x];
  const int cols = static_cast<int>(logits.cols);
  if (Thread() == 0) {
    s.not_finite = 0;
    s.n = 0;
  }
  __syncthreads();
  Key largest = LargestBelow(~Key{0}, row, cols, &s.not_finite);
  for (int bits = kThreadsOfGroup / 2; bits > 0; bits /= 2) {
    largest = Larger(largest, __shfl_xor_sync(kWholeWarp, largest, bits));
  }
  const int group = Thread() / kThreadsOfGroup;
  if (Thread() % kThreadsOfGroup == 0) s.maxima[group] = largest;
  __syncthreads();
  const int count = cols < kTopLogits ? cols : kTopLogits;
  if (cols < kThreads) {  // with groups that are empty, and all of it may be looked at
    if (Thread() == 0) s.bound = kNoKey;
  } else if (Thread() % kThreadsOfGroup == 0 &&
             RankOf(largest, s.maxima, kGroups) == kTopLogits - 1) {
    s.bound = largest;
  }
  __syncthreads();
  for (int id = Thread(); id < cols; id += kThreads) {
    const Key key = KeyOf(row[id], id);
    if (key < s.bound) continue;
    const int at = atomicAdd(&s.n, 1);
    if (at < kRoom) s.found[at] = key;
  }
  __syncthreads();
  const bool in_turn = s.n > kRoom;
  if (in_turn) FindInTurn(row, cols, &s);
  const int n = in_turn ? count : s.n;
  const bool finite = s.not_finite == 0;
  if (Thread() == 0) {
    top.finite = finite ? 1 : 0;
    top.count = finite ? count : 0;
  }
  if (Thread() < kTopLogits && (!finite || Thread() >= count)) {
    top.ids[Thread()] = 0;
    top.logits[Thread()] = 0.0f;
  }
  if (!finite || Thread() >= n) return;
  const Key key = s.found[Thread()];
  const int rank = RankOf(key, s.found, n);
  if (rank >= count) return;
  top.ids[rank] = IdOf(key);
  top.logits[rank] = row[IdOf(key)];
}

}  // namespace

void TopOfRows(cudaStream_t stream, const DeviceFloats& logits, TopLogits* out) {
  Launch(stream, dim3(static_cast<unsigned>(logits.rows)), kThreads, 0, TopOfRow, logits, out);
}

}  // namespace catena::cuda
