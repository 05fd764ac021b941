#include "kernels/cuda/device.h"
#include "kernels/cuda/ops.h"

namespace catena::cuda {
namespace {

constexpr int kThreads = 64;

// Sin and Cos of kernels.h, in float64.
struct SineCosine {
  float sine, cosine;
};
__device__ SineCosine SinCos(float x) {
  constexpr double s0 = kSinPolynomial[0], s1 = kSinPolynomial[1], s2 = kSinPolynomial[2],
                   s3 = kSinPolynomial[3], s4 = kSinPolynomial[4], s5 = kSinPolynomial[5];
  constexpr double c0 = kCosPolynomial[0], c1 = kCosPolynomial[1], c2 = kCosPolynomial[2],
                   c3 = kCosPolynomial[3], c4 = kCosPolynomial[4], c5 = kCosPolynomial[5];
  const double wide = x;
  const double t = fma(wide, kTwoOverPi, kRoundToInteger);
  const double n = t - kRoundToInteger;
  const int q = static_cast<int>(__double_as_longlong(t) & 3);
  const double r = fma(-n, kPiOver2Low, fma(-n, kPiOver2High, wide));
  const double z = r * r;
  const double of_s = fma(fma(fma(fma(fma(s0, z, s1), z, s2), z, s3), z, s4), z, s5);
  const double of_c = fma(fma(fma(fma(fma(c0, z, c1), z, c2), z, c3), z, c4), z, c5);
  const double s = fma(r * z, of_s, r);
  const double c = fma(z * z, of_c, fma(-0.5, z, 1.0));
  const double sine = q % 2 == 1 ? c : s, cosine = q % 2 == 1 ? s : c;
  return {static_cast<float>(q >= 2 ? -sine : sine),
          static_cast<float>(q == 1 || q == 2 ? -cosine : cosine)};
}

// A block a row.
__global__ void FactorsOfRows(BatchView batch, const float* frequencies, int half, float scale,
                              DeviceFloats out) {
  const int r = static_cast<int>(blockIdx.x);
  if (r >= batch.rows()) return;
  const float position = static_cast<float>(batch.positions[r]);
  const float* table = frequencies + batch.span_of(r).rotary * half;
  for (int i = Thread(); i < half; i += kThreads) {
    const SineCosine f = SinCos(position * table[i]);
    out.data[r * out.stride + i] = f.cosine * scale;
    out.data[r * out.stride + half + i] = f.sine * scale;
  }
}

}  // namespace

void RotaryFactors(cudaStream_t stream, const BatchView& batch, const float* frequencies, int half,
                   float scale, const DeviceFloats& out) {
  Launch(stream, dim3(static_cast<unsigned>(out.rows)), kThreads, 0, FactorsOfRows, batch,
         frequencies, half, scale, out);
}

}  // namespace catena::cuda
