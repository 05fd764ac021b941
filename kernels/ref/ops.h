// The operators of kernels.h as plain loops over plain arrays: the specification in code, and what
// runs where a CPU has no better backend. One file an op.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

#include "kernels/kernels.h"

namespace catena::ref {

// exp of kernels.h, and E: the same with 0 below kSoftmaxFloor.
float Exp(float x);
float SoftmaxExp(float x);

// Sin and Cos of kernels.h.
struct SineCosine {
  float sine, cosine;
};
SineCosine SinCos(float x);

// The sum of terms(k), k in [0, n), as lanes16.
template <class Terms>
float Lanes16(int64_t n, Terms terms);

// A row of activations as a linear layer reads it.
struct QuantisedRow {
  std::vector<int8_t> quants;  // (cols)
  std::vector<float> scales;   // (cols / 32): d_a
};
QuantisedRow Quantise(const float* x, int64_t cols);

// out: (cols)
void RmsNorm(const float* x, const float* gain, int64_t cols, float eps, float* out);
void GatedUnit(Gate gate, const float* gate_up, int64_t n, float* out);
float SoftCap(float x, float cap);

// The factors of one row: `half` cosines, then sines.
void RotaryFactors(int position, const float* frequencies, int64_t half, float scale, float* out);

// AdjustQkv of one row; null: without.
void AdjustQkv(const AttentionShape& shape, const float* bias, const float* q_gain,
               const float* k_gain, float eps, float* row);

// Rotates heads [0, heads) of a row, (heads, head_dim), by its RotaryFactors.
void Rotate(float* x, int heads, int head_dim, int rotary_dim, const float* factors);

// y[j] for one output row of a weight. `row` in the file's layout; DotBf16's x is rounded already.
float DotF32(DType dtype, const uint8_t* row, const float* x, int64_t cols);
float DotBf16(const uint8_t* row, const float* x, int64_t cols);
float DotInt8(DType dtype, const uint8_t* row, const QuantisedRow& x, int64_t cols);

// Attention of one head's query at `position`. key(j), value(j) give the head_dim values of
// position j; out: (head_dim).
struct KeyValues {
  virtual ~KeyValues() = default;
  virtual void Key(int position, float* out) const = 0;
  virtual void Value(int position, float* out) const = 0;
};
void Attend(const AttentionShape& shape, const float* q, int position, const KeyValues& cache,
            float* out);

template <class Terms>
float Lanes16(int64_t n, Terms terms) {
  float lanes[16] = {};
  for (int64_t k = 0; k < n; ++k) lanes[k % 16] = terms(k, lanes[k % 16]);
  for (int width = 8; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}

}  // namespace catena::ref
