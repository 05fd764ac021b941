// The linear layer by tensor cores: weights and inputs in bfloat16, sums in float32.
//
// One order of sums for any number of rows, so that a row's bits depend on nothing but itself and
// the weight. K goes in steps of kInputBlock, each two instructions of 16 k; the steps are cut into
// kSlabs runs (SlabBegin), each one chain of instructions from +0 on, ascending; the runs' sums are
// added ascending. Few rows: a warp of a block a slab. Many: a warp computes all slabs of a larger
// tile, or, where such tiles are too few to fill the GPU, one, and another kernel adds.
//
// Which k meet in an instruction. Lane 4g + t loads k = 8t to 8t + 7 of a step as one piece of 16
// bytes, of a weight's row as of an input's: its first four go into the first instruction, the
// others into the second. So files' rows need no other layout, and no value moves between lanes.
#include "kernels/cuda/linear_layer.h"

namespace catena::cuda {
namespace {

constexpr int kThreads = kSlabs * kWarpLanes;
constexpr int kMmaOutputs = 16, kMmaRows = 8;
constexpr int kAhead = 4;  // steps of weights a lane has under way

__device__ __forceinline__ int SlabBegin(int steps, int slab) { return steps * slab / kSlabs; }

// The 16 bytes of row `row` that the lane has of a step; of the last row where there is no such.
__device__ __forceinline__ const uint8_t* WeightRow(const DeviceSegment& w, int64_t row) {
  return w.data + (row < w.rows ? row : w.rows - 1) * w.row_bytes + Lane() % 4 * 16;
}

// A step's weights of the lane: of output g and of output g + 8.
struct WeightPair {
  uint4 low, high;
};
__device__ __forceinline__ WeightPair LoadWeights(const uint8_t* low, const uint8_t* high,
                                                  int step) {
  const int64_t at = int64_t{step} * kInputBlock * 2;
  return {ptx::LoadOnce(low + at), ptx::LoadOnce(high + at)};
}

// acc: outputs g, g, g + 8, g + 8 of rows 2t, 2t + 1, 2t, 2t + 1.
__device__ __forceinline__ void Multiply(const WeightPair& w, const uint4& x, float (&acc)[4]) {
  const uint32_t first[4] = {w.low.x, w.high.x, w.low.y, w.high.y}, first_x[2] = {x.x, x.y};
  ptx::MmaBf16(acc, first, first_x);
  const uint32_t second[4] = {w.low.z, w.high.z, w.low.w, w.high.w}, second_x[2] = {x.z, x.w};
  ptx::MmaBf16(acc, second, second_x);
}

// A block: 16 outputs of 8 kTiles rows, a slab a warp.
template <int kTiles>
__global__ __launch_bounds__(kThreads) void FewRows(LinearLayer layer) {
  constexpr int kRows = kTiles * kMmaRows;
  const DeviceSegment& w = layer.weight;
  const Inputs& inputs = layer.inputs;
  const int rows = layer.out.rows;
  CATENA_SHARED(float, sums, [kSlabs][kRows][kMmaOutputs + 1]);
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kMmaOutputs;
  const int g = Lane() / 4, t = Lane() % 4;
  const int steps = static_cast<int>(inputs.stride / kInputBlock);
  const int begin = SlabBegin(steps, Warp()), end = SlabBegin(steps, Warp() + 1);
  const uint8_t *low = WeightRow(w, first + g), *high = WeightRow(w, first + g + 8);
  WeightPair ahead[kAhead];
#pragma unroll
  for (int i = 0; i < kAhead; ++i) {
    if (begin + i < end) ahead[i] = LoadWeights(low, high, begin + i);
  }
  const uint16_t* x[kTiles];
  float acc[kTiles][4] = {};
  for (int j = 0; j < kTiles; ++j) {
    const int row = j * kMmaRows + g < rows ? j * kMmaRows + g : rows - 1;
    x[j] = static_cast<const uint16_t*>(inputs.values) + row * inputs.stride + 8 * t;
  }
  for (int step = begin; step < end; step += kAhead) {
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      if (step + i >= end) continue;
#pragma unroll
      for (int j = 0; j < kTiles; ++j) {
        const auto* at = x[j] + int64_t{step + i} * kInputBlock;
        Multiply(ahead[i], *reinterpret_cast<const uint4*>(at), acc[j]);
      }
      if (step + i + kAhead < end) ahead[i] = LoadWeights(low, high, step + i + kAhead);
    }
  }
  for (int j = 0; j < kTiles; ++j) {
    for (int i = 0; i < 4; ++i) {
      sums[Warp()][j * kMmaRows + 2 * t + i % 2][g + i / 2 * 8] = acc[j][i];
    }
  }
  __syncthreads();
  if (Thread() >= kRows * kMmaOutputs) return;
  const int row = Thread() / kMmaOutputs, n = Thread() % kMmaOutputs;
  float sum = sums[0][row][n];
  for (int slab = 1; slab < kSlabs; ++slab) sum += sums[slab][row][n];
  EndValue(layer, row, first + n, sum);
}

// The inputs of a tile's rows, step by step, through shared memory.
constexpr int kTileRows = 64, kTilesOfRows = kTileRows / kMmaRows, kStages = 4;
constexpr int kPieces = 4;  // of 16 bytes a row has in a step: rows lie 64 bytes apart, so that
                            // the eight lanes that read at once meet in no bank
using Stage = uint4[kTileRows][kPieces];

__device__ __forceinline__ void CopyStep(const Inputs& inputs, int first_row, int rows, int step,
                                         Stage* stages) {
  const int row = Thread() / kPieces, piece = Thread() % kPieces;
  const bool inside = first_row + row < rows;
  const auto* from = static_cast<const uint16_t*>(inputs.values) +
                     (inside ? first_row + row : 0) * inputs.stride + step * kInputBlock;
  ptx::CopyAsync16(&stages[step % kStages][row][piece], from + piece * 8, inside);
}

// A block: kTileOutputs outputs of kTileRows rows, 16 outputs a warp. kSplit: only slab blockIdx.z,
// whose sum goes to `scratch`, (kSlabs, rows, w.rows).
template <bool kSplit>
__global__ __launch_bounds__(kThreads) void ManyRows(LinearLayer layer, float* scratch) {
  const DeviceSegment& w = layer.weight;
  const Inputs& inputs = layer.inputs;
  const int rows = layer.out.rows;
  CATENA_SHARED(uint4, stages, [kStages][kTileRows][kPieces]);
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kTileOutputs + Warp() * kMmaOutputs;
  const int first_row = static_cast<int>(blockIdx.y) * kTileRows;
  const int g = Lane() / 4, t = Lane() % 4;
  const int steps = static_cast<int>(inputs.stride / kInputBlock);
  const int first_slab = kSplit ? static_cast<int>(blockIdx.z) : 0;
  const int end_slab = kSplit ? first_slab + 1 : kSlabs;
  const int begin = SlabBegin(steps, first_slab), end = SlabBegin(steps, end_slab);
  const uint8_t *low = WeightRow(w, first + g), *high = WeightRow(w, first + g + 8);
  for (int i = 0; i < kStages - 1; ++i) {
    if (begin + i < end) CopyStep(inputs, first_row, rows, begin + i, stages);
    ptx::CommitCopies();
  }
  WeightPair next = {};
  if (begin < end) next = LoadWeights(low, high, begin);
  float sum[kTilesOfRows][4] = {};
  for (int slab = first_slab; slab < end_slab; ++slab) {
    float acc[kTilesOfRows][4] = {};
    for (int step = SlabBegin(steps, slab); step < SlabBegin(steps, slab + 1); ++step) {
      const WeightPair weights = next;
      if (step + 1 < end) next = LoadWeights(low, high, step + 1);
      ptx::WaitForCopies<kStages - 2>();
      __syncthreads();  // the step's inputs are there, and all are done with those before
      if (step + kStages - 1 < end) {
        CopyStep(inputs, first_row, rows, step + kStages - 1, stages);
      }
      ptx::CommitCopies();
#pragma unroll
      for (int j = 0; j < kTilesOfRows; ++j) {
        Multiply(weights, stages[step % kStages][j * kMmaRows + g][t], acc[j]);
      }
    }
#pragma unroll
    for (int j = 0; j < kTilesOfRows; ++j) {
      for (int i = 0; i < 4; ++i)
        sum[j][i] = slab == first_slab ? acc[j][i] : sum[j][i] + acc[j][i];
    }
  }
#pragma unroll
  for (int j = 0; j < kTilesOfRows; ++j) {
    for (int i = 0; i < 4; ++i) {
      const int row = first_row + j * kMmaRows + 2 * t + i % 2;
      const int64_t n = first + g + i / 2 * 8;
      if (!kSplit) {
        EndValue(layer, row, n, sum[j][i]);
      } else if (row < rows && n < w.rows) {
        scratch[(int64_t{first_slab} * rows + row) * w.rows + n] = sum[j][i];
      }
    }
  }
}

__global__ void AddSlabs(LinearLayer layer, const float* scratch) {
  const int64_t outputs = layer.weight.rows, rows = layer.out.rows;
  const int64_t n = static_cast<int64_t>(blockIdx.x) * kThreads + Thread();
  if (n >= outputs) return;
  const float* slab = scratch + blockIdx.y * outputs + n;
  float sum = *slab;
  for (int i = 1; i < kSlabs; ++i) {
    slab += rows * outputs;
    sum += *slab;
  }
  EndValue(layer, blockIdx.y, n, sum);
}

}  // namespace

void LinearBf16(cudaStream_t stream, const LinearLayer& layer, const LinearScratch& scratch) {
  const int rows = layer.out.rows;
  if (rows <= kMmaRows) {
    return LaunchTiles<kMmaOutputs, kMmaRows>(stream, kThreads, layer, FewRows<1>);
  }
  if (rows <= 2 * kMmaRows) {
    return LaunchTiles<kMmaOutputs, 2 * kMmaRows>(stream, kThreads, layer, FewRows<2>);
  }
  const int tiles = CeilDiv(layer.weight.rows, kTileOutputs);
  if (tiles >= scratch.multiprocessors || rows > kTileRows) {
    return LaunchTiles<kTileOutputs, kTileRows>(stream, kThreads, layer, ManyRows<false>, nullptr);
  }
  static_assert(kTileRows == kSplitRows);
  Launch(stream, dim3(static_cast<unsigned>(tiles), 1, kSlabs), kThreads, 0, ManyRows<true>, layer,
         scratch.data);
  LaunchTiles<kThreads, 1>(stream, kThreads, layer, AddSlabs, scratch.data);
}

}  // namespace catena::cuda
