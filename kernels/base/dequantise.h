// Rows of any DType as float32, as the ops of kernels.h widen them.
#pragma once

#include <cstdint>

#include "kernels/base/dtype.h"
#include "kernels/base/tensor.h"

namespace catena {

// row: RowBytes(dtype, cols) bytes, unaligned; out: cols values.
void WidenRow(DType dtype, const uint8_t* row, int64_t cols, float* out);

// Row `r` of a tensor as the model has it: StoredRow, with `added`.
void WidenRow(const TensorView& tensor, int64_t r, float* out);

}  // namespace catena
