// How a kernel writes the inputs of a linear layer.
//
// Thread rules: from kernels.
#pragma once

#include <cstdint>

#include "kernels/cuda/device.h"
#include "kernels/cuda/ops.h"

namespace catena::cuda {

// Puts value k of a row. Of kInt8: the warp, whose lanes hold the values of one block of 32.
__device__ inline void PutInput(const Inputs& to, int64_t row, int64_t k, float y) {
  const int64_t at = row * to.stride + k;
  if (to.format == InputFormat::kF32) {
    static_cast<float*>(to.values)[at] = y;
    return;
  }
  if (to.format == InputFormat::kBf16) {
    static_cast<uint16_t*>(to.values)[at] = FloatToBf16(y);
    return;
  }
  // The largest magnitude by bit pattern: the order of floats, with NaN above infinity.
  unsigned largest = __float_as_uint(y) & 0x7fffffff;
  for (int bits = 16; bits > 0; bits /= 2) {
    const unsigned other = __shfl_xor_sync(kWholeWarp, largest, bits);
    if (other > largest) largest = other;
  }
  const float magnitude = __uint_as_float(largest);
  const bool zero = magnitude < kQuantiseFloor;
  const float scale = zero ? 0.0f : __fdiv_rn(magnitude, 127.0f);
  const float v = y * (zero ? 0.0f : __fdiv_rn(1.0f, scale));
  static_cast<int8_t*>(to.values)[at] =
      v != v ? int8_t{-128} : static_cast<int8_t>(static_cast<int>(rintf(v)));
  if (Lane() == 0) to.scales[at / kInputBlock] = scale;
}

}  // namespace catena::cuda
