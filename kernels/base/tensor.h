// A weight tensor as it lies in its file: what weight readers give and backends pack.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/types/span.h"

#include "kernels/base/dtype.h"

namespace catena {

// A matrix of `rows` output features by `cols` input features, row-major, each row contiguous; a
// vector (a norm's gain) has one row. The bytes are unaligned and may be a mapped file: hostile in
// value, but their extent has been checked by whoever made the view.
struct TensorView {
  std::string name;  // as the file spells it, for messages
  DType dtype = DType::kF32;
  int64_t rows = 0;
  int64_t cols = 0;
  absl::Span<const uint8_t> bytes;  // rows * RowBytes(dtype, cols)

  // GGUF stores the rows of llama's q and k per head as rotary pairs (0,h/2), (1,h/2+1), …; where
  // this is the head size, whoever reads the rows puts them back into the order of the checkpoint.
  int interleaved_head_dim = 0;

  // To be added to each value: some checkpoints store gains less 1. Of vectors.
  float added = 0.0f;

  // Keeps the bytes alive; null where the caller does.
  std::shared_ptr<const void> owner;
};

// The row of the file that holds row `r` of the checkpoint (see interleaved_head_dim).
inline int64_t StoredRow(const TensorView& t, int64_t r) {
  if (t.interleaved_head_dim == 0) return r;
  const int64_t h = t.interleaved_head_dim;
  const int64_t head = r / h, i = r % h, half = h / 2;
  return head * h + (i < half ? 2 * i : 2 * (i - half) + 1);
}

}  // namespace catena
