#include <cmath>

#include "kernels/ref/ops.h"

namespace catena::ref {

void RmsNorm(const float* x, const float* gain, int64_t cols, float eps, float* out) {
  const float squares =
      Lanes16(cols, [&](int64_t k, float lane) { return std::fma(x[k], x[k], lane); });
  const float scale = 1.0f / std::sqrt(squares / static_cast<float>(cols) + eps);
  for (int64_t k = 0; k < cols; ++k) out[k] = (x[k] * scale) * gain[k];
}

}  // namespace catena::ref
