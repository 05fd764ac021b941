// Weights in the backend's panels (layout.h), made from the file's rows.
#pragma once

#include "kernels/base/huge_buffer.h"
#include "kernels/cpu/layout.h"
#include "kernels/cpu/packed_rows.h"
#include "kernels/kernels.h"

namespace catena::cpu {

// Rows of one type, in panels of their own.
struct PanelSegment {
  DType dtype;
  int64_t first_row = 0, rows = 0;
  int64_t first_panel = 0;
  int64_t at = 0;  // where its panels are in the weight's memory

  int64_t panels() const { return (rows + kPanelCols - 1) / kPanelCols; }
};

class PanelWeight : public Weight {
 public:
  // Its memory is of `arena`. REQUIRES: CheckPackable(tensors).
  static absl::StatusOr<std::unique_ptr<PanelWeight>> Make(absl::Span<const TensorView> tensors,
                                                           HugeArena& arena, Workers& workers);
  static int64_t Bytes(absl::Span<const TensorView> tensors);

  int64_t rows() const override { return segments_.back().first_row + segments_.back().rows; }
  int64_t cols() const override { return cols_; }
  absl::Span<const DType> dtypes() const override { return dtypes_; }
  int64_t bytes() const override { return static_cast<int64_t>(memory_.bytes()); }

  int64_t panels() const { return segments_.back().first_panel + segments_.back().panels(); }
  absl::Span<const PanelSegment> segments() const { return segments_; }
  const uint8_t* data(const PanelSegment& s) const { return memory_.data() + s.at; }

 private:
  int64_t cols_ = 0;
  std::vector<PanelSegment> segments_;
  std::vector<DType> dtypes_;  // of the segments
  HugeBuffer memory_;
};

}  // namespace catena::cpu
