// AVX-512 without extensions for int8: sixteen lanes, int8 by maddubs, madd and add.
#include "hwy/base.h"
#include <immintrin.h>

#include "kernels/peak/loops.h"

HWY_PUSH_ATTRIBUTES("avx2,fma,avx512f,avx512bw")

#include "kernels/peak/loops-inl.h"

namespace catena::cpu::peak {
namespace {

struct F32 {
  using Vec = __m512;
  static constexpr int kLanes = 16;
  static Vec Load(const float* p) { return _mm512_loadu_ps(p); }
  static Vec LoadSums(const float* p) { return _mm512_loadu_ps(p); }
  static void StoreSums(Vec v, float* p) { _mm512_storeu_ps(p, v); }
  static Vec MulAdd(Vec sum, Vec a, Vec b) {
    asm("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    return sum;
  }
};

struct Int8 {
  using Vec = __m512i;
  static constexpr int kLanes = 16;
  static Vec Load(const void* p) { return _mm512_loadu_si512(p); }
  static Vec LoadSums(const int32_t* p) { return Load(p); }
  static void StoreSums(Vec v, int32_t* p) { _mm512_storeu_si512(p, v); }
  static Vec MulAdd(Vec sum, Vec a, Vec b) {
    Vec fours;
    asm("vpmaddubsw %[b], %[a], %[fours]\n\t"
        "vpmaddwd %[ones], %[fours], %[fours]\n\t"
        "vpaddd %[fours], %[sum], %[sum]"
        : [sum] "+v"(sum), [fours] "=&v"(fours)
        : [a] "v"(a), [b] "v"(b), [ones] "v"(_mm512_set1_epi16(1)));
    return sum;
  }
};

struct Read {
  using Vec = __m512i;
  static Vec Zero() { return _mm512_setzero_si512(); }
  static Vec Load(const uint8_t* p) { return _mm512_load_si512(p); }
  static Vec Add(Vec a, Vec b) { return _mm512_add_epi64(a, b); }
  static void Store(Vec v, uint64_t* p) { _mm512_storeu_si512(p, v); }
};

}  // namespace

ReadLoop ReadAvx512() { return MakeReadLoop<Read>("AVX-512 loads"); }
F32Loop F32Avx512() { return MakeMacLoop<F32, F32Loop>("AVX-512 vfmadd231ps"); }
Int8Loop Int8Avx512() { return MakeMacLoop<Int8, Int8Loop>("AVX-512 vpmaddubsw+vpmaddwd"); }

}  // namespace catena::cpu::peak

HWY_POP_ATTRIBUTES
