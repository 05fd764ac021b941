#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/pack_rows.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/pack_row-inl.h"

HWY_BEFORE_NAMESPACE();
namespace catena {
namespace HWY_NAMESPACE {

void PackTile(const FloatRows& x, int64_t tile, cpu::CpuPackedRows* out) {
  const int tile_rows = out->tile_rows(tile);
  for (int i = 0; i < tile_rows; ++i) {
    PackRow(x.row(tile * cpu::kTileRows + i), x.cols, out->format(), tile_rows, i, out->tile(tile));
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace catena
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace catena {
HWY_EXPORT(PackTile);
namespace cpu {

void Pack(Workers& workers, const FloatRows& x, CpuPackedRows* out) {
  const auto tile_fn = HWY_DYNAMIC_DISPATCH(PackTile);
  workers.pool.For(out->tiles(), [&](int64_t tile, int) { tile_fn(x, tile, out); });
}

}  // namespace cpu
}  // namespace catena
#endif  // HWY_ONCE
