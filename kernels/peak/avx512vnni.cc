// AVX-512 VNNI: vpdpbusd multiplies 64 uint8 by int8 and adds fours into 16 int32.
#include "hwy/base.h"
#include <immintrin.h>

#include "kernels/peak/loops.h"

HWY_PUSH_ATTRIBUTES("avx2,fma,avx512f,avx512vnni")

#include "kernels/peak/loops-inl.h"

namespace catena::cpu::peak {
namespace {

struct Int8 {
  using Vec = __m512i;
  static constexpr int kLanes = 16;
  static Vec Load(const void* p) { return _mm512_loadu_si512(p); }
  static Vec LoadSums(const int32_t* p) { return Load(p); }
  static void StoreSums(Vec v, int32_t* p) { _mm512_storeu_si512(p, v); }
  static Vec MulAdd(Vec sum, Vec a, Vec b) {
    asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    return sum;
  }
};

}  // namespace

Int8Loop Int8Avx512Vnni() { return MakeMacLoop<Int8, Int8Loop>("AVX-512 VNNI vpdpbusd"); }

}  // namespace catena::cpu::peak

HWY_POP_ATTRIBUTES
