// Rows as the ops of a backend see them whose device is the host: float32 that can be addressed.
#pragma once

#include "kernels/kernels.h"

namespace catena {

struct FloatRows {
  float* data = nullptr;
  int rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;  // elements

  float* row(int64_t r) const { return data + r * stride; }
};

// REQUIRES: the rows are kF32, of a backend whose device is the host.
inline FloatRows Floats(const Rows& rows) {
  CATENA_CHECK(rows.dtype == DType::kF32);
  return {rows.data.As<float>(), rows.rows, rows.cols, rows.stride};
}

}  // namespace catena
