// AVX2: maddubs multiplies uint8 by int8 into saturating int16 pairs. A code of six bits (0-63)
// times an int8 cannot saturate (2 * 63 * 128 < 2^15); one of eight is taken as |w| times a with
// w's sign, which cannot either (2 * 128 * 127 < 2^15).
#include "hwy/base.h"
#include <immintrin.h>

#include "kernels/cpu/int8_linear.h"

HWY_PUSH_ATTRIBUTES("avx2,fma,f16c")

#include "kernels/cpu/int8_256-inl.h"

namespace catena::cpu {
namespace {

struct Isa : Vectors256 {
  static constexpr int32_t kBytesOffset = 0;

  static __m256i AddFours(__m256i acc, __m256i pairs) {
    return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  static IntVec Dot(IntVec acc, ByteVec w, __m256i x) {
    return {AddFours(acc.v[0], _mm256_maddubs_epi16(w.v[0], x)),
            AddFours(acc.v[1], _mm256_maddubs_epi16(w.v[1], x))};
  }
  static __m256i SignedPairs(__m256i stored, __m256i x) {
    const __m256i w = _mm256_xor_si256(stored, _mm256_set1_epi8(-128));
    return _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
  }
  static IntVec DotBytes(IntVec acc, ByteVec w, __m256i x) {
    return {AddFours(acc.v[0], SignedPairs(w.v[0], x)), AddFours(acc.v[1], SignedPairs(w.v[1], x))};
  }
};

}  // namespace
}  // namespace catena::cpu

#include "kernels/cpu/int8_linear-inl.h"

namespace catena::cpu {
const Int8Kernels& Int8Avx2() { return kKernels; }
}  // namespace catena::cpu

HWY_POP_ATTRIBUTES
