// Rows of float32 as any DType: WidenRow's other direction (dequantise.h; quant_block.h has the
// layouts). The rules are ggml's reference quantisers' (quantize_row_*_ref of ggml-quants.c): bit
// for bit those of gguf-py (quants.py) where it has them, q8_0 to q5_1, mxfp4 and bf16; the others
// search for the scales of least weighted error as ggml does. Unlike there a scale that fp16 cannot
// hold becomes the largest that it can, never an infinity, and blocks of values so small that their
// scale has no reciprocal are zeros.
//
// Thread rules: pure functions.
#pragma once

#include <cstdint>

#include "kernels/base/dtype.h"

namespace catena {

// row: cols values; out: RowBytes(dtype, cols) bytes, unaligned.
// What is written reads back as finite values, but near to the row's only up to 65504, fp16's
// largest. REQUIRES: the values are finite, and cols is a multiple of the block.
void QuantiseRow(DType dtype, const float* row, int64_t cols, uint8_t* out);

}  // namespace catena
