// What every x86-64 processor has: four lanes, no fused multiply-add, int8 by way of int16.
#include <emmintrin.h>

#include "kernels/peak/loops-inl.h"

namespace catena::cpu::peak {
namespace {

struct F32 {
  using Vec = __m128;
  static constexpr int kLanes = 4;
  static Vec Load(const float* p) { return _mm_loadu_ps(p); }
  static Vec LoadSums(const float* p) { return _mm_loadu_ps(p); }
  static void StoreSums(Vec v, float* p) { _mm_storeu_ps(p, v); }
  static Vec MulAdd(Vec sum, Vec a, Vec b) {
    asm volatile("" : "+x"(a));
    return _mm_add_ps(sum, _mm_mul_ps(a, b));
  }
};

struct Int8 {
  using Vec = __m128i;
  static constexpr int kLanes = 4;
  static Vec Load(const void* p) { return _mm_loadu_si128(static_cast<const Vec*>(p)); }
  static Vec LoadSums(const int32_t* p) { return Load(p); }
  static void StoreSums(Vec v, int32_t* p) { _mm_storeu_si128(reinterpret_cast<Vec*>(p), v); }
  static Vec MulAdd(Vec sum, Vec a, Vec b) {
    asm volatile("" : "+x"(a));
    const Vec even = _mm_madd_epi16(_mm_and_si128(a, _mm_set1_epi16(255)),
                                    _mm_srai_epi16(_mm_slli_epi16(b, 8), 8));
    const Vec odd = _mm_madd_epi16(_mm_srli_epi16(a, 8), _mm_srai_epi16(b, 8));
    return _mm_add_epi32(sum, _mm_add_epi32(even, odd));
  }
};

struct Read {
  using Vec = __m128i;
  static Vec Zero() { return _mm_setzero_si128(); }
  static Vec Load(const uint8_t* p) { return _mm_load_si128(reinterpret_cast<const Vec*>(p)); }
  static Vec Add(Vec a, Vec b) { return _mm_add_epi64(a, b); }
  static void Store(Vec v, uint64_t* p) { _mm_storeu_si128(reinterpret_cast<Vec*>(p), v); }
};

}  // namespace

ReadLoop ReadSse2() { return MakeReadLoop<Read>("SSE2 loads"); }
F32Loop F32Sse2() { return MakeMacLoop<F32, F32Loop>("SSE2 mulps+addps"); }
Int8Loop Int8Sse2() { return MakeMacLoop<Int8, Int8Loop>("SSE2 pmaddwd"); }

}  // namespace catena::cpu::peak
