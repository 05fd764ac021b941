// AVX2: maddubs multiplies uint8 by int8 into saturating int16 pairs. A nibble (0-15) times an int8
// cannot saturate; a q8_0 quant is taken as |w| times a with w's sign, which cannot either
// (2 * 128 * 127 < 2^15).
#include "hwy/base.h"
#include <immintrin.h>

#include "kernels/cpu/int8_linear.h"

HWY_PUSH_ATTRIBUTES("avx2,fma,f16c")

namespace catena::cpu {
namespace {

struct Isa {
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
  static constexpr int32_t kQ8Offset = 0;

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
  static __m256i AddFours(__m256i acc, __m256i pairs) {
    return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  static IntVec DotQ4(IntVec acc, ByteVec w, __m256i x) {
    return {AddFours(acc.v[0], _mm256_maddubs_epi16(w.v[0], x)),
            AddFours(acc.v[1], _mm256_maddubs_epi16(w.v[1], x))};
  }
  static __m256i SignedPairs(__m256i stored, __m256i x) {
    const __m256i w = _mm256_xor_si256(stored, _mm256_set1_epi8(-128));
    return _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
  }
  static IntVec DotQ8(IntVec acc, ByteVec w, __m256i x) {
    return {AddFours(acc.v[0], SignedPairs(w.v[0], x)), AddFours(acc.v[1], SignedPairs(w.v[1], x))};
  }
};

}  // namespace
}  // namespace catena::cpu

#include "kernels/cpu/int8_linear-inl.h"

namespace catena::cpu {
const Int8Kernels& Int8Avx2() { return kKernels; }
}  // namespace catena::cpu

HWY_POP_ATTRIBUTES
