// The CPU backend's operators, one file each; kernels.h says what they compute. All take the
// packed rows already started for their output.
#pragma once

#include "kernels/cpu/packed_rows.h"
#include "kernels/float_rows.h"

namespace catena::cpu {

// frequencies: (tables, out.cols / 2).
void RotaryFactors(Workers& workers, const BatchView& batch, const float* frequencies, float scale,
                   const FloatRows& out);

// Of the rows chosen, or of the first ones where `rows` is null.
void Norm(Workers& workers, const FloatRows& x, const int32_t* rows, const float* gain, float eps,
          CpuPackedRows* out);

void GatedUnit(Workers& workers, Gate gate, const FloatRows& gate_up, CpuPackedRows* out);

void AddNorm(Workers& workers, const FloatRows& y, const float* gain, float eps,
             const FloatRows& x);

void SoftCap(Workers& workers, float cap, const FloatRows& x);

// Packs rows as they are.
void Pack(Workers& workers, const FloatRows& x, CpuPackedRows* out);

// Where activations are float32, or bf16 as the weights are: panels of `dtype`, widened where they
// are quantised.
struct FloatLinear {
  const uint8_t* weights;
  DType dtype;
  const CpuPackedRows* in;
  int64_t cols;
  FloatRows out;
  bool add;
  bool has_bf16;  // the machine multiplies bf16
  // Int8Kernel::unpack of the type; null where it is not quantised.
  void (*unpack)(const uint8_t* panel, int block, int n, uint8_t* out);
};
// Computes panels [begin, end). `scratch`: FloatScratchBytes(rows), one a thread.
void FloatPanels(const FloatLinear& job, int64_t begin, int64_t end, uint8_t* scratch);
int64_t FloatScratchBytes(int rows);

// Keys and values of one page, layer and KV head: K [4][head_dim][16] (positions in lanes), then
// V [64][value_stride], of uint16_t (fp16) or float.
struct KvLayout {
  int layers, kv_heads, head_dim;
  bool half;

  int value_stride() const { return (head_dim + 15) / 16 * 16; }
  int64_t head_values() const { return int64_t{kPagePositions} * (head_dim + value_stride()); }
  int64_t head_bytes() const { return head_values() * (half ? 2 : 4); }
  int64_t page_bytes() const { return head_bytes() * kv_heads * layers; }
  // Byte offset of a page's block for a layer and head.
  int64_t Offset(int page, int layer, int head) const {
    return page * page_bytes() + (int64_t{layer} * kv_heads + head) * head_bytes();
  }
};

// QkvTerms as values; null: without.
struct QkvValues {
  const float *bias, *q_gain, *k_gain;
  float eps;
};
void AdjustQkv(Workers& workers, const FloatRows& qkv, const AttentionShape& shape,
               const QkvValues& terms);

void RotaryAppend(Workers& workers, const FloatRows& qkv, const AttentionShape& shape,
                  const FloatRows& factors, const BatchView& batch, int layer,
                  const KvLayout& layout, uint8_t* cache);

struct AttentionJob {
  FloatRows qkv;
  AttentionShape shape;
  BatchView batch;
  int layer;
  KvLayout layout;
  const uint8_t* cache;
  FloatRows out;  // (rows, heads * head_dim)
};
// The work of one Attention: a KV head of a run of rows, over all it sees or over one split of it.
struct AttentionUnit {
  int span, head;
  int row, rows;    // of the batch
  int split;        // -1: every split, and the result goes to `out`
  int64_t partial;  // else where the split's (m, l, o) of each row and head go
};
// Made once, so that a step allocates nothing.
struct AttentionScratch {
  // For batches of up to `rows` rows.
  static absl::StatusOr<AttentionScratch> Make(int rows, int kv_heads);

  std::vector<AttentionUnit> units;
  std::vector<AttentionUnit> merges;  // rows whose splits are to be merged: `split` their number
  HugeBuffer partials;                // floats
  float* partial(int64_t at) const { return reinterpret_cast<float*>(partials.data()) + at; }
};
// Of the running softmax of so many pairs: an output, a maximum and a sum each.
constexpr int64_t RunningFloats(int64_t pairs, int stride) { return pairs * (stride + 2); }
inline constexpr int kUnitPairs = 96;  // (row, head) pairs of a unit, which share a widened page
// Of a worker.
int64_t AttentionScratchBytes(const AttentionShape& shape);
// Cuts the batch into units, longest first within a span.
void PlanAttention(const AttentionJob& job, AttentionScratch* scratch);
void Attention(Workers& workers, const AttentionJob& job, AttentionScratch* scratch);

}  // namespace catena::cpu
