// The linear layer of quantised weights: integer sums of blocks of 32, which are exact, and a chain
// of fma over the blocks, ascending, as the specification has it: the CPU's bits.
//
// What is heavy is done in any order: a lane a block, it reads its codes and multiplies them by the
// inputs of each row. What has an order is light: a thread an output and row adds up what the lanes
// left in shared memory. Both take turns, kSegment blocks of 32 at a time.
#include "kernels/cuda/device.h"
#include "kernels/cuda/ops.h"

namespace catena::cuda {
namespace {

constexpr int kWarps = 8, kThreads = kWarps * kWarpLanes;
constexpr int kOutputs = 32;  // of a block's tile, a lane each in the chains
constexpr int kOutputsOfWarp = kOutputs / kWarps;
constexpr int kManyRows = kWarps;        // of a tile, a warp each in the chains
constexpr int kSegment = kWarpLanes;     // blocks of 32 k at a time
constexpr int kWords = kInputBlock / 4;  // a block's values, four a word

// A block's codes as they are read, and its values as signed bytes.
template <DType kType>
struct Codes {
  static constexpr int kPieces = kType == DType::kQ8_0 ? 2 : 1;  // of 16 bytes
  uint4 piece[kPieces];

  __device__ __forceinline__ void Load(const DeviceSegment& w, int64_t row, int64_t block) {
    const uint8_t* at = w.data + row * w.row_bytes + block * kPieces * 16;
#pragma unroll
    for (int i = 0; i < kPieces; ++i) piece[i] = ptx::LoadOnce(at + 16 * i);
  }

