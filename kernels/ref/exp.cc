#include <bit>
#include <cmath>

#include "kernels/ref/ops.h"

namespace catena::ref {

float Exp(float x) {
  x = x < kExpLow ? kExpLow : x;
  x = x > kExpHigh ? kExpHigh : x;
  if (std::isnan(x)) return x;
  const float n = std::nearbyint(x * kExpLog2e);
  const float r = std::fma(n, -kExpLn2Low, std::fma(n, -kExpLn2High, x));
  float p = kExpPolynomial[0];
  for (int i = 1; i < 6; ++i) p = std::fma(p, r, kExpPolynomial[i]);
  const float e = std::fma(p, r * r, r) + 1.0f;
  return e * std::bit_cast<float>((static_cast<int32_t>(n) + 127) << 23);
}

float SoftmaxExp(float x) { return x < kSoftmaxFloor ? 0.0f : Exp(x); }

}  // namespace catena::ref
