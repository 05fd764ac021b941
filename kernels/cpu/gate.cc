#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/gate.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/pack_row-inl.h"

HWY_BEFORE_NAMESPACE();
namespace catena {
namespace HWY_NAMESPACE {

// t of kernels.h.
template <Gate kGate>
HWY_INLINE Vec16 Exponent(Vec16 g) {
  if constexpr (kGate == Gate::kSilu) return Mul(g, Set(-1.0f));
  return Mul(g, Fma(Mul(g, g), Set(kGeluCubic), Set(kGeluLinear)));
}

template <Gate kGate>
HWY_INLINE void GateRow(const float* gate, int64_t n, float* y) {
  for (int64_t k = 0; k < n; k += 16) {
    const Vec16 g = LoadUpTo16(gate + k, n - k);
    const Vec16 sigmoid = Add(Set(1.0f), Exp(Exponent<kGate>(g)));
    StoreUpTo16(Mul(Div(g, sigmoid), LoadUpTo16(gate + n + k, n - k)), y + k, n - k);
  }
}

void GateTile(Gate kind, const FloatRows& gate_up, int64_t tile, cpu::CpuPackedRows* out,
              float* y) {
  const int64_t n = gate_up.cols / 2;
  const int tile_rows = out->tile_rows(tile);
  for (int i = 0; i < tile_rows; ++i) {
    const float* gate = gate_up.row(tile * cpu::kTileRows + i);
    kind == Gate::kSilu ? GateRow<Gate::kSilu>(gate, n, y) : GateRow<Gate::kGeluTanh>(gate, n, y);
    PackRow(y, n, out->format(), tile_rows, i, out->tile(tile));
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace catena
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace catena {
HWY_EXPORT(GateTile);
namespace cpu {

void GatedUnit(Workers& workers, Gate gate, const FloatRows& gate_up, CpuPackedRows* out) {
  const auto tile_fn = HWY_DYNAMIC_DISPATCH(GateTile);
  workers.pool.For(out->tiles(), [&](int64_t tile, int worker) {
    auto* y = reinterpret_cast<float*>(workers.Scratch(worker, gate_up.cols / 2 * 4));
    tile_fn(gate, gate_up, tile, out, y);
  });
}

}  // namespace cpu
}  // namespace catena
#endif  // HWY_ONCE
