#include <cmath>

#include "kernels/ref/ops.h"

namespace catena::ref {

void Rotate(float* x, int heads, int head_dim, int rotary_dim, const float* factors) {
  const int half = rotary_dim / 2;
  const float *cosine = factors, *sine = factors + half;
  for (int h = 0; h < heads; ++h, x += head_dim) {
    for (int i = 0; i < half; ++i) {
      const float a = x[i], b = x[i + half];
      x[i] = std::fma(-b, sine[i], a * cosine[i]);
      x[i + half] = std::fma(a, sine[i], b * cosine[i]);
    }
  }
}

}  // namespace catena::ref
