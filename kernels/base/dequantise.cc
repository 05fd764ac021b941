#include "kernels/base/dequantise.h"

#include <cmath>
#include <cstring>

#include "kernels/base/float16.h"
#include "kernels/base/quant_block.h"

namespace catena {
namespace {

void WidenBlock(const QuantFormat& f, const QuantBlock& b, float* out) {
  for (int g = 0; g < f.groups; ++g) {
    const float scale = Scale(f, b, g), minimum = f.minimum ? Minimum(b, g) : 0.0f;
    const int n = kQuantBlock / f.groups;
    for (int i = g * n; i < (g + 1) * n; ++i) {
      const float product = scale * static_cast<float>(Quant(f, b, i));  // exact
      out[i] = f.minimum ? product + minimum : product;
    }
  }
}

}  // namespace

void WidenRow(DType dtype, const uint8_t* row, int64_t cols, float* out) {
  switch (dtype) {
    case DType::kF32:
      std::memcpy(out, row, static_cast<size_t>(cols) * 4);
      return;
    case DType::kF16:
      for (int64_t i = 0; i < cols; ++i) out[i] = F16ToF32(Load16(row + 2 * i));
      return;
    case DType::kBF16:
      for (int64_t i = 0; i < cols; ++i) out[i] = BF16ToF32(Load16(row + 2 * i));
      return;
    default:
      break;
  }
  const QuantFormat format = Quantisation(dtype);
  for (int64_t b = 0; b < cols / kQuantBlock; ++b) {
    WidenBlock(format, ReadQuantBlock(dtype, row, b), out + b * kQuantBlock);
  }
}

void WidenRow(const TensorView& tensor, int64_t r, float* out) {
  const int64_t at = StoredRow(tensor, r) * RowBytes(tensor.dtype, tensor.cols);
  WidenRow(tensor.dtype, tensor.bytes.data() + at, tensor.cols, out);
  if (tensor.added == 0.0f) return;
  for (int64_t k = 0; k < tensor.cols; ++k) out[k] += tensor.added;
}

}  // namespace catena
