// AVX2 with FMA: eight lanes, int8 by maddubs, madd and add.
#include "hwy/base.h"
#include <immintrin.h>

#include "kernels/peak/loops.h"

HWY_PUSH_ATTRIBUTES("avx2,fma")

#include "kernels/peak/loops-inl.h"

namespace catena::cpu::peak {
namespace {

struct F32 {
  using Vec = __m256;
  static constexpr int kLanes = 8;
  static Vec Load(const float* p) { return _mm256_loadu_ps(p); }
  static Vec LoadSums(const float* p) { return _mm256_loadu_ps(p); }
  static void StoreSums(Vec v, float* p) { _mm256_storeu_ps(p, v); }
  static Vec MulAdd(Vec sum, Vec a, Vec b) {
    asm("vfmadd231ps %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b));
    return sum;
  }
};

struct Int8 {
  using Vec = __m256i;
  static constexpr int kLanes = 8;
  static Vec Load(const void* p) { return _mm256_loadu_si256(static_cast<const Vec*>(p)); }
  static Vec LoadSums(const int32_t* p) { return Load(p); }
  static void StoreSums(Vec v, int32_t* p) { _mm256_storeu_si256(reinterpret_cast<Vec*>(p), v); }
  static Vec MulAdd(Vec sum, Vec a, Vec b) {
    Vec fours;
    asm("vpmaddubsw %[b], %[a], %[fours]\n\t"
        "vpmaddwd %[ones], %[fours], %[fours]\n\t"
        "vpaddd %[fours], %[sum], %[sum]"
        : [sum] "+x"(sum), [fours] "=&x"(fours)
        : [a] "x"(a), [b] "x"(b), [ones] "x"(_mm256_set1_epi16(1)));
    return sum;
  }
};

struct Read {
  using Vec = __m256i;
  static Vec Zero() { return _mm256_setzero_si256(); }
  static Vec Load(const uint8_t* p) { return _mm256_load_si256(reinterpret_cast<const Vec*>(p)); }
  static Vec Add(Vec a, Vec b) { return _mm256_add_epi64(a, b); }
  static void Store(Vec v, uint64_t* p) { _mm256_storeu_si256(reinterpret_cast<Vec*>(p), v); }
};

}  // namespace

ReadLoop ReadAvx2() { return MakeReadLoop<Read>("AVX2 loads"); }
F32Loop F32Avx2() { return MakeMacLoop<F32, F32Loop>("AVX2 vfmadd231ps"); }
Int8Loop Int8Avx2() { return MakeMacLoop<Int8, Int8Loop>("AVX2 vpmaddubsw+vpmaddwd"); }

}  // namespace catena::cpu::peak

HWY_POP_ATTRIBUTES
