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
  static constexpr int kRows = 6, kHalves = 2;
  static constexpr int32_t kQ8Offset = 128;

  static IntVec SetInt(int32_t v) { return _mm512_set1_epi32(v); }
  static FloatVec AsFloat(IntVec v) { return _mm512_castsi512_ps(v); }
  static FloatVec Set(float v) { return _mm512_set1_ps(v); }
  static FloatVec Load(const float* p) { return _mm512_loadu_ps(p); }
  static void Store(FloatVec v, float* p) { _mm512_storeu_ps(p, v); }
  static FloatVec LoadHalf(const uint8_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static FloatVec Add(FloatVec a, FloatVec b) { return _mm512_add_ps(a, b); }
  static FloatVec Mul(FloatVec a, FloatVec b) { return _mm512_mul_ps(a, b); }
  static FloatVec Fma(FloatVec a, FloatVec b, FloatVec c) { return _mm512_fmadd_ps(a, b, c); }

  static ByteVec LoadBytes(const uint8_t* p) { return _mm512_loadu_si512(p); }
  static void StoreBytes(ByteVec v, uint8_t* p) { _mm512_storeu_si512(p, v); }
  static ByteVec LowNibbles(ByteVec v) { return _mm512_and_si512(v, _mm512_set1_epi8(15)); }
  static ByteVec HighNibbles(ByteVec v) { return LowNibbles(_mm512_srli_epi16(v, 4)); }
  static IntVec Broadcast4(const uint8_t* p) {
    int32_t four;
    __builtin_memcpy(&four, p, 4);
    return _mm512_set1_epi32(four);
  }
  static IntVec DotQ4(IntVec acc, ByteVec w, IntVec x) { return _mm512_dpbusd_epi32(acc, w, x); }
  static IntVec DotQ8(IntVec acc, ByteVec w, IntVec x) { return _mm512_dpbusd_epi32(acc, w, x); }
};

}  // namespace
}  // namespace catena::cpu

#include "kernels/cpu/int8_linear-inl.h"

namespace catena::cpu {
const Int8Kernels& Int8Avx512Vnni() { return kKernels; }
}  // namespace catena::cpu

HWY_POP_ATTRIBUTES
