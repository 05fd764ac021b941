// AVX2: maddubs multiplies uint8 by int8 into saturating int16 pairs. Quants are -127 to 127, so
// that a pair with codes of six bits (0 to 63) is at most 2 * 63 * 127 < 2^15, and eight such pairs
// with codes of four bits are too: their sums stay in 16 bits (QuadsASum), and become int32 once a
// group. A code of eight bits is taken as |w| times a with w's sign (2 * 128 * 127 < 2^15).
#include "hwy/base.h"
#include <immintrin.h>

#include "kernels/cpu/int8_linear.h"

HWY_PUSH_ATTRIBUTES("avx2,fma,f16c")

#include "kernels/cpu/int8_256-inl.h"

namespace catena::cpu {
namespace {

struct Isa : Vectors256 {
  static constexpr int32_t kBytesOffset = 0;
  static constexpr bool kSumsPairs = true;
  struct PairVec {
    __m256i v[2];
  };

  static PairVec Pairs(ByteVec w, __m256i x) {
    return {_mm256_maddubs_epi16(w.v[0], x), _mm256_maddubs_epi16(w.v[1], x)};
  }
  static __m256i SignedPairs(__m256i stored, __m256i x) {
    const __m256i w = _mm256_xor_si256(stored, _mm256_set1_epi8(-128));
    return _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
  }
  static PairVec SignedPairs(ByteVec w, __m256i x) {
    return {SignedPairs(w.v[0], x), SignedPairs(w.v[1], x)};
  }
  static PairVec AddPairs(PairVec a, PairVec b) {
    PairVec sum{_mm256_add_epi16(a.v[0], b.v[0]), _mm256_add_epi16(a.v[1], b.v[1])};
    // In this order: a compiler that adds them as a tree keeps all of them, most in memory.
    asm("" : "+x"(sum.v[0]), "+x"(sum.v[1]));
    return sum;
  }
  static IntVec AddFours(IntVec acc, PairVec pairs) {
    const __m256i ones = _mm256_set1_epi16(1);
    return {_mm256_add_epi32(acc.v[0], _mm256_madd_epi16(pairs.v[0], ones)),
            _mm256_add_epi32(acc.v[1], _mm256_madd_epi16(pairs.v[1], ones))};
  }
};

}  // namespace
}  // namespace catena::cpu

#include "kernels/cpu/int8_linear-inl.h"

namespace catena::cpu {
const Int8Kernels& Int8Avx2() { return kKernels; }
}  // namespace catena::cpu

HWY_POP_ATTRIBUTES
