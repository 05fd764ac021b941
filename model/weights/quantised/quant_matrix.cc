#include "model/weights/quantised/quant_matrix.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <new>

#include "kernels/base/float16.h"
#include "kernels/base/quant_block.h"

namespace catena {
namespace {

// Rows that are read together: whole cache lines of column-major words, where eight rows share one.
constexpr int64_t kTileRows = 128;

constexpr float kF16Largest = 65504.0f, kF16LeastNormal = 0x1p-14f;

uint32_t Load32(const uint8_t* p) {
  uint32_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

// --- codes ---

void ReadRowWords(const QuantMatrix& m, int64_t row, uint8_t* out) {
  const int64_t a_word = 32 / m.bits, words = (m.cols + a_word - 1) / a_word;
  const uint8_t* in = m.codes.data() + row * words * 4;
  for (int64_t k = 0; k < m.cols; ++k) {
    const uint32_t word = Load32(in + k / a_word * 4);
    out[k] = static_cast<uint8_t>(word >> k % a_word * m.bits & ((1u << m.bits) - 1));
  }
}

void ReadColumnWords(const QuantMatrix& m, int64_t row, int64_t n, uint8_t* out) {
  const int64_t a_word = 32 / m.bits;
  for (int64_t w = 0; w < m.cols / a_word; ++w) {
    const uint8_t* in = m.codes.data() + (w * m.rows + row) * 4;
    for (int64_t r = 0; r < n; ++r) {
      uint32_t word = Load32(in + r * 4);
      uint8_t* to = out + r * m.cols + w * a_word;
      for (int64_t i = 0; i < a_word; ++i, word >>= m.bits) {
        to[i] = static_cast<uint8_t>(word & ((1u << m.bits) - 1));
      }
    }
  }
}

// REQUIRES: row and n are multiples of 8.
void ReadAwqWords(const QuantMatrix& m, int64_t row, int64_t n, uint8_t* out) {
  constexpr int kOrder[8] = {0, 2, 4, 6, 1, 3, 5, 7};
  for (int64_t k = 0; k < m.cols; ++k) {
    const uint8_t* in = m.codes.data() + (k * m.rows + row) / 8 * 4;
    for (int64_t r = 0; r < n; r += 8) {
      const uint32_t word = Load32(in + r / 2);
      for (int i = 0; i < 8; ++i) {
        out[(r + kOrder[i]) * m.cols + k] = static_cast<uint8_t>(word >> i * 4 & 15);
      }
    }
  }
}

// Rows [row, row + n) into out, (n, cols).
void ReadCodes(const QuantMatrix& m, int64_t row, int64_t n, uint8_t* out) {
  switch (m.layout) {
    case CodeLayout::kBytes:
      std::memcpy(out, m.codes.data() + row * m.cols, static_cast<size_t>(n * m.cols));
      return;
    case CodeLayout::kSignedBytes:
      for (int64_t i = 0; i < n * m.cols; ++i) out[i] = m.codes[row * m.cols + i] ^ 0x80;
      return;
    case CodeLayout::kRowWords:
      for (int64_t r = 0; r < n; ++r) ReadRowWords(m, row + r, out + r * m.cols);
      return;
    case CodeLayout::kColumnWords:
      return ReadColumnWords(m, row, n, out);
    case CodeLayout::kAwqWords:
      return ReadAwqWords(m, row, n, out);
  }
}

// --- formats ---

uint8_t MiddleOf(const QuantMatrix& m) { return static_cast<uint8_t>(1 << (m.bits - 1)); }

bool IsSymmetric(const QuantMatrix& m) {
  return std::all_of(m.zeros.begin(), m.zeros.end(), [&](uint8_t z) { return z == MiddleOf(m); });
}

// Each to within 2^-11 of itself.
bool FitF16(const std::vector<float>& scales) {
  return std::all_of(scales.begin(), scales.end(), [](float s) {
    const float a = std::fabs(s);
    return (a >= kF16LeastNormal && a <= kF16Largest) || F16ToF32(F32ToF16Saturating(a)) == a;
  });
}

bool IsWholeBlocks(const QuantMatrix& m) {
  return m.cols % kQuantBlock == 0 && (m.block_cols % kQuantBlock == 0 || m.blocks_a_row == 1);
}

DType FloatFormatOf(const QuantMatrix& m) {
  const float largest = static_cast<float>((1 << m.bits) - 1);
  const bool fit = std::all_of(m.scales.begin(), m.scales.end(), [&](float s) {
    const float a = std::fabs(s);
    return a == 0 || (a >= kF16LeastNormal && a * largest <= kF16Largest);
  });
  return fit ? DType::kF16 : DType::kBF16;
}

// --- rows ---

struct Place {
  float scale;
  int zero;
};

Place PlaceOf(const QuantMatrix& m, int64_t row, int64_t k) {
  const int64_t block = row / m.block_rows * m.blocks_a_row + k / m.block_cols;
  return {m.scales[block], m.zeros.empty() ? MiddleOf(m) : m.zeros[block]};
}

void PackNibbles(const uint8_t* code, uint8_t* out) {
  for (int i = 0; i < 16; ++i) out[i] = static_cast<uint8_t>(code[i] | code[i + 16] << 4);
}

// A block of 32; `code` is changed.
void EncodeBlock(DType dtype, const Place& at, uint8_t* code, uint8_t* out) {
  const uint16_t d = F32ToF16Saturating(at.scale);
  std::memcpy(out, &d, sizeof d);
  out += sizeof d;
  if (dtype == DType::kQ8_0) {
    for (int i = 0; i < kQuantBlock; ++i) out[i] = code[i] ^ 0x80;
    return;
  }
  if (dtype == DType::kQ5_0) {
    uint32_t high = 0;
    for (int i = 0; i < kQuantBlock; ++i) {
      const int shifted = code[i] - at.zero + 16;
      high |= static_cast<uint32_t>(shifted >> 4) << i;
      code[i] = static_cast<uint8_t>(shifted & 15);
    }
    std::memcpy(out, &high, sizeof high);
    out += sizeof high;
  }
  PackNibbles(code, out);
}

void EncodeBlocks(const QuantMatrix& m, DType dtype, int64_t row, uint8_t* codes, uint8_t* out) {
  for (int64_t k = 0; k < m.cols; k += kQuantBlock, out += Info(dtype).block_bytes) {
    EncodeBlock(dtype, PlaceOf(m, row, k), codes + k, out);
  }
}

const std::array<float, 256>& E4M3Table() {
  static const std::array<float, 256> table = [] {
    std::array<float, 256> t;
    for (int i = 0; i < 256; ++i) t[i] = E4M3ToF32(static_cast<uint8_t>(i));
    return t;
  }();
  return table;
}

void EncodeFloats(const QuantMatrix& m, DType dtype, int64_t row, const uint8_t* codes,
                  uint8_t* out) {
  const std::array<float, 256>& e4m3 = E4M3Table();
  for (int64_t begin = 0; begin < m.cols; begin += m.block_cols) {
    const Place at = PlaceOf(m, row, begin);
    for (int64_t k = begin; k < std::min(begin + m.block_cols, m.cols); ++k) {
      const float code = m.is_float ? e4m3[codes[k]] : static_cast<float>(codes[k] - at.zero);
      const float value = code * at.scale;
      const uint16_t bits = dtype == DType::kF16 ? F32ToF16Saturating(value) : F32ToBF16(value);
      std::memcpy(out + k * 2, &bits, sizeof bits);
    }
  }
}

}  // namespace

float E4M3ToF32(uint8_t code) {
  const int exponent = code >> 3 & 15, mantissa = code & 7;
  float value = std::ldexp(static_cast<float>(exponent == 0 ? mantissa : mantissa + 8),
                           std::max(exponent, 1) - 10);
  if ((code & 0x7f) == 0x7f) value = std::numeric_limits<float>::quiet_NaN();
  return (code & 0x80) != 0 ? -value : value;
}

DType FormatOf(const QuantMatrix& m) {
  if (m.is_float) return DType::kBF16;
  const bool symmetric = IsSymmetric(m);
  if (!IsWholeBlocks(m) || !FitF16(m.scales) || (m.bits == 8 && !symmetric)) {
    return FloatFormatOf(m);
  }
  if (m.bits == 8) return DType::kQ8_0;
  return symmetric ? DType::kQ4_0 : DType::kQ5_0;
}

absl::StatusOr<TensorView> Convert(const QuantMatrix& m) {
  const DType dtype = FormatOf(m);
  const int64_t row_bytes = RowBytes(dtype, m.cols), tile = std::min(kTileRows, m.rows);
  const size_t size = static_cast<size_t>(m.rows * row_bytes);
  std::shared_ptr<uint8_t[]> bytes(new (std::nothrow) uint8_t[size]);
  std::unique_ptr<uint8_t[]> codes(new (std::nothrow) uint8_t[static_cast<size_t>(tile * m.cols)]);
  if (bytes == nullptr || codes == nullptr) {
    return absl::ResourceExhaustedError(
        fmt::format("no memory for tensor {} of {} bytes", Quoted(m.name), size));
  }
  for (int64_t row = 0; row < m.rows; row += tile) {
    const int64_t n = std::min(tile, m.rows - row);
    ReadCodes(m, row, n, codes.get());
    for (int64_t r = 0; r < n; ++r) {
      uint8_t *in = codes.get() + r * m.cols, *out = bytes.get() + (row + r) * row_bytes;
      IsQuantised(dtype) ? EncodeBlocks(m, dtype, row + r, in, out)
                         : EncodeFloats(m, dtype, row + r, in, out);
    }
  }
  TensorView view;
  view.name = m.name;
  view.dtype = dtype;
  view.rows = m.rows;
  view.cols = m.cols;
  view.bytes = {bytes.get(), size};
  view.owner = std::move(bytes);
  return view;
}

}  // namespace catena
