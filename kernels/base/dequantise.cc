#include "kernels/base/dequantise.h"

#include <cmath>
#include <cstring>

#include "kernels/base/float16.h"

namespace catena {
namespace {

uint16_t Load16(const uint8_t* p) {
  uint16_t h;
  std::memcpy(&h, p, 2);
  return h;
}

void WidenQ8(const uint8_t* p, float* out) {
  const float d = F16ToF32(Load16(p));
  for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(static_cast<int8_t>(p[2 + i]));
}

void WidenQ40(const uint8_t* p, float* out) {
  const float d = F16ToF32(Load16(p));
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>((p[2 + i] & 15) - 8);
    out[i + 16] = d * static_cast<float>((p[2 + i] >> 4) - 8);
  }
}

void WidenQ41(const uint8_t* p, float* out) {
  const float d = F16ToF32(Load16(p)), m = F16ToF32(Load16(p + 2));
  for (int i = 0; i < 16; ++i) {  // d * nibble is exact, so this is fma(d, nibble, m)
    out[i] = d * static_cast<float>(p[4 + i] & 15) + m;
    out[i + 16] = d * static_cast<float>(p[4 + i] >> 4) + m;
  }
}

// Scale times quant is an integer below 2^13, times an 11-bit d: exact in float32.
void WidenQ6K(const uint8_t* p, float* out) {
  const uint8_t *low = p, *high = p + 128, *scales = p + 192;
  const float d = F16ToF32(Load16(p + 208));
  for (int half = 0; half < 2; ++half, low += 64, high += 32, scales += 8, out += 128) {
    for (int j = 0; j < 4; ++j) {
      for (int l = 0; l < 32; ++l) {
        const int nibble = low[32 * (j % 2) + l] >> (4 * (j / 2)) & 15;
        const int q = (nibble | (high[l] >> (2 * j) & 3) << 4) - 32;
        const int scale = static_cast<int8_t>(scales[2 * j + l / 16]);
        out[32 * j + l] = d * static_cast<float>(scale * q);
      }
    }
  }
}

}  // namespace

void WidenRow(DType dtype, const uint8_t* row, int64_t cols, float* out) {
  const DTypeInfo info = Info(dtype);
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
  const auto widen = dtype == DType::kQ8_0   ? WidenQ8
                     : dtype == DType::kQ4_0 ? WidenQ40
                     : dtype == DType::kQ4_1 ? WidenQ41
                                             : WidenQ6K;
  for (int64_t i = 0; i < cols; i += info.block_values, row += info.block_bytes) {
    widen(row, out + i);
  }
}

}  // namespace catena
