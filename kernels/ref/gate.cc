#include "kernels/ref/ops.h"

namespace catena::ref {

void SwiGlu(const float* gate_up, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) {
    const float g = gate_up[i];
    out[i] = (g / (1.0f + Exp(-g))) * gate_up[n + i];
  }
}

}  // namespace catena::ref
