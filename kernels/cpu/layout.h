// Layouts of the CPU backend's packed weights and packed activations, private to kernels/cpu/.
//
// Weight panels. The output columns of a linear layer (rows of the file's matrix) lie in panels of
// 32, K ascending, so that one layout serves one row (memory bound) and many (arithmetic bound):
//   float   [K][32] values of f32 or f16
//   bf16    [K/2][32][2]: pairs of k, the last one's second value zero where K is odd
//   quants  as many blocks of 32 k as share a scale, 1 or 8: a head, then the codes of each block
//           (quant_block.h), without loss and in as many bits as in the file
// The head: d 16-bit [32], of types with minima m 16-bit [32]; then, where 8 blocks share them, for
// each block and group the scales int8 [32], and the minima int8 [32]; q2_k: both in one byte, as
// in the file.
// A block's codes are vectors of 64 bytes, 16 columns x 4 k, in planes of 4, 2 and 1 bits that add
// up to those of a code (8 bits: bytes), each [4 b vectors / 8 quads of k][2 column halves]: quad j
// of a plane of b bits is in vector j b / 8, at bit j b % 8. The plane of 4 bits has a code's
// lowest bits, that of 1 its highest.
// Columns past N are zero. Panels start at multiples of 64 bytes, and so do heads and planes.
//
// Activation tiles. Rows lie in tiles of kTileRows (the last may be shorter, of R rows):
//   float   [K][R] float32
//   bf16    [K/2][R][2], padded like a panel
//   int8    per block of 32 k: quants int8 [R][32], then of them sum int16 [R], sum of the first
//           16 int16 [R], scale float [R], scale * sum float [R]: the same for weights of any type
//
// Integer sums start at the bits of 12582912.0f, less the code's offset times the sum of the
// quants, so that after the dot product their bits are the float 12582912 + s, exactly, for |s| <
// 2^22: then fma(that, d, -12582912 * d) is d * s rounded once (1.5 * 2^23 * d is exact, d having
// at most 18 bits).
#pragma once

#include <cstdint>

#include "kernels/base/quant_block.h"
#include "kernels/kernels.h"

namespace catena::cpu {

inline constexpr int kPanelCols = 32;
inline constexpr int kTileRows = 6;
inline constexpr float kMagic = 12582912.0f;
inline constexpr int32_t kMagicBits = 0x4B400000;

// Of a panel of quants.
struct QuantPanel {
  int blocks;       // that share a head
  int multiples;    // where the head's multiples begin
  int group_bytes;  // of the multiples of a block's group; 0 where there are none
  int head_bytes;
  int block_bytes;  // of a block's codes

  constexpr int64_t bytes() const { return head_bytes + int64_t{blocks} * block_bytes; }
};
constexpr QuantPanel PanelOf(DType t) {
  const QuantFormat f = Quantisation(t);
  const bool shared = Info(t).block_values == kQuantSuperBlock;
  QuantPanel p{};
  p.blocks = shared ? kQuantSuperBlock / kQuantBlock : 1;
  p.multiples = (f.minimum ? 2 : 1) * 2 * kPanelCols;
  const int bytes = f.minimum && t != DType::kQ2_K ? 2 : 1;  // of a group and column
  p.group_bytes = shared ? bytes * kPanelCols : 0;
  p.head_bytes = p.multiples + p.blocks * f.groups * p.group_bytes;
  p.block_bytes = f.bits * kQuantBlock * kPanelCols / 8;
  return p;
}
constexpr int64_t PairBytes(int64_t cols) { return (cols + 1) / 2 * 4; }  // of a bf16 row
constexpr int64_t PanelBytes(DType t, int64_t cols) {
  if (IsQuantised(t)) return cols / kQuantBlock / PanelOf(t).blocks * PanelOf(t).bytes();
  if (t == DType::kBF16) return PairBytes(cols) * kPanelCols;
  return cols * kPanelCols * Info(t).block_bytes;
}
// A block of a panel unpacked, whatever its type: codes uint8 [8 quads of k][2 column halves][64],
// those of a codebook its values + 128; then of each group d f32 [32], -kMagic * d [32], minimum
// [32] (unset where the type has none).
constexpr int kUnpackedScales = 1024, kUnpackedGroupBytes = 3 * 128;
constexpr int UnpackedBytes(int groups) { return kUnpackedScales + groups * kUnpackedGroupBytes; }
// What an unpacked code is less than its value.
constexpr int UnpackedOffset(DType t) {
  return Quantisation(t).codebook != nullptr ? 128 : Quantisation(t).offset;
}

constexpr int kTileRowBlockBytes = 32 + 12;  // int8: of one row and block

// Bytes of a tile of R rows.
constexpr int64_t TileBytes(InputFormat format, int rows, int64_t cols) {
  switch (format) {
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
