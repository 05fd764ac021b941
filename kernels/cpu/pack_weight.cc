#include "kernels/cpu/pack_weight.h"

#include <algorithm>
#include <cstring>

#include "kernels/base/dequantise.h"

namespace catena::cpu {
namespace {

int64_t TotalRows(absl::Span<const TensorView> tensors) {
  int64_t rows = 0;
  for (const TensorView& t : tensors) rows += t.rows;
  return rows;
}

// The file's bytes of output column `n` over all tensors, and its dtype.
struct SourceRow {
  const uint8_t* bytes;
  DType dtype;
};
SourceRow FindRow(absl::Span<const TensorView> tensors, int64_t n) {
  size_t i = 0;
  for (; n >= tensors[i].rows; ++i) n -= tensors[i].rows;
  const TensorView& t = tensors[i];
  return {t.bytes.data() + StoredRow(t, n) * RowBytes(t.dtype, t.cols), t.dtype};
}

// The rows of a panel in the panel's dtype: fewer than kPanelCols in the last one.
struct PanelRows {
  const uint8_t* at[kPanelCols];
  int count;
};

// A float panel, [K][32]: eight k of all columns at a time, so that both sides stay in L1.
template <class T>
void PackFloatPanel(const PanelRows& rows, int64_t cols, uint8_t* panel) {
  constexpr int64_t kStep = 8;
  T* out = reinterpret_cast<T*>(panel);
  for (int64_t k = 0; k < cols; k += kStep, out += kStep * kPanelCols) {
    const int64_t n = std::min(kStep, cols - k);
    for (int c = 0; c < rows.count; ++c) {
      T values[kStep];
      std::memcpy(values, rows.at[c] + k * sizeof(T), n * sizeof(T));
      for (int64_t i = 0; i < n; ++i) out[i * kPanelCols + c] = values[i];
    }
  }
}

// A bf16 panel, [K/2][32][2], the same way.
void PackPairPanel(const PanelRows& rows, int64_t cols, uint8_t* panel) {
  constexpr int64_t kStep = 8;
  for (int64_t k = 0; k < cols; k += kStep, panel += kStep / 2 * 4 * kPanelCols) {
    const int64_t n = std::min(kStep, cols - k);
    for (int c = 0; c < rows.count; ++c) {
      uint16_t values[kStep] = {};
      std::memcpy(values, rows.at[c] + k * 2, n * 2);
      for (int64_t i = 0; i < n; i += 2) {
        std::memcpy(panel + (i / 2 * kPanelCols + c) * 4, values + i, 4);
      }
    }
  }
}

uint32_t LoadWord(const uint8_t* from) {
  uint32_t word;
  std::memcpy(&word, from, 4);
  return word;
}
void StoreWord(uint32_t word, uint8_t* to) { std::memcpy(to, &word, 4); }

// The quants of one block of one column: the file's byte i has k = i and k = i + 16 as nibbles; the
// panel's words, 128 bytes apart, have neighbouring quads of k.
void PackNibbles(const uint8_t* in, uint8_t* out) {
  constexpr uint32_t kLow = 0x0F0F0F0F, kHigh = 0xF0F0F0F0;
  for (int pair = 0; pair < 2; ++pair, in += 8, out += 128) {
    const uint32_t even = LoadWord(in), odd = LoadWord(in + 4);
    StoreWord((even & kLow) | (odd & kLow) << 4, out);
    StoreWord((even & kHigh) >> 4 | (odd & kHigh), out + 256);
  }
}

void PackBytes(const uint8_t* in, uint8_t* out) {
  for (int quad = 0; quad < 8; ++quad)
    StoreWord(LoadWord(in + quad * 4) ^ 0x80808080, out + quad * 128);
}

template <DType kType>
void PackInt8Panel(const PanelRows& rows, int64_t cols, uint8_t* panel) {
  constexpr int kHeader = kType == DType::kQ4_1 ? 4 : 2;
  const int64_t in_bytes = Info(kType).block_bytes;
  for (int64_t b = 0; b < cols / kQuantBlock; ++b, panel += Int8BlockBytes(kType)) {
    for (int c = 0; c < rows.count; ++c) {
      const uint8_t* in = rows.at[c] + b * in_bytes;
      std::memcpy(panel + c * 2, in, 2);
      if (kType == DType::kQ4_1) std::memcpy(panel + 64 + c * 2, in + 2, 2);
      uint8_t* quants = panel + kHeader * kPanelCols + c / 16 * 64 + c % 16 * 4;
      if (kType == DType::kQ8_0) {
        PackBytes(in + kHeader, quants);
      } else {
        PackNibbles(in + kHeader, quants);
      }
    }
  }
}

void PackPanel(DType dtype, const PanelRows& rows, int64_t cols, uint8_t* panel) {
  switch (dtype) {
    case DType::kF32:
      return PackFloatPanel<float>(rows, cols, panel);
    case DType::kF16:
      return PackFloatPanel<uint16_t>(rows, cols, panel);
    case DType::kBF16:
      return PackPairPanel(rows, cols, panel);
    case DType::kQ8_0:
      return PackInt8Panel<DType::kQ8_0>(rows, cols, panel);
    case DType::kQ4_0:
      return PackInt8Panel<DType::kQ4_0>(rows, cols, panel);
    case DType::kQ4_1:
      return PackInt8Panel<DType::kQ4_1>(rows, cols, panel);
    default:  // CommonDType widens it
      CATENA_CHECK(false);
  }
}

// Columns from `first` on, widened where the tensors' dtypes differ.
void MakePanel(absl::Span<const TensorView> tensors, DType dtype, int64_t first, int count,
               uint8_t* panel) {
  const int64_t cols = tensors[0].cols;
  PanelRows rows{.at = {}, .count = count};
  std::vector<float> wide;
  for (int c = 0; c < count; ++c) {
    const SourceRow row = FindRow(tensors, first + c);
    rows.at[c] = row.bytes;
    if (row.dtype == dtype) continue;
    wide.resize(kPanelCols * cols);
    WidenRow(row.dtype, row.bytes, cols, wide.data() + c * cols);
    rows.at[c] = reinterpret_cast<const uint8_t*>(wide.data() + c * cols);
  }
  PackPanel(dtype, rows, cols, panel);
}

}  // namespace

int64_t PanelWeight::Bytes(absl::Span<const TensorView> tensors) {
  const int64_t panels = (TotalRows(tensors) + kPanelCols - 1) / kPanelCols;
  return panels * PanelBytes(CommonDType(tensors), tensors[0].cols);
}

absl::StatusOr<std::unique_ptr<PanelWeight>> PanelWeight::Make(absl::Span<const TensorView> tensors,
                                                               HugeArena& arena, Workers& workers) {
  auto weight = std::make_unique<PanelWeight>();
  weight->rows_ = TotalRows(tensors);
  weight->cols_ = tensors[0].cols;
  weight->dtype_ = CommonDType(tensors);
  CATENA_ASSIGN_OR_RETURN(weight->panels_, arena.Allocate(static_cast<size_t>(Bytes(tensors))));
  const int64_t panel_bytes = PanelBytes(weight->dtype_, weight->cols_);
  const int64_t panels = (weight->rows_ + kPanelCols - 1) / kPanelCols;
  workers.pool.For(panels, [&](int64_t p, int) {
    const int64_t first = p * kPanelCols;
    const int count = static_cast<int>(std::min<int64_t>(kPanelCols, weight->rows_ - first));
    MakePanel(tensors, weight->dtype_, first, count, weight->panels_.data() + p * panel_bytes);
  });
  return weight;
}

}  // namespace catena::cpu
