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
  static constexpr int kRows = 3, kWholeRows = 1;
  // One row reads a panel's lines in order.
  static constexpr int HalvesOf(int rows) { return rows == 1 ? 2 : 1; }

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
  static __m256 WidenBf16(__m128i v) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(v), 16));
  }
  static FloatVec LoadBf16(const uint8_t* p) {
    const auto* h = reinterpret_cast<const __m128i*>(p);
    return {WidenBf16(_mm_loadu_si128(h)), WidenBf16(_mm_loadu_si128(h + 1))};
  }
  static IntVec LoadSixteen(const uint8_t* p) {
    return {_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))),
            _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + 8)))};
  }
  static FloatVec ToFloat(IntVec a) {
    return {_mm256_cvtepi32_ps(a.v[0]), _mm256_cvtepi32_ps(a.v[1])};
  }
  static FloatVec LoadInt8(const uint8_t* p) { return ToFloat(LoadSixteen(p)); }
  static FloatVec LoadLowNibbles(const uint8_t* p) {
    const IntVec a = LoadSixteen(p);
    const __m256i mask = _mm256_set1_epi32(15);
    return ToFloat({_mm256_and_si256(a.v[0], mask), _mm256_and_si256(a.v[1], mask)});
  }
  static FloatVec LoadHighNibbles(const uint8_t* p) {
    const IntVec a = LoadSixteen(p);
    const __m256i mask = _mm256_set1_epi32(15);
    return ToFloat({_mm256_and_si256(_mm256_srli_epi32(a.v[0], 4), mask),
                    _mm256_and_si256(_mm256_srli_epi32(a.v[1], 4), mask)});
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
  static ByteVec And(ByteVec a, uint8_t mask) {
    const __m256i m = _mm256_set1_epi8(static_cast<char>(mask));
    return {_mm256_and_si256(a.v[0], m), _mm256_and_si256(a.v[1], m)};
  }
  static ByteVec OrAnd(ByteVec a, ByteVec b, uint8_t mask) {
    const ByteVec masked = And(b, mask);
    return {_mm256_or_si256(a.v[0], masked.v[0]), _mm256_or_si256(a.v[1], masked.v[1])};
  }
  // By kBits, to the left where they are negative; what crosses bytes is masked afterwards.
  template <int kBits>
  static ByteVec ShiftRight(ByteVec a) {
    if constexpr (kBits == 0) return a;
    if constexpr (kBits < 0) {
      return {_mm256_slli_epi16(a.v[0], -kBits), _mm256_slli_epi16(a.v[1], -kBits)};
    } else {
      return {_mm256_srli_epi16(a.v[0], kBits), _mm256_srli_epi16(a.v[1], kBits)};
    }
  }
  static ByteVec Lookup(const int8_t* codebook, ByteVec places) {
    const __m128i values = _mm_loadu_si128(reinterpret_cast<const __m128i*>(codebook));
    const __m256i table = _mm256_broadcastsi128_si256(_mm_xor_si128(values, _mm_set1_epi8(-128)));
    return {_mm256_shuffle_epi8(table, places.v[0]), _mm256_shuffle_epi8(table, places.v[1])};
  }
  static __m256i Broadcast4(const uint8_t* p) {
    int32_t four;
    __builtin_memcpy(&four, p, 4);
    return _mm256_set1_epi32(four);
  }
};

}  // namespace
}  // namespace catena::cpu
