// A quantised matrix as safetensors hold it, and what becomes of it here. Value (r, k) is
//   (code - zero) * scale, code and zero of 4 or 8 bits without sign; or E4M3(code) * scale
// with scale and zero of the block that (r, k) is in.
//
// What it becomes, and what that rounds; nothing is ever widened to float32:
//   4 bits, zero 8 throughout     q4_0   nothing but what is said of scales
//   4 bits, other zeros           q5_0   the same: code - zero is a number of 5 bits
//   8 bits, zero 128 throughout   q8_0   the same
//   8 bits, other zeros           f16    each value, once: code - zero has 9 bits, and no format of
//   integers otherwise            f16    blocks has so many; where f16 lacks the range, bf16
//   E4M3                          bf16   each value, once, by less than 2^-8 of itself, a 16th of
//                                        what E4M3 rounded at most
// "Otherwise": rows that are not whole blocks of 32, or whose groups are not. Scales become fp16:
// exactly where they are fp16, and nearly always where they are bfloat16, which has fewer bits; by
// less than 2^-11 of themselves where they are float32. A scale that fp16 has no such room for
// (above 65504, or under 2^-14 and not exactly an fp16) makes the matrix "otherwise".
//
// Thread rules: as TensorView's; functions without state.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/base/tensor.h"
#include "model/weights/tensor_source.h"

namespace catena {

// How codes lie in the file. Words are of 32 bits, little-endian, a row's first code in the lowest
// bits unless it is said otherwise.
enum class CodeLayout {
  kBytes,        // (rows, cols), a byte each
  kSignedBytes,  // the same, 128 less
  kRowWords,     // (rows, cols * bits / 32, rounded up) words, each of one row
  kColumnWords,  // (cols * bits / 32, rows) words, each of one row
  kAwqWords,     // (cols, rows / 8) words, each of eight rows in the order 0 2 4 6 1 3 5 7
};

struct QuantMatrix {
  std::string name;  // of the tensor that it stands for
  int64_t rows = 0, cols = 0;
  bool is_float = false;  // codes are E4M3
  int bits = 8;
  CodeLayout layout = CodeLayout::kBytes;
  absl::Span<const uint8_t> codes;

  // Of block (r / block_rows, k / block_cols) at r / block_rows * blocks_a_row + k / block_cols.
  int64_t block_rows = 1, block_cols = 1, blocks_a_row = 1;
  std::vector<float> scales;   // finite
  std::vector<uint8_t> zeros;  // as many; empty: half of what codes can be (8, 128)
};

// See above.
DType FormatOf(const QuantMatrix& matrix);

// REQUIRES: rows and cols are at least 1, the codes as many bytes as the layout wants, and scales
// and zeros as many as the blocks. RESOURCE_EXHAUSTED where memory lacks.
absl::StatusOr<TensorView> Convert(const QuantMatrix& matrix);

// An 8-bit float of four exponent bits and three of mantissa, which has no infinities (Micikevicius
// et al., FP8 Formats for Deep Learning, 2022).
float E4M3ToF32(uint8_t code);

}  // namespace catena
