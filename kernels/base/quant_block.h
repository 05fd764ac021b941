// Quantised tensors, 32 values at a time, whatever the type: what a linear layer needs to know of a
// block is here in one form.
//
// Of a row's values [32 b, 32 b + 32), value i, in group g = i * groups / 32, is
//   Scale(g) * q[i] + Minimum(g),  q[i] = code[i] - offset, or codebook[code[i]]
// Scale and Minimum are exact in float32: a 16-bit float times a small integer. So is Scale * q;
// the sum rounds once.
//
// Layouts are GGUF's (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md; block_* of
// ggml-common.h, dequantize_row_* of ggml-quants.c), little-endian, along the row:
//   q8_0    fp16 d, int8 q[32]
//   q4_0    fp16 d, uint8 q[16]: low nibbles are values 0-15 of the block, high ones 16-31
//   q4_1    fp16 d, fp16 m, uint8 q[16]
//   q5_0    fp16 d, uint32 high, uint8 q[16]: bit i of `high` is bit 4 of value i
//   q5_1    fp16 d, fp16 m, uint32 high, uint8 q[16]
//   iq4_nl  fp16 d, uint8 q[16]: places in a codebook
//   mxfp4   uint8 e, uint8 q[16]: places in that of FP4 (E2M1), doubled; d = 2^(e - 128)
// and of 256 values, eight blocks of 32 (b) or sixteen groups of 16 (g):
//   q2_k    uint8 scales[16], uint8 q[64], fp16 d, fp16 dmin; of a group low nibble scale, high
//           nibble minimum. Block b: bits 2 (b % 4) of q[32 (b / 4) + l]
//   q3_k    uint8 high[32], uint8 q[64], uint8 scales[12], fp16 d; q as q2_k's, bit b of high[l]
//           is bit 2. Group g: nibble g / 8 of scales[g % 8] and above it bits 2 (g / 4) of
//           scales[8 + g % 4], less 32
//   q4_k    fp16 d, fp16 dmin, uint8 scales[12], uint8 q[128]; block b: nibble b % 2 of
//           q[32 (b / 2) + l]; scale and minimum of six bits each, see SixBits
//   q5_k    fp16 d, fp16 dmin, uint8 scales[12], uint8 high[32], uint8 q[128]; as q4_k, bit b of
//           high[l] is bit 4
//   q6_k    uint8 q[128], uint8 high[64], int8 scales[16], fp16 d; of each half of 128 values (64
//           bytes of q, 32 of high) block j: nibble j / 2 of q[32 (j % 2) + l] and above it bits
//           2 j of high[l]
//   iq4_xs  fp16 d, uint16 high, uint8 low[4], uint8 q[128]: blocks of 16 bytes as iq4_nl's; scale
//           of block b: nibble b % 2 of low[b / 2] and above it bits 2 b of high, less 32
#pragma once

#include <cstdint>

#include "kernels/base/dtype.h"
#include "kernels/base/float16.h"

namespace catena {

// The sixteen values of iq4_nl and iq4_xs, and of mxfp4.
inline constexpr int8_t kIq4Codebook[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                            1,    13,   25,  38,  53,  69,  89,  113};
inline constexpr int8_t kFp4Codebook[16] = {0, 1,  2,  3,  4,  6,  8,  12,
                                            0, -1, -2, -3, -4, -6, -8, -12};

// What the blocks of a quantised type have in common.
struct QuantFormat {
  int bits;                          // of a code
  int offset;                        // of codes that are numbers
  const int8_t* codebook = nullptr;  // of codes that are places
  int groups = 1;                    // of 32 values: 2 where each 16 have a scale of their own
  bool minimum = false;              // whether there is any
  bool bf16_scale = false;           // `d` is a bfloat16, not an fp16
};

constexpr QuantFormat Quantisation(DType t) {
  switch (t) {
    case DType::kQ8_0:
      return {.bits = 8, .offset = 128};
    case DType::kQ4_0:
      return {.bits = 4, .offset = 8};
    case DType::kQ4_1:
    case DType::kQ4_K:
      return {.bits = 4, .offset = 0, .minimum = true};
    case DType::kQ5_0:
      return {.bits = 5, .offset = 16};
    case DType::kQ5_1:
    case DType::kQ5_K:
      return {.bits = 5, .offset = 0, .minimum = true};
    case DType::kIQ4_NL:
    case DType::kIQ4_XS:
      return {.bits = 4, .offset = 0, .codebook = kIq4Codebook};
    case DType::kMXFP4:
      return {.bits = 4, .offset = 0, .codebook = kFp4Codebook, .bf16_scale = true};
    case DType::kQ2_K:
      return {.bits = 2, .offset = 0, .groups = 2, .minimum = true};
    case DType::kQ3_K:
      return {.bits = 3, .offset = 4, .groups = 2};
    case DType::kQ6_K:
      return {.bits = 6, .offset = 32, .groups = 2};
    case DType::kF32:
    case DType::kF16:
    case DType::kBF16:
      break;
  }
  return {.bits = 0, .offset = 0};
}

struct QuantBlock {
  uint16_t d = 0, m = 0;       // 16-bit floats; m has the sign that it is added with
  int8_t scale[2] = {1, 1};    // of d; with one group the second is the first
  int8_t minimum[2] = {1, 1};  // of m
  uint8_t code[kQuantBlock];
};

// Block `b` of a row.
QuantBlock ReadQuantBlock(DType type, const uint8_t* row, int64_t b);

inline int Quant(const QuantFormat& f, const QuantBlock& b, int i) {
  return f.codebook != nullptr ? f.codebook[b.code[i]] : b.code[i] - f.offset;
}
inline float Scale(const QuantFormat& f, const QuantBlock& b, int group) {
  const float d = f.bf16_scale ? BF16ToF32(b.d) : F16ToF32(b.d);
  return d * static_cast<float>(b.scale[group]);
}
inline float Minimum(const QuantBlock& b, int group) {
  return F16ToF32(b.m) * static_cast<float>(b.minimum[group]);
}

}  // namespace catena
