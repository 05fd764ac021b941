// The kernels of 256-bit vpdpbusd, which multiplies 32 uint8 by int8 and adds fours into 8 int32:
// DotFours, by the encoding that the including file has.
#pragma once

namespace catena::cpu {
namespace {

struct Isa : Vectors256 {
  static constexpr int32_t kBytesOffset = 128;
  static constexpr bool kSumsPairs = false;

  static IntVec Dot(IntVec acc, ByteVec w, __m256i x) {
    return {DotFours(acc.v[0], w.v[0], x), DotFours(acc.v[1], w.v[1], x)};
  }
};

}  // namespace
}  // namespace catena::cpu

#include "kernels/cpu/int8_linear-inl.h"
