#include <bit>
#include <cmath>

#include "kernels/ref/ops.h"

namespace catena::ref {
namespace {

double Horner(const double (&coefficients)[6], double z) {
  double p = coefficients[0];
  for (int i = 1; i < 6; ++i) p = std::fma(p, z, coefficients[i]);
  return p;
}

}  // namespace

SineCosine SinCos(float x) {
  const double t = std::fma(double{x}, kTwoOverPi, kRoundToInteger);
  const double n = t - kRoundToInteger;
  const auto q = std::bit_cast<uint64_t>(t) & 3;
  const double r = std::fma(-n, kPiOver2Low, std::fma(-n, kPiOver2High, double{x}));
  const double z = r * r;
  const double s = std::fma(r * z, Horner(kSinPolynomial, z), r);
  const double c = std::fma(z * z, Horner(kCosPolynomial, z), std::fma(-0.5, z, 1.0));
  const double sine = q % 2 == 1 ? c : s, cosine = q % 2 == 1 ? s : c;
  return {.sine = static_cast<float>(q >= 2 ? -sine : sine),
          .cosine = static_cast<float>(q == 1 || q == 2 ? -cosine : cosine)};
}

void RotaryFactors(int position, const float* frequencies, int64_t half, float scale, float* out) {
  for (int64_t i = 0; i < half; ++i) {
    const SineCosine f = SinCos(static_cast<float>(position) * frequencies[i]);
    out[i] = f.cosine * scale;
    out[half + i] = f.sine * scale;
  }
}

}  // namespace catena::ref
