// Weights in the backend's panels (layout.h), made from the file's rows.
#pragma once

#include "kernels/base/huge_buffer.h"
#include "kernels/cpu/packed_rows.h"
#include "kernels/kernels.h"

namespace catena::cpu {

class PanelWeight : public Weight {
 public:
  // Its memory is of `arena`. REQUIRES: CheckPackable(tensors).
  static absl::StatusOr<std::unique_ptr<PanelWeight>> Make(absl::Span<const TensorView> tensors,
                                                           HugeArena& arena, Workers& workers);
  static int64_t Bytes(absl::Span<const TensorView> tensors);

  int64_t rows() const override { return rows_; }
  int64_t cols() const override { return cols_; }
  DType dtype() const override { return dtype_; }
  int64_t bytes() const override { return static_cast<int64_t>(panels_.bytes()); }
  const uint8_t* panels() const { return panels_.data(); }

 private:
  int64_t rows_ = 0, cols_ = 0;
  DType dtype_ = DType::kF32;
  HugeBuffer panels_;
};

}  // namespace catena::cpu
