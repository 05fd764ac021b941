// AVX-512 BF16: vdpbf16ps multiplies 32 bfloat16 and adds pairs into 16 floats.
#include "hwy/base.h"
#include <immintrin.h>

#include "kernels/peak/loops.h"

HWY_PUSH_ATTRIBUTES("avx2,fma,avx512f,avx512bf16")

#include "kernels/peak/loops-inl.h"

namespace catena::cpu::peak {
namespace {

struct Bf16 {
  using Vec = __m512;
  static constexpr int kLanes = 16;
  static __m512i Load(const uint16_t* p) { return _mm512_loadu_si512(p); }
  static Vec LoadSums(const float* p) { return _mm512_loadu_ps(p); }
  static void StoreSums(Vec v, float* p) { _mm512_storeu_ps(p, v); }
  static Vec MulAdd(Vec sum, __m512i a, __m512i b) {
    asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    return sum;
  }
};

}  // namespace

Bf16Loop Bf16Avx512() { return MakeMacLoop<Bf16, Bf16Loop>("AVX-512 BF16 vdpbf16ps"); }

}  // namespace catena::cpu::peak

HWY_POP_ATTRIBUTES
