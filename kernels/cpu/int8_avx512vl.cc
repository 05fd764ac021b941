// The kernel of int8_avxvnni.cc in the encoding of AVX-512: its test on processors that have this
// encoding alone.
#include "hwy/base.h"
#include <immintrin.h>

#include "kernels/cpu/int8_linear.h"

HWY_PUSH_ATTRIBUTES("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")

#include "kernels/cpu/int8_256-inl.h"

namespace catena::cpu {
namespace {

__m256i DotFours(__m256i acc, __m256i w, __m256i x) { return _mm256_dpbusd_epi32(acc, w, x); }

}  // namespace
}  // namespace catena::cpu

#include "kernels/cpu/int8_vnni256-inl.h"

namespace catena::cpu {
const Int8Kernels& Int8Avx512Vl() { return kKernels; }
}  // namespace catena::cpu

HWY_POP_ATTRIBUTES
