#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/add_norm.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/norm_row-inl.h"

HWY_BEFORE_NAMESPACE();
namespace catena {
namespace HWY_NAMESPACE {

void AddNormRow(const float* y, const float* gain, int64_t cols, float eps, float* x) {
  const Vec16 scales = Set(RmsScale(y, cols, eps));
  for (int64_t k = 0; k < cols; k += 16) {
    const int64_t n = cols - k;
    const Vec16 normed = Mul(Mul(LoadUpTo16(y + k, n), scales), LoadUpTo16(gain + k, n));
    StoreUpTo16(Add(LoadUpTo16(x + k, n), normed), x + k, n);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace catena
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace catena {
HWY_EXPORT(AddNormRow);
namespace cpu {

void AddNorm(Workers& workers, const FloatRows& y, const float* gain, float eps,
             const FloatRows& x) {
  const auto row_fn = HWY_DYNAMIC_DISPATCH(AddNormRow);
  workers.pool.For(y.rows, [&](int64_t row, int) {
    const int r = static_cast<int>(row);
    row_fn(y.row(r), gain, y.cols, eps, x.row(r));
  });
}

}  // namespace cpu
}  // namespace catena
#endif  // HWY_ONCE
