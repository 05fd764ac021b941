// The linear layer of quantised weights: integer sums of blocks of 32, which are exact, and a chain
// of fma over the blocks, ascending, as the specification has it: the CPU's bits.
#include "kernels/cuda/device.h"
#include "kernels/cuda/ops.h"

namespace catena::cuda {
namespace {

constexpr int kOutputs = 32, kRows = 8;  // of a block's tile, a thread each
constexpr int kBlocks = 4;               // of 32 k, at a time in shared memory
constexpr int kWords = kInputBlock / 4;  // a block's quants, four a word
constexpr int kThreads = kOutputs * kRows;

// Four quants of a block, from value 4 * word on.
__device__ __forceinline__ int QuantWord(DType type, const uint8_t* codes, int word) {
  unsigned packed = 0;
  for (int i = 0; i < 4; ++i) {
    const int at = 4 * word + i;
    int q = 0;
    if (type == DType::kQ8_0) {
      q = static_cast<int8_t>(codes[at]);
    } else {
      const int code = at < 16 ? codes[at] & 15 : codes[at - 16] >> 4;
      q = type == DType::kQ4_0 ? code - 8 : code;
    }
    packed |= static_cast<unsigned>(q & 255) << (8 * i);
  }
  return static_cast<int>(packed);
}

struct Tile {
  int quants[kBlocks][kWords][kOutputs + 1];
  float scale[kBlocks][kOutputs], minimum[kBlocks][kOutputs];
  int inputs[kRows][kBlocks][kWords];
  float input_scale[kRows][kBlocks];
};

__device__ void LoadTile(const Inputs& inputs, int first_row, int rows, const DeviceSegment& w,
                         int64_t first, int64_t first_block, int blocks, Tile* tile) {
  const bool minima = w.dtype == DType::kQ4_1;
  const int head = minima ? 4 : 2, bytes = head + (w.dtype == DType::kQ8_0 ? 32 : 16);
  for (int i = Thread(); i < kOutputs * blocks * kWords; i += kThreads) {
    const int word = i % kWords, block = i / kWords % blocks, n = i / kWords / blocks;
    const int64_t row = first + n < w.rows ? first + n : w.rows - 1;
    const uint8_t* at = w.data + row * w.row_bytes + (first_block + block) * bytes;
    tile->quants[block][word][n] = QuantWord(w.dtype, at + head, word);
    if (word > 0) continue;
    const auto* halves = reinterpret_cast<const uint16_t*>(at);
    tile->scale[block][n] = ptx::HalfToFloat(halves[0]);
    tile->minimum[block][n] = minima ? ptx::HalfToFloat(halves[1]) : 0.0f;
  }
  for (int i = Thread(); i < kRows * blocks * kWords; i += kThreads) {
    const int word = i % kWords, block = i / kWords % blocks, r = i / kWords / blocks;
    const int64_t row = first_row + r < rows ? first_row + r : rows - 1;
    const int64_t at = (row * inputs.stride) / kInputBlock + first_block + block;
    tile->inputs[r][block][word] = static_cast<const int*>(inputs.values)[at * kWords + word];
    if (word == 0) tile->input_scale[r][block] = inputs.scales[at];
  }
}

__global__ void QuantTile(Inputs inputs, int rows, DeviceSegment w, bool add, DeviceFloats out) {
  CATENA_SHARED(Tile, tile, [1]);
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kOutputs;
  const int first_row = static_cast<int>(blockIdx.y) * kRows;
  const int n = Lane(), r = Warp();
  const int64_t all = w.cols / kInputBlock;
  const bool minima = w.dtype == DType::kQ4_1;
  constexpr int kOnes = 0x01010101;
  float acc = 0.0f;
  for (int64_t b0 = 0; b0 < all; b0 += kBlocks) {
    const int blocks = static_cast<int>(all - b0 < kBlocks ? all - b0 : kBlocks);
    LoadTile(inputs, first_row, rows, w, first, b0, blocks, &tile[0]);
    __syncthreads();
    for (int b = 0; b < blocks; ++b) {
      int dot = 0, sum = 0;
#pragma unroll
      for (int word = 0; word < kWords; ++word) {
        const int x = tile[0].inputs[r][b][word];
        dot = __dp4a(tile[0].quants[b][word][n], x, dot);
        if (minima) sum = __dp4a(kOnes, x, sum);
      }
      const float d = tile[0].input_scale[r][b];
      acc = fmaf(tile[0].scale[b][n] * static_cast<float>(dot), d, acc);
      if (minima) acc = fmaf(tile[0].minimum[b][n], d * static_cast<float>(sum), acc);
    }
    __syncthreads();
  }
  if (first + n >= w.rows || first_row + r >= rows) return;
  float* to = out.data + (first_row + r) * out.stride + w.first + first + n;
  *to = add ? *to + acc : acc;
}

}  // namespace

void LinearInt8(cudaStream_t stream, const Inputs& inputs, const DeviceSegment& segment, bool add,
                const DeviceFloats& out) {
  const dim3 grid(static_cast<unsigned>(CeilDiv(segment.rows, kOutputs)),
                  static_cast<unsigned>(CeilDiv(out.rows, kRows)));
  Launch(stream, grid, kThreads, 0, QuantTile, inputs, out.rows, segment, add, out);
}

}  // namespace catena::cuda
