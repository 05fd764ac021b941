#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/ref/ops.h"

namespace catena::ref {

QuantisedRow Quantise(const float* x, int64_t cols) {
  QuantisedRow row;
  row.quants.resize(cols);
  for (int64_t b = 0; b < cols; b += kQuantBlock) {
    // The largest magnitude by bit pattern: the order of floats, with NaN above infinity.
    int32_t largest = 0;
    for (int i = 0; i < kQuantBlock; ++i) {
      largest = std::max(largest, std::bit_cast<int32_t>(x[b + i]) & 0x7fffffff);
    }
    const float magnitude = std::bit_cast<float>(largest);
    const bool zero = magnitude < kQuantiseFloor;
    const float scale = zero ? 0.0f : magnitude / 127.0f;
    const float inverse = zero ? 0.0f : 1.0f / scale;
    for (int i = 0; i < kQuantBlock; ++i) {
      const float v = x[b + i] * inverse;
      row.quants[b + i] = std::isnan(v) ? int8_t{-128} : static_cast<int8_t>(std::nearbyint(v));
    }
    row.scales.push_back(scale);
  }
  return row;
}

}  // namespace catena::ref
