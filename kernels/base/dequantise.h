// Rows of any DType as float32, as the ops of kernels.h widen them.
#pragma once

#include <cstdint>

#include "kernels/base/dtype.h"

namespace catena {

// row: RowBytes(dtype, cols) bytes, unaligned; out: cols values.
void WidenRow(DType dtype, const uint8_t* row, int64_t cols, float* out);

}  // namespace catena
