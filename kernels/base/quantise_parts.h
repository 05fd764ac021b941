// What the quantisers of quantise.h share. Only they include this.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/base/dtype.h"

namespace catena::quantise {

// The nearest whole number, ties to even; of magnitudes over a million, a million.
inline int Nearest(float x) {
  constexpr float kMost = 1e6f, kShift = 12582912.0f;  // 1.5 * 2^23: fractions are rounded away
  const float shifted = std::min(std::max(x, -kMost), kMost) + kShift;
  return static_cast<int>(std::bit_cast<uint32_t>(shifted) & 0x7fffff) - 0x400000;
}

// 1 / x, and 0 where that is no number.
inline float Inverse(float x) {
  const float inverse = x == 0 ? 0.0f : 1.0f / x;
  return std::isfinite(inverse) ? inverse : 0.0f;
}

inline void Store16(uint16_t bits, uint8_t* p) { std::memcpy(p, &bits, sizeof bits); }

// The value of the largest magnitude, the first of several, with its sign.
inline float Largest(const float* x, int n) {
  float largest = 0;
  for (int i = 0; i < n; ++i) {
    if (std::fabs(x[i]) > std::fabs(largest)) largest = x[i];
  }
  return largest;
}

// Sixteen bytes of two nibbles: values 0-15 low, 16-31 high.
inline void PackHalves(const uint8_t* code, uint8_t* q) {
  for (int i = 0; i < 16; ++i)
    q[i] = static_cast<uint8_t>((code[i] & 15) | (code[i + 16] & 15) << 4);
}

// The scale of 32 values that are places in kIq4Codebook: x ~ scale * codebook[code], least error
// weighted by x^2, over 15 candidates.
float FitIq4Scale(const float* x);
// The places nearest to x / scale.
void EncodeIq4(const float* x, float scale, uint8_t* code);

// Types of 256 values.
void QuantiseSuperBlock(DType dtype, const float* x, uint8_t* out);

}  // namespace catena::quantise
