// The linear layer of what tensor cores do not take: a chain of fma a value, k ascending, as the
// specification has it, whatever the type. For types that models seldom have, and for GPUs whose
// tensor cores know no bfloat16.
#include "kernels/cuda/linear_layer.h"

namespace catena::cuda {
namespace {

constexpr int kOutputs = 32, kRows = 8;  // of a block's tile, a thread each
constexpr int kChunk = 64;               // k at a time in shared memory

// Value k of a row of the segment.
__device__ float ReadValue(const DeviceSegment& w, int64_t row, int64_t k) {
  const uint8_t* data = w.data + row * w.row_bytes;
  if (!IsQuantised(w.dtype)) return ReadFloat(w.dtype, data, k);
  const int64_t block = k / kInputBlock;
  return ReadQuant(w.dtype, data + block * CodeBytes(w.dtype),
                   w.scales + (row * (w.cols / kInputBlock) + block) * ScalesOfBlock(w.dtype),
                   static_cast<int>(k % kInputBlock));
}

__global__ void ChainTile(LinearLayer layer) {
  const DeviceSegment& w = layer.weight;
  const Inputs& inputs = layer.inputs;
  CATENA_SHARED(float, weights, [kChunk][kOutputs + 1]);
  CATENA_SHARED(float, x, [kRows][kChunk]);
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kOutputs;
  const int first_row = static_cast<int>(blockIdx.y) * kRows;
  const int n = Lane(), r = Warp();
  float acc = 0.0f;
  for (int64_t k0 = 0; k0 < w.cols; k0 += kChunk) {
    const int chunk = static_cast<int>(w.cols - k0 < kChunk ? w.cols - k0 : kChunk);
    for (int i = Thread(); i < kOutputs * kChunk; i += kOutputs * kRows) {
      const int k = i % kChunk;
      const int64_t output = first + i / kChunk;
      const bool inside = k < chunk && output < w.rows;
      weights[k][i / kChunk] = inside ? ReadValue(w, output, k0 + k) : 0.0f;
    }
    for (int i = Thread(); i < kRows * kChunk; i += kOutputs * kRows) {
      const int row = i / kChunk, k = i % kChunk;
      const bool inside = k < chunk && first_row + row < layer.out.rows;
      const auto* values = static_cast<const float*>(inputs.values);
      x[row][k] = inside ? values[(first_row + row) * inputs.stride + k0 + k] : 0.0f;
    }
    __syncthreads();
    for (int k = 0; k < chunk; ++k) acc = fmaf(x[r][k], weights[k][n], acc);
    __syncthreads();
  }
  EndValue(layer, first_row + r, first + n, acc);
}

}  // namespace

void LinearFloat(cudaStream_t stream, const LinearLayer& layer) {
  LaunchTiles<kOutputs, kRows>(stream, kOutputs * kRows, layer, ChainTile);
}

}  // namespace catena::cuda