  __device__ __forceinline__ void Unpack(int (&values)[kWords]) const {
    const uint4 first = piece[0], last = piece[kPieces - 1];
    const unsigned words[8] = {first.x, first.y, first.z, first.w, last.x, last.y, last.z, last.w};
#pragma unroll
    for (int i = 0; i < kWords; ++i) {
      if (kType == DType::kQ8_0) {
        values[i] = static_cast<int>(words[i]);
        continue;
      }
      const unsigned nibbles = words[i % 4] >> (i < 4 ? 0 : 4) & 0x0f0f0f0f;
      // Less 8 in each byte: no borrow goes over, as each has its top bit set.
      const unsigned lessened = ((nibbles | 0x80808080) - 0x08080808) ^ 0x80808080;
      values[i] = static_cast<int>(kType == DType::kQ4_0 ? lessened : nibbles);
    }
  }
};

template <int kRows>
struct Products {
  float of[kOutputs][kRows][kSegment + 1];  // a block's scale times its integer sum
  float minimum[kOutputs][kSegment + 1];
  float input_scale[kRows][kSegment];
  float input_sum[kRows][kSegment];  // times the scale
};

// The lane's block of a row's inputs.
struct InputBlock {
  int word[kWords];
  __device__ __forceinline__ InputBlock(const Inputs& inputs, int64_t row, int64_t block) {
    const auto* at = reinterpret_cast<const uint4*>(static_cast<const int8_t*>(inputs.values) +
                                                    row * inputs.stride + block * kInputBlock);
    const uint4 a = at[0], b = at[1];
    const unsigned words[kWords] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
#pragma unroll
    for (int i = 0; i < kWords; ++i) word[i] = static_cast<int>(words[i]);
  }
};

template <DType kType, int kRows>
__global__ __launch_bounds__(kThreads) void QuantTile(Inputs inputs, int rows, DeviceSegment w,
                                                      bool add, DeviceFloats out) {
  constexpr bool kMinima = kType == DType::kQ4_1;
  constexpr int kOnes = 0x01010101;
  CATENA_SHARED(Products<kRows>, products, [1]);
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kOutputs;
  const int first_row = static_cast<int>(blockIdx.y) * kRows;
  const int rows_here = rows - first_row < kRows ? rows - first_row : kRows;
  const int64_t blocks = w.cols / kInputBlock;
  Codes<kType> codes[kOutputsOfWarp];
  const auto row_of = [&](int i) {
    const int64_t row = first + Warp() * kOutputsOfWarp + i;
    return row < w.rows ? row : w.rows - 1;
  };
  const auto load = [&](int64_t block) {
    if (block >= blocks) return;
#pragma unroll
    for (int i = 0; i < kOutputsOfWarp; ++i) codes[i].Load(w, row_of(i), block);
  };
  load(Lane());
  float acc = 0.0f;
  for (int64_t b0 = 0; b0 < blocks; b0 += kSegment) {
    const int64_t block = b0 + Lane();
    if (block < blocks) {
      int values[kOutputsOfWarp][kWords];
      float scale[kOutputsOfWarp];
#pragma unroll
      for (int i = 0; i < kOutputsOfWarp; ++i) {
        codes[i].Unpack(values[i]);
        const uint16_t* halves = w.scales + (row_of(i) * blocks + block) * (kMinima ? 2 : 1);
        scale[i] = ptx::HalfToFloat(halves[0]);
        if (kMinima) {
          products[0].minimum[Warp() * kOutputsOfWarp + i][Lane()] = ptx::HalfToFloat(halves[1]);
        }
      }
      for (int r = 0; r < rows_here; ++r) {
        const InputBlock x(inputs, first_row + r, block);
#pragma unroll
        for (int i = 0; i < kOutputsOfWarp; ++i) {
          int dot = 0;
#pragma unroll
          for (int k = 0; k < kWords; ++k) dot = __dp4a(values[i][k], x.word[k], dot);
          products[0].of[Warp() * kOutputsOfWarp + i][r][Lane()] =
              scale[i] * static_cast<float>(dot);
        }
        if (r % kWarps != Warp()) continue;
        int sum = 0;
#pragma unroll
        for (int k = 0; k < kWords; ++k) sum = __dp4a(kOnes, x.word[k], sum);
        const float d = inputs.scales[(first_row + r) * (inputs.stride / kInputBlock) + block];
        products[0].input_scale[r][Lane()] = d;
        products[0].input_sum[r][Lane()] = d * static_cast<float>(sum);
      }
    }
    load(block + kSegment);
    __syncthreads();
    if (Warp() < rows_here) {
      const int n = blocks - b0 < kSegment ? static_cast<int>(blocks - b0) : kSegment;
      for (int b = 0; b < n; ++b) {
        acc = fmaf(products[0].of[Lane()][Warp()][b], products[0].input_scale[Warp()][b], acc);
        if (!kMinima) continue;
        acc = fmaf(products[0].minimum[Lane()][b], products[0].input_sum[Warp()][b], acc);
      }
    }
    __syncthreads();
  }
  if (Warp() >= rows_here || first + Lane() >= w.rows) return;
  float* to = out.data + (first_row + Warp()) * out.stride + w.first + first + Lane();
  *to = add ? *to + acc : acc;
}

template <DType kType>
void LaunchTiles(cudaStream_t stream, const Inputs& inputs, const DeviceSegment& segment, bool add,
                 const DeviceFloats& out) {
  const auto tiles = static_cast<unsigned>(CeilDiv(segment.rows, kOutputs));
  if (out.rows == 1) {
    Launch(stream, dim3(tiles), kThreads, 0, QuantTile<kType, 1>, inputs, 1, segment, add, out);
    return;
  }
  Launch(stream, dim3(tiles, static_cast<unsigned>(CeilDiv(out.rows, kManyRows))), kThreads, 0,
         QuantTile<kType, kManyRows>, inputs, out.rows, segment, add, out);
}

}  // namespace

void LinearInt8(cudaStream_t stream, const Inputs& inputs, const DeviceSegment& segment, bool add,
                const DeviceFloats& out) {
  if (segment.dtype == DType::kQ8_0) {
    LaunchTiles<DType::kQ8_0>(stream, inputs, segment, add, out);
  } else if (segment.dtype == DType::kQ4_0) {
    LaunchTiles<DType::kQ4_0>(stream, inputs, segment, add, out);
  } else {
    LaunchTiles<DType::kQ4_1>(stream, inputs, segment, add, out);
  }
}

}  // namespace catena::cuda
