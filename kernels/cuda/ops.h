// The kernels' launchers, one file an op: arguments are device addresses and numbers, and nothing
// is allocated or waited for. `rows` are those that are computed, with the padding.
//
// Thread rules: any thread, one at a time for a stream.
#pragma once

#include <cstddef>
#include <cstdint>

#include <cuda_runtime.h>

#include "kernels/base/batch_view.h"
#include "kernels/base/dtype.h"
#include "kernels/base/gate.h"
#include "kernels/base/input_format.h"
#include "kernels/base/top_logits.h"

namespace catena::cuda {

// The types that the kernels read.
constexpr bool IsReadable(DType t) {
  return t == DType::kF32 || t == DType::kF16 || t == DType::kBF16 || t == DType::kQ8_0 ||
         t == DType::kQ4_0 || t == DType::kQ4_1;
}

// Rows of float32, a stride apart.
struct DeviceFloats {
  float* data = nullptr;
  int rows = 0;
  int64_t cols = 0, stride = 0;
};

// Rows of a table as the file has them.
struct DeviceTable {
  const uint8_t* data = nullptr;
  DType dtype = DType::kF32;
  int64_t cols = 0, row_bytes = 0;
};
void Embed(cudaStream_t stream, const DeviceTable& table, const BatchView& batch, float scale,
           const DeviceFloats& out);

// frequencies: (tables, half)
void RotaryFactors(cudaStream_t stream, const BatchView& batch, const float* frequencies, int half,
                   float scale, const DeviceFloats& out);

struct Heads {
  int heads = 0, kv_heads = 0, head_dim = 0, rotary_dim = 0;
  float scale = 1.0f;
  int64_t window = 0;
  float softcap = 0.0f;  // 0: none
};

// bias, q_norm, k_norm: null where there is none.
void AdjustQkv(cudaStream_t stream, const DeviceFloats& qkv, const Heads& heads, const float* bias,
               const float* q_norm, const float* k_norm, float eps);

// Pages of a KV cache: (pages, layers, kv_heads, keys then values, kPagePositions, head_dim).
struct DeviceCache {
  uint8_t* data = nullptr;
  DType dtype = DType::kF16;  // or kF32
  int64_t page_bytes = 0, layer_bytes = 0;
};
void RotaryAppend(cudaStream_t stream, const DeviceFloats& qkv, const Heads& heads,
                  const DeviceFloats& factors, const BatchView& batch, int layer,
                  const DeviceCache& cache);

// Memory for softmax runs that are merged by a kernel of their own, of kFewRows rows at most.
inline constexpr int kFewRows = 64;
struct AttentionScratch {
  float* data = nullptr;
  int64_t floats = 0;
};
inline constexpr int kMaxHeadDim = 128, kHeadDimMultiple = 8;
// Of a block of attention's kernel.
size_t AttentionSharedBytes(int head_dim, DType cache);
// y: (rows, heads * head_dim). `max_positions`: more than any row's.
void Attention(cudaStream_t stream, const DeviceFloats& qkv, const Heads& heads,
               const BatchView& batch, int64_t max_positions, int layer, const DeviceCache& cache,
               const AttentionScratch& scratch, const DeviceFloats& y);

// The inputs of a linear layer: rows in the format that its weight reads, each with zeros past its
// columns up to the stride, which is a multiple of kInputBlock.
inline constexpr int kInputBlock = 32;
struct Inputs {
  void* values = nullptr;   // (rows, stride): float, bfloat16 or int8
  float* scales = nullptr;  // (rows, stride / 32): d_a of kInt8
  int64_t stride = 0;
  InputFormat format = InputFormat::kF32;
};

// The RMSNorm of rows of x, or of those that `wanted` names, as inputs.
void NormInputs(cudaStream_t stream, const DeviceFloats& x, const int32_t* wanted, int rows,
                const float* gain, float eps, const Inputs& out);
// The gated unit of gate_up, (rows, 2n).
void GateInputs(cudaStream_t stream, Gate gate, const DeviceFloats& gate_up, const Inputs& out);
void RowInputs(cudaStream_t stream, const DeviceFloats& x, const Inputs& out);

// Output rows of a linear weight of one type: out columns [first, first + rows).
struct DeviceSegment {
  DType dtype = DType::kF32;
  const uint8_t* data = nullptr;  // values, or the codes of a quantised type
  int64_t first = 0, rows = 0, cols = 0;
  int64_t row_bytes = 0;
  const uint16_t* scales = nullptr;  // (rows, cols / 32) float16; of q4_1 with the minima beside
};
// Bytes of the codes of a block of 32, and 16-bit floats beside them. Of a readable quantised type.
constexpr int CodeBytes(DType t) { return t == DType::kQ8_0 ? 32 : 16; }
constexpr int ScalesOfBlock(DType t) { return t == DType::kQ4_1 ? 2 : 1; }

// out[r][first + n] = (add ? it : 0) + inputs[r] . weight[n], of all rows of out.
struct LinearLayer {
  Inputs inputs;
  DeviceSegment weight;
  bool add = false;
  DeviceFloats out;
};

// Any readable type, inputs in float32, as kernels.h has it: chain(x, w).
void LinearFloat(cudaStream_t stream, const LinearLayer& layer);

// q8_0, q4_0 or q4_1, inputs in int8, as kernels.h has it.
void LinearInt8(cudaStream_t stream, const LinearLayer& layer);

// bfloat16, by tensor cores. Rows of the weight have zeros up to a multiple of kInputBlock.
// `scratch`: kSlabs sums of up to kSplitRows rows and multiprocessors * 128 columns.
struct LinearScratch {
  float* data = nullptr;
  int multiprocessors = 0;
};
inline constexpr int kSlabs = 8, kSplitRows = 64, kTileOutputs = 128;
void LinearBf16(cudaStream_t stream, const LinearLayer& layer, const LinearScratch& scratch);

// Adds the RMSNorm of the rows of y to those of x.
void AddNorm(cudaStream_t stream, const DeviceFloats& y, const float* gain, float eps,
             const DeviceFloats& x);

void SoftCap(cudaStream_t stream, float cap, const DeviceFloats& x);

// out: (rows)
void TopOfRows(cudaStream_t stream, const DeviceFloats& logits, TopLogits* out);

}  // namespace catena::cuda
