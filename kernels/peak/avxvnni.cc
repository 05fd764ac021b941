// AVX-VNNI: vpdpbusd in 256 bits, on processors without AVX-512.
#include "hwy/base.h"
#include <immintrin.h>

#include "kernels/peak/loops.h"

HWY_PUSH_ATTRIBUTES("avx2,fma,avxvnni")

#include "kernels/peak/loops-inl.h"

namespace catena::cpu::peak {
namespace {

struct Int8 {
  using Vec = __m256i;
  static constexpr int kLanes = 8;
  static Vec Load(const void* p) { return _mm256_loadu_si256(static_cast<const Vec*>(p)); }
  static Vec LoadSums(const int32_t* p) { return Load(p); }
  static void StoreSums(Vec v, int32_t* p) { _mm256_storeu_si256(reinterpret_cast<Vec*>(p), v); }
  static Vec MulAdd(Vec sum, Vec a, Vec b) {
    asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b));
    return sum;
  }
};

}  // namespace

Int8Loop Int8AvxVnni() { return MakeMacLoop<Int8, Int8Loop>("AVX-VNNI vpdpbusd"); }

}  // namespace catena::cpu::peak

HWY_POP_ATTRIBUTES
