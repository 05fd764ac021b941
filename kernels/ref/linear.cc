#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/base/dequantise.h"
#include "kernels/base/float16.h"
#include "kernels/ref/ops.h"

namespace catena::ref {
namespace {

// x, or a zero of its sign where x is subnormal.
float Flush(float x) { return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x; }

struct Block {
  float scale, minimum;
  int quants[kQuantBlock];
};

float Half(const uint8_t* p) {
  uint16_t h;
  std::memcpy(&h, p, 2);
  return F16ToF32(h);
}

Block ReadBlock(DType dtype, const uint8_t* p) {
  Block b{.scale = Half(p), .minimum = 0.0f, .quants = {}};
  if (dtype == DType::kQ8_0) {
    for (int i = 0; i < kQuantBlock; ++i) b.quants[i] = static_cast<int8_t>(p[2 + i]);
    return b;
  }
  const bool q41 = dtype == DType::kQ4_1;
  if (q41) b.minimum = Half(p + 2);
  const uint8_t* nibbles = p + (q41 ? 4 : 2);
  const int offset = q41 ? 0 : 8;
  for (int i = 0; i < 16; ++i) {
    b.quants[i] = (nibbles[i] & 15) - offset;
    b.quants[i + 16] = (nibbles[i] >> 4) - offset;
  }
  return b;
}

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
  float acc = 0.0f;
  for (int64_t b = 0; b < cols / kQuantBlock; ++b) {
    const Block w = ReadBlock(dtype, row + b * Info(dtype).block_bytes);
    int sum = 0;
    for (int i = 0; i < kQuantBlock; ++i) sum += w.quants[i] * x.quants[b * kQuantBlock + i];
    acc = std::fma(w.scale * static_cast<float>(sum), x.scales[b], acc);
    if (dtype == DType::kQ4_1) acc = std::fma(w.minimum, x.sums[b], acc);
  }
  return acc;
}

}  // namespace catena::ref
