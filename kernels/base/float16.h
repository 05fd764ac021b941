// Conversions between float32 and the 16-bit floats, exact on every machine (no instruction-set
// dependence). For loading, tests and the reference; hot loops use the hardware's conversions.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

namespace catena {

// The bits of a 16-bit float as it lies in a file, unaligned.
inline uint16_t Load16(const uint8_t* p) {
  uint16_t bits;
  std::memcpy(&bits, p, sizeof bits);
  return bits;
}

// IEEE binary16 to binary32; exact.
float F16ToF32(uint16_t h);
// Round to nearest even; overflow saturates to the largest finite value, NaN stays NaN.
uint16_t F32ToF16Saturating(float f);

// bfloat16 is the upper half of a float32; exact.
inline float BF16ToF32(uint16_t h) { return std::bit_cast<float>(uint32_t{h} << 16); }
// Round to nearest even; NaN stays NaN.
inline uint16_t F32ToBF16(float f) {
  const uint32_t bits = std::bit_cast<uint32_t>(f);
  if ((bits & 0x7fffffff) > 0x7f800000) return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

}  // namespace catena
