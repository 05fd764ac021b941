#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/soft_cap.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/vec16-inl.h"

HWY_BEFORE_NAMESPACE();
namespace catena {
namespace HWY_NAMESPACE {

void CapValues(float cap, int64_t n, float* x) {
  for (int64_t k = 0; k < n; k += 16) {
    StoreUpTo16(SoftCap(LoadUpTo16(x + k, n - k), cap), x + k, n - k);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace catena
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace catena {
HWY_EXPORT(CapValues);
namespace cpu {

void SoftCap(Workers& workers, float cap, const FloatRows& x) {
  const auto values_fn = HWY_DYNAMIC_DISPATCH(CapValues);
  constexpr int64_t kRun = 8192;  // values that a thread takes at once
  const int64_t runs = (x.cols + kRun - 1) / kRun;
  workers.pool.For(x.rows * runs, [&](int64_t i, int) {
    const int64_t begin = i % runs * kRun;
    values_fn(cap, std::min(kRun, x.cols - begin), x.row(static_cast<int>(i / runs)) + begin);
  });
}

}  // namespace cpu
}  // namespace catena
#endif  // HWY_ONCE
