// AVX-512 with VNNI: vpdpbusd multiplies 64 uint8 by int8 and adds fours into 16 int32.
#include "hwy/base.h"
#include <immintrin.h>

#include "kernels/cpu/int8_linear.h"

HWY_PUSH_ATTRIBUTES("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")

namespace catena::cpu {
namespace {

struct Isa {
  using IntVec = __m512i;
  using FloatVec = __m512;
  using ByteVec = __m512i;
  static constexpr int kRows = 6, kWholeRows = kTileRows;
  static constexpr int HalvesOf(int) { return 2; }
  static constexpr int32_t kBytesOffset = 128;
  static constexpr bool kSumsPairs = false;

  static IntVec SetInt(int32_t v) { return _mm512_set1_epi32(v); }
  static FloatVec AsFloat(IntVec v) { return _mm512_castsi512_ps(v); }
  static FloatVec Set(float v) { return _mm512_set1_ps(v); }
  static FloatVec Load(const float* p) { return _mm512_loadu_ps(p); }
  static void Store(FloatVec v, float* p) { _mm512_storeu_ps(p, v); }
  static FloatVec LoadHalf(const uint8_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static FloatVec LoadBf16(const uint8_t* p) {
    const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(v), 16));
  }
  static IntVec LoadSixteen(const uint8_t* p) {
    return _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static FloatVec LoadInt8(const uint8_t* p) { return _mm512_cvtepi32_ps(LoadSixteen(p)); }
  static FloatVec LoadLowNibbles(const uint8_t* p) {
    return _mm512_cvtepi32_ps(_mm512_and_si512(LoadSixteen(p), _mm512_set1_epi32(15)));
  }
  static FloatVec LoadHighNibbles(const uint8_t* p) {
    const IntVec high = _mm512_srli_epi32(LoadSixteen(p), 4);
    return _mm512_cvtepi32_ps(_mm512_and_si512(high, _mm512_set1_epi32(15)));
  }
  static FloatVec Add(FloatVec a, FloatVec b) { return _mm512_add_ps(a, b); }
  static FloatVec Mul(FloatVec a, FloatVec b) { return _mm512_mul_ps(a, b); }
  static FloatVec Fma(FloatVec a, FloatVec b, FloatVec c) { return _mm512_fmadd_ps(a, b, c); }

  static ByteVec LoadBytes(const uint8_t* p) { return _mm512_loadu_si512(p); }
  static void StoreBytes(ByteVec v, uint8_t* p) { _mm512_storeu_si512(p, v); }
  static ByteVec And(ByteVec v, uint8_t mask) {
    return _mm512_and_si512(v, _mm512_set1_epi8(static_cast<char>(mask)));
  }
  static ByteVec OrAnd(ByteVec a, ByteVec b, uint8_t mask) {
    return _mm512_ternarylogic_epi32(a, b, _mm512_set1_epi8(static_cast<char>(mask)), 0xF8);
  }
  // By kBits, to the left where they are negative; what crosses bytes is masked afterwards.
  template <int kBits>
  static ByteVec ShiftRight(ByteVec v) {
    if constexpr (kBits == 0) return v;
    if constexpr (kBits < 0) {
      return _mm512_slli_epi16(v, -kBits);
    } else {
      return _mm512_srli_epi16(v, kBits);
    }
  }
  static ByteVec Lookup(const int8_t* codebook, ByteVec places) {
    const __m128i values = _mm_loadu_si128(reinterpret_cast<const __m128i*>(codebook));
    const __m512i table = _mm512_broadcast_i32x4(_mm_xor_si128(values, _mm_set1_epi8(-128)));
    return _mm512_shuffle_epi8(table, places);
  }
  static IntVec Broadcast4(const uint8_t* p) {
    int32_t four;
    __builtin_memcpy(&four, p, 4);
    return _mm512_set1_epi32(four);
  }
  static IntVec Dot(IntVec acc, ByteVec w, IntVec x) { return _mm512_dpbusd_epi32(acc, w, x); }
};

}  // namespace
}  // namespace catena::cpu

#include "kernels/cpu/int8_linear-inl.h"

namespace catena::cpu {
const Int8Kernels& Int8Avx512Vnni() { return kKernels; }
}  // namespace catena::cpu

HWY_POP_ATTRIBUTES
