#include "kernels/cpu/pack_weight.h"

#include <algorithm>
#include <cstring>

#include "kernels/base/quant_block.h"

namespace catena::cpu {
namespace {

// The file's bytes of output column `n` over all tensors.
const uint8_t* FindRow(absl::Span<const TensorView> tensors, int64_t n) {
  size_t i = 0;
  for (; n >= tensors[i].rows; ++i) n -= tensors[i].rows;
  const TensorView& t = tensors[i];
  return t.bytes.data() + StoredRow(t, n) * RowBytes(t.dtype, t.cols);
}

// Neighbours of one type share panels.
std::vector<PanelSegment> SegmentsOf(absl::Span<const TensorView> tensors) {
  std::vector<PanelSegment> segments;
  for (const TensorView& t : tensors) {
    if (segments.empty() || segments.back().dtype != t.dtype) {
      PanelSegment next{.dtype = t.dtype};
      if (!segments.empty()) {
        const PanelSegment& last = segments.back();
        next.first_row = last.first_row + last.rows;
        next.first_panel = last.first_panel + last.panels();
        next.at = last.at + last.panels() * PanelBytes(last.dtype, t.cols);
      }
      segments.push_back(next);
    }
    segments.back().rows += t.rows;
  }
  return segments;
}

// The rows of a panel: fewer than kPanelCols in the last one.
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

void StoreWord(uint32_t word, uint8_t* to) { std::memcpy(to, &word, 4); }

// A plane of so many bits of one column's codes, those from `place` on.
void PackPlane(const uint32_t (&quads)[8], int bits, int place, uint8_t* out) {
  const uint32_t mask = ((1u << bits) - 1) * 0x01010101u;
  const int share = 8 / bits;  // quads in a vector
  for (int v = 0; v < bits; ++v) {
    uint32_t word = 0;
    for (int i = 0; i < share; ++i) word |= (quads[v * share + i] >> place & mask) << (i * bits);
    StoreWord(word, out + v * 128);
  }
}

template <int kBits>
void PackCodes(const uint8_t* codes, uint8_t* out) {
  uint32_t quads[8];
  std::memcpy(quads, codes, sizeof quads);
  int place = 0;
  for (const int bits : {8, 4, 2, 1}) {
    if ((kBits & bits) == 0) continue;
    PackPlane(quads, bits, place, out);
    place += bits;
    out += bits * 128;
  }
}

// The scale and the minimum of one group and column.
template <DType kType>
void PackMultiples(const QuantBlock& b, int group, uint8_t* out) {
  if constexpr (kType == DType::kQ2_K) {
    *out = static_cast<uint8_t>(b.scale[group] | b.minimum[group] << 4);
  } else {
    *out = static_cast<uint8_t>(b.scale[group]);
    if (Quantisation(kType).minimum) out[kPanelCols] = static_cast<uint8_t>(b.minimum[group]);
  }
}

template <DType kType>
void PackQuantPanel(const PanelRows& rows, int64_t cols, uint8_t* panel) {
  constexpr QuantPanel kPanel = PanelOf(kType);
  constexpr QuantFormat kFormat = Quantisation(kType);
  for (int64_t b = 0; b < cols / kQuantBlock; ++b) {
    uint8_t* head = panel + b / kPanel.blocks * kPanel.bytes();
    const int64_t within = b % kPanel.blocks;
    uint8_t* codes = head + kPanel.head_bytes + within * kPanel.block_bytes;
    uint8_t* multiples = head + kPanel.multiples + within * kFormat.groups * kPanel.group_bytes;
    for (int c = 0; c < rows.count; ++c) {
      const QuantBlock block = ReadQuantBlock(kType, rows.at[c], b);
      std::memcpy(head + c * 2, &block.d, 2);
      if (kFormat.minimum) std::memcpy(head + 64 + c * 2, &block.m, 2);
      for (int g = 0; kPanel.group_bytes > 0 && g < kFormat.groups; ++g) {
        PackMultiples<kType>(block, g, multiples + g * kPanel.group_bytes + c);
      }
      PackCodes<kFormat.bits>(block.code, codes + c / 16 * 64 + c % 16 * 4);
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
      return PackQuantPanel<DType::kQ8_0>(rows, cols, panel);
    case DType::kQ4_0:
      return PackQuantPanel<DType::kQ4_0>(rows, cols, panel);
    case DType::kQ4_1:
      return PackQuantPanel<DType::kQ4_1>(rows, cols, panel);
    case DType::kQ5_0:
      return PackQuantPanel<DType::kQ5_0>(rows, cols, panel);
    case DType::kQ5_1:
      return PackQuantPanel<DType::kQ5_1>(rows, cols, panel);
    case DType::kIQ4_NL:
      return PackQuantPanel<DType::kIQ4_NL>(rows, cols, panel);
    case DType::kMXFP4:
      return PackQuantPanel<DType::kMXFP4>(rows, cols, panel);
    case DType::kQ2_K:
      return PackQuantPanel<DType::kQ2_K>(rows, cols, panel);
    case DType::kQ3_K:
      return PackQuantPanel<DType::kQ3_K>(rows, cols, panel);
    case DType::kQ4_K:
      return PackQuantPanel<DType::kQ4_K>(rows, cols, panel);
    case DType::kQ5_K:
      return PackQuantPanel<DType::kQ5_K>(rows, cols, panel);
    case DType::kQ6_K:
      return PackQuantPanel<DType::kQ6_K>(rows, cols, panel);
    case DType::kIQ4_XS:
      return PackQuantPanel<DType::kIQ4_XS>(rows, cols, panel);
  }
}

}  // namespace

int64_t PanelWeight::Bytes(absl::Span<const TensorView> tensors) {
  const PanelSegment last = SegmentsOf(tensors).back();
  return last.at + last.panels() * PanelBytes(last.dtype, tensors[0].cols);
}

absl::StatusOr<std::unique_ptr<PanelWeight>> PanelWeight::Make(absl::Span<const TensorView> tensors,
                                                               HugeArena& arena, Workers& workers) {
  auto weight = std::make_unique<PanelWeight>();
  weight->cols_ = tensors[0].cols;
  weight->segments_ = SegmentsOf(tensors);
  CATENA_ASSIGN_OR_RETURN(weight->memory_, arena.Allocate(static_cast<size_t>(Bytes(tensors))));
  for (const PanelSegment& s : weight->segments_) {
    weight->dtypes_.push_back(s.dtype);
    uint8_t* panels = weight->memory_.data() + s.at;
    const int64_t panel_bytes = PanelBytes(s.dtype, weight->cols_);
    workers.pool.For(s.panels(), [&](int64_t p, int) {
      const int64_t first = p * kPanelCols;
      PanelRows rows{.at = {},
                     .count = static_cast<int>(std::min<int64_t>(kPanelCols, s.rows - first))};
      for (int c = 0; c < rows.count; ++c) rows.at[c] = FindRow(tensors, s.first_row + first + c);
      PackPanel(s.dtype, rows, weight->cols_, panels + p * panel_bytes);
    });
  }
  return weight;
}

}  // namespace catena::cpu
