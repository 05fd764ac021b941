// AVX-VNNI: vpdpbusd in 256 bits, on processors without AVX-512.
#include "hwy/base.h"
#include <immintrin.h>

#include "kernels/cpu/int8_linear.h"

HWY_PUSH_ATTRIBUTES("avx2,fma,f16c,avxvnni")

#include "kernels/cpu/int8_256-inl.h"

namespace catena::cpu {
namespace {

__m256i DotFours(__m256i acc, __m256i w, __m256i x) { return _mm256_dpbusd_avx_epi32(acc, w, x); }

}  // namespace
}  // namespace catena::cpu

#include "kernels/cpu/int8_vnni256-inl.h"

namespace catena::cpu {
const Int8Kernels& Int8AvxVnni() { return kKernels; }
}  // namespace catena::cpu

HWY_POP_ATTRIBUTES
