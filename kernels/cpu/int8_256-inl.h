// What the int8 kernels of 256-bit vectors have in common: everything but the dot products.
// Included by an instruction set's file inside its target attributes.
#pragma once

#include <immintrin.h>

#include "kernels/cpu/int8_linear.h"

namespace catena::cpu {
namespace {

struct Vectors256 {
  struct IntVec {
    __m256i v[2];
  };
  struct FloatVec {
    __m256 v[2];
  };
  struct ByteVec {
    __m256i v[2];
  };
  static constexpr int kRows = 3, kHalves = 1;

  static IntVec SetInt(int32_t v) { return {_mm256_set1_epi32(v), _mm256_set1_epi32(v)}; }
  static FloatVec AsFloat(IntVec a) {
    return {_mm256_castsi256_ps(a.v[0]), _mm256_castsi256_ps(a.v[1])};
  }
  static FloatVec Set(float v) { return {_mm256_set1_ps(v), _mm256_set1_ps(v)}; }
  static FloatVec Load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  static void Store(FloatVec a, float* p) {
    _mm256_storeu_ps(p, a.v[0]);
    _mm256_storeu_ps(p + 8, a.v[1]);
  }
  static FloatVec LoadHalf(const uint8_t* p) {
    const auto* h = reinterpret_cast<const __m128i*>(p);
    return {_mm256_cvtph_ps(_mm_loadu_si128(h)), _mm256_cvtph_ps(_mm_loadu_si128(h + 1))};
  }
  static FloatVec Add(FloatVec a, FloatVec b) {
    return {_mm256_add_ps(a.v[0], b.v[0]), _mm256_add_ps(a.v[1], b.v[1])};
  }
  static FloatVec Mul(FloatVec a, FloatVec b) {
    return {_mm256_mul_ps(a.v[0], b.v[0]), _mm256_mul_ps(a.v[1], b.v[1])};
  }
  static FloatVec Fma(FloatVec a, FloatVec b, FloatVec c) {
    return {_mm256_fmadd_ps(a.v[0], b.v[0], c.v[0]), _mm256_fmadd_ps(a.v[1], b.v[1], c.v[1])};
  }

  static ByteVec LoadBytes(const uint8_t* p) {
    const auto* v = reinterpret_cast<const __m256i*>(p);
    return {_mm256_loadu_si256(v), _mm256_loadu_si256(v + 1)};
  }
  static void StoreBytes(ByteVec a, uint8_t* p) {
    auto* v = reinterpret_cast<__m256i*>(p);
    _mm256_storeu_si256(v, a.v[0]);
    _mm256_storeu_si256(v + 1, a.v[1]);
  }
  static ByteVec LowNibbles(ByteVec a) {
    const __m256i mask = _mm256_set1_epi8(15);
    return {_mm256_and_si256(a.v[0], mask), _mm256_and_si256(a.v[1], mask)};
  }
  static ByteVec HighNibbles(ByteVec a) {
    return LowNibbles({_mm256_srli_epi16(a.v[0], 4), _mm256_srli_epi16(a.v[1], 4)});
  }
  static __m256i Broadcast4(const uint8_t* p) {
    int32_t four;
    __builtin_memcpy(&four, p, 4);
    return _mm256_set1_epi32(four);
  }
};

}  // namespace
}  // namespace catena::cpu
