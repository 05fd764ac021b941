#include "kernels/cpu/pack_weight.h"

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

// Column c of a float panel: [K][32].
template <class T>
void PackFloatColumn(const uint8_t* row, int64_t cols, int c, uint8_t* panel) {
  T* out = reinterpret_cast<T*>(panel) + c;
  for (int64_t k = 0; k < cols; ++k)
    std::memcpy(out + k * kPanelCols, row + k * sizeof(T), sizeof(T));
}

// Column c of an int8 panel.
void PackInt8Column(DType dtype, const uint8_t* row, int64_t cols, int c, uint8_t* panel) {
  const int header = dtype == DType::kQ4_1 ? 4 : 2;
  for (int64_t b = 0; b < cols / kQuantBlock; ++b) {
    const uint8_t* in = row + b * Info(dtype).block_bytes;
    uint8_t* out = panel + b * Int8BlockBytes(dtype);
    std::memcpy(out + c * 2, in, 2);
    if (dtype == DType::kQ4_1) std::memcpy(out + 64 + c * 2, in + 2, 2);
    uint8_t* quants = out + header * 32 + c / 16 * 64 + c % 16 * 4;
    for (int k = 0; k < kQuantBlock; ++k) {
      if (dtype == DType::kQ8_0) {
        quants[k / 4 * 128 + k % 4] = in[header + k] ^ 0x80;
        continue;
      }
      const uint8_t byte = in[header + k % 16];
      const uint8_t nibble = k < 16 ? byte & 15 : byte >> 4;
      const bool odd_quad = k / 4 % 2 != 0;
      uint8_t* at = quants + k / 8 * 128 + k % 4;
      *at = odd_quad ? static_cast<uint8_t>(*at | nibble << 4) : nibble;
    }
  }
}

void PackColumn(DType dtype, SourceRow row, int64_t cols, int c, uint8_t* panel) {
  std::vector<float> wide;
  if (row.dtype != dtype) {
    wide.resize(cols);
    WidenRow(row.dtype, row.bytes, cols, wide.data());
    row.bytes = reinterpret_cast<const uint8_t*>(wide.data());
  }
  switch (dtype) {
    case DType::kF32:
      return PackFloatColumn<float>(row.bytes, cols, c, panel);
    case DType::kF16:
    case DType::kBF16:
      return PackFloatColumn<uint16_t>(row.bytes, cols, c, panel);
    default:
      return PackInt8Column(dtype, row.bytes, cols, c, panel);
  }
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
    uint8_t* panel = weight->panels_.data() + p * panel_bytes;
    for (int c = 0; c < kPanelCols && p * kPanelCols + c < weight->rows_; ++c) {
      PackColumn(weight->dtype_, FindRow(tensors, p * kPanelCols + c), weight->cols_, c, panel);
    }
  });
  return weight;
}

}  // namespace catena::cpu
