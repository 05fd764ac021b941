// RMSNorm of a row or of a head: NormLinear of kernels.h.
#if defined(CATENA_KERNELS_CPU_NORM_ROW_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CATENA_KERNELS_CPU_NORM_ROW_INL_H_
#undef CATENA_KERNELS_CPU_NORM_ROW_INL_H_
#else
#define CATENA_KERNELS_CPU_NORM_ROW_INL_H_
#endif

#include <cmath>

#include "kernels/cpu/vec16-inl.h"

HWY_BEFORE_NAMESPACE();
namespace catena {
namespace HWY_NAMESPACE {

// 1 / sqrt(mean of the squares + eps).
HWY_INLINE float RmsScale(const float* x, int64_t cols, float eps) {
  Vec16 squares = Set(0.0f);
  for (int64_t k = 0; k < cols; k += 16) {
    const Vec16 v = LoadUpTo16(x + k, cols - k);
    squares = Fma(v, v, squares);
  }
  return 1.0f / std::sqrt(SumTree(squares) / static_cast<float>(cols) + eps);
}

// y may be x.
HWY_INLINE void NormRow(const float* x, const float* gain, int64_t cols, float eps, float* y) {
  const Vec16 scales = Set(RmsScale(x, cols, eps));
  for (int64_t k = 0; k < cols; k += 16) {
    const Vec16 v = Mul(Mul(LoadUpTo16(x + k, cols - k), scales), LoadUpTo16(gain + k, cols - k));
    StoreUpTo16(v, y + k, cols - k);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace catena
HWY_AFTER_NAMESPACE();

#endif  // include guard per target
