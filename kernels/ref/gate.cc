#include <cmath>

#include "kernels/ref/ops.h"

namespace catena::ref {

void GatedUnit(Gate gate, const float* gate_up, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) {
    const float g = gate_up[i];
    const float t = gate == Gate::kSilu ? -g : g * std::fma(g * g, kGeluCubic, kGeluLinear);
    out[i] = (g / (1.0f + Exp(t))) * gate_up[n + i];
  }
}

}  // namespace catena::ref
