#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/adjust_qkv.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/norm_row-inl.h"

HWY_BEFORE_NAMESPACE();
namespace catena {
namespace HWY_NAMESPACE {

void AdjustRow(float* row, int64_t cols, const AttentionShape& shape, const cpu::QkvValues& terms) {
  if (terms.bias != nullptr) {
    for (int64_t i = 0; i < cols; i += 16) {
      StoreUpTo16(Add(LoadUpTo16(row + i, cols - i), LoadUpTo16(terms.bias + i, cols - i)), row + i,
                  cols - i);
    }
  }
  if (terms.q_gain == nullptr) return;
  for (int h = 0; h < shape.heads + shape.kv_heads; ++h) {
    float* head = row + h * shape.head_dim;
    NormRow(head, h < shape.heads ? terms.q_gain : terms.k_gain, shape.head_dim, terms.eps, head);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace catena
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace catena {
HWY_EXPORT(AdjustRow);
namespace cpu {

void AdjustQkv(Workers& workers, const FloatRows& qkv, const AttentionShape& shape,
               const QkvValues& terms) {
  const auto row_fn = HWY_DYNAMIC_DISPATCH(AdjustRow);
  constexpr int kRunRows = 8;
  workers.pool.For((qkv.rows + kRunRows - 1) / kRunRows, [&](int64_t run, int) {
    const int begin = static_cast<int>(run) * kRunRows;
    for (int r = begin; r < begin + kRunRows && r < qkv.rows; ++r) {
      row_fn(qkv.row(r), qkv.cols, shape, terms);
    }
  });
}

}  // namespace cpu
}  // namespace catena
#endif  // HWY_ONCE
