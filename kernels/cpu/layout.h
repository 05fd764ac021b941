// Layouts of the CPU backend's packed weights and packed activations, private to kernels/cpu/.
//
// Weight panels. The output columns of a linear layer (rows of the file's matrix) lie in panels of
// 32, K ascending, so that one layout serves one row (memory bound) and many (arithmetic bound):
//   float   [K][32] values of f32 or f16
//   bf16    [K/2][32][2]: pairs of k, the last one's second value zero where K is odd
//   int8    per block of 32 k: scales fp16 [32], q4_1: minima fp16 [32], then quants, 64 bytes a
//           vector of 16 columns x 4 k:
//             q8_0  [8 quads of k][2 column halves], the quant + 128 as uint8
//             q4    [4 pairs of quads][2 column halves]; low nibble the even quad, high the odd one
// Columns past N are zero. Panels start at multiples of 64 bytes.
//
// Activation tiles. Rows lie in tiles of kTileRows (the last may be shorter, of R rows):
//   float   [K][R] float32
//   bf16    [K/2][R][2], padded like a panel
//   int8    per block of 32 k: quants int8 [R][32], start int32 [R], scale float [R],
//           scale*sum float [R]
// `start` is the integer accumulator's first value: the bits of 12582912.0f less offset * sum, so
// that after the dot product its bits are the float 12582912 + s, exactly, for |s| < 2^22: then
// fma(that, d, -12582912 * d) is d * s rounded once (1.5 * 2^23 * d is exact, d being fp16).
#pragma once

#include <cstdint>

#include "kernels/kernels.h"

namespace catena::cpu {

inline constexpr int kPanelCols = 32;
inline constexpr int kTileRows = 6;
inline constexpr float kMagic = 12582912.0f;
inline constexpr int32_t kMagicBits = 0x4B400000;

// Bytes of one block of 32 k of a panel.
constexpr int Int8BlockBytes(DType t) {
  return t == DType::kQ8_0 ? 64 + 1024 : t == DType::kQ4_1 ? 128 + 512 : 64 + 512;
}
constexpr int64_t PairBytes(int64_t cols) { return (cols + 1) / 2 * 4; }  // of a bf16 row
constexpr int64_t PanelBytes(DType t, int64_t cols) {
  if (IsQuantised(t)) return cols / kQuantBlock * Int8BlockBytes(t);
  if (t == DType::kBF16) return PairBytes(cols) * kPanelCols;
  return cols * kPanelCols * Info(t).block_bytes;
}
constexpr int kTileRowBlockBytes = 32 + 12;  // int8: of one row and block

// Activations that a weight reads; of int8 the offset of a quant: 0, 8 or 128.
struct PackFormat {
  InputFormat rows = InputFormat::kF32;
  int32_t offset = 0;
};

// Bytes of a tile of R rows.
constexpr int64_t TileBytes(const PackFormat& f, int rows, int64_t cols) {
  switch (f.rows) {
    case InputFormat::kInt8:
      return cols / kQuantBlock * rows * kTileRowBlockBytes;
    case InputFormat::kBf16:
      return PairBytes(cols) * rows;
    case InputFormat::kF32:
      return cols * rows * static_cast<int64_t>(sizeof(float));
  }
  return 0;
}

}  // namespace catena::cpu
