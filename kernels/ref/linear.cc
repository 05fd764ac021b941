#include <cmath>
#include <vector>

#include "kernels/base/dequantise.h"
#include "kernels/base/quant_block.h"
#include "kernels/ref/ops.h"

namespace catena::ref {
namespace {

// x, or a zero of its sign where x is subnormal.
float Flush(float x) { return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x; }

}  // namespace

float DotF32(DType dtype, const uint8_t* row, const float* x, int64_t cols) {
  std::vector<float> w(cols);
  WidenRow(dtype, row, cols, w.data());
  float acc = 0.0f;
  for (int64_t k = 0; k < cols; ++k) acc = std::fma(x[k], w[k], acc);
  return acc;
}

float DotBf16(const uint8_t* row, const float* x, int64_t cols) {
  std::vector<float> w(cols + 1);
  WidenRow(DType::kBF16, row, cols, w.data());
  float acc = 0.0f;
  for (int64_t k = 0; k < cols; k += 2) {
    const float odd = k + 1 < cols ? x[k + 1] : 0.0f;
    acc = Flush(std::fma(Flush(odd), Flush(w[k + 1]), acc));
    acc = Flush(std::fma(Flush(x[k]), Flush(w[k]), acc));
  }
  return acc;
}

float DotInt8(DType dtype, const uint8_t* row, const QuantisedRow& x, int64_t cols) {
  const QuantFormat format = Quantisation(dtype);
  float acc = 0.0f;
  for (int64_t b = 0; b < cols / kQuantBlock; ++b) {
    const QuantBlock w = ReadQuantBlock(dtype, row, b);
    const int8_t* a = x.quants.data() + b * kQuantBlock;
    const int n = kQuantBlock / format.groups;
    for (int g = 0; g < format.groups; ++g) {
      int dot = 0, sum = 0;
      for (int i = g * n; i < (g + 1) * n; ++i) {
        dot += Quant(format, w, i) * a[i];
        sum += a[i];
      }
      acc = std::fma(Scale(format, w, g) * static_cast<float>(dot), x.scales[b], acc);
      if (!format.minimum) continue;
      acc = std::fma(Minimum(w, g), x.scales[b] * static_cast<float>(sum), acc);
    }
  }
  return acc;
}

}  // namespace catena::ref
