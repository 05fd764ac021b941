#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/norm.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/norm_row-inl.h"
#include "kernels/cpu/pack_row-inl.h"

HWY_BEFORE_NAMESPACE();
namespace catena {
namespace HWY_NAMESPACE {

void NormTile(const FloatRows& x, const int32_t* rows, const float* gain, float eps, int64_t tile,
              cpu::CpuPackedRows* out, float* y) {
  const int tile_rows = out->tile_rows(tile);
  for (int i = 0; i < tile_rows; ++i) {
    const int r = static_cast<int>(tile) * cpu::kTileRows + i;
    NormRow(x.row(rows == nullptr ? r : rows[r]), gain, x.cols, eps, y);
    PackRow(y, x.cols, out->format(), tile_rows, i, out->tile(tile));
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace catena
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace catena {
HWY_EXPORT(NormTile);
namespace cpu {

void Norm(Workers& workers, const FloatRows& x, const int32_t* rows, const float* gain, float eps,
          CpuPackedRows* out) {
  const auto tile_fn = HWY_DYNAMIC_DISPATCH(NormTile);
  workers.pool.For(out->tiles(), [&](int64_t tile, int worker) {
    auto* y = reinterpret_cast<float*>(workers.Scratch(worker, x.cols * 4));
    tile_fn(x, rows, gain, eps, tile, out, y);
  });
}

}  // namespace cpu
}  // namespace catena
#endif  // HWY_ONCE
