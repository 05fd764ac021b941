// The linear layer of quantised weights: integer sums of blocks of 32, which are exact, and a chain
// of fma over the blocks, ascending, as the specification has it: the CPU's bits.
//
// What is heavy is done in any order: a lane a block, it reads its codes and multiplies them by the
// inputs of each row. What has an order is light: a thread an output and row adds up what the lanes
// left in shared memory. Both take turns, kSegment blocks of 32 at a time.
#include "kernels/cuda/linear_layer.h"

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

// The chain of the lane's output in the warp's row, over n blocks more.
template <bool kMinima, int kRows>
__device__ __forceinline__ float AddBlocks(const Products<kRows>& products, int n, float acc) {
  for (int b = 0; b < n; ++b) {
    acc = fmaf(products.of[Lane()][Warp()][b], products.input_scale[Warp()][b], acc);
    if (kMinima) acc = fmaf(products.minimum[Lane()][b], products.input_sum[Warp()][b], acc);
  }
  return acc;
}

template <DType kType, int kRows>
__global__ __launch_bounds__(kThreads) void QuantTile(LinearLayer layer) {
  constexpr bool kMinima = kType == DType::kQ4_1;
  constexpr int kOnes = 0x01010101;
  CATENA_SHARED(Products<kRows>, products, [1]);
  const DeviceSegment& w = layer.weight;
  const Inputs& inputs = layer.inputs;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kOutputs;
  const int first_row = static_cast<int>(blockIdx.y) * kRows;
  const int rows_left = layer.out.rows - first_row;
  const int rows_here = rows_left < kRows ? rows_left : kRows;
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
      acc = AddBlocks<kMinima>(products[0], n, acc);
    }
    __syncthreads();
  }
  if (Warp() < rows_here) EndValue(layer, first_row + Warp(), first + Lane(), acc);
}

template <DType kType>
void Multiply(cudaStream_t stream, const LinearLayer& layer) {
  if (layer.out.rows == 1) {
    LaunchTiles<kOutputs, 1>(stream, kThreads, layer, QuantTile<kType, 1>);
  } else {
    LaunchTiles<kOutputs, kManyRows>(stream, kThreads, layer, QuantTile<kType, kManyRows>);
  }
}

}  // namespace

void LinearInt8(cudaStream_t stream, const LinearLayer& layer) {
  switch (layer.weight.dtype) {
    case DType::kQ8_0:
      return Multiply<DType::kQ8_0>(stream, layer);
    case DType::kQ4_0:
      return Multiply<DType::kQ4_0>(stream, layer);
    default:
      return Multiply<DType::kQ4_1>(stream, layer);
  }
}

}  // namespace catena::cuda
