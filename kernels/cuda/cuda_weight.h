// A weight on the device: of a linear layer one segment a run of tensors of one type, as the file
// has it, but for the scales of quantised types, which lie apart; an embedding as the file has it;
// a table as float32.
//
// Thread rules: read-only once it was made.
#pragma once

#include <memory>
#include <vector>

#include "kernels/cuda/cuda_memory.h"
#include "kernels/cuda/ops.h"
#include "kernels/kernels.h"

namespace catena::cuda {

class CudaWeight : public Weight {
 public:
  // `format`: what a linear layer's inputs are to be.
  static absl::StatusOr<std::unique_ptr<CudaWeight>> Make(absl::Span<const TensorView> tensors,
                                                          WeightRole role, InputFormat format,
                                                          Uploader* uploader);
  static int64_t Bytes(absl::Span<const TensorView> tensors, WeightRole role);

  int64_t rows() const override { return rows_; }
  int64_t cols() const override { return cols_; }
  absl::Span<const DType> dtypes() const override { return dtypes_; }
  int64_t bytes() const override { return static_cast<int64_t>(buffer_.bytes); }

  InputFormat format() const { return format_; }
  const std::vector<DeviceSegment>& segments() const { return segments_; }
  // REQUIRES: role kTable.
  const float* values() const { return buffer_.address.As<float>(); }
  // Of a table; null of none.
  static const float* Values(const Weight* table) {
    return table == nullptr ? nullptr : static_cast<const CudaWeight*>(table)->values();
  }
  // REQUIRES: role kEmbedding.
  DeviceTable table() const;

 private:
  int64_t rows_ = 0, cols_ = 0;
  std::vector<DType> dtypes_;
  InputFormat format_ = InputFormat::kF32;
  std::vector<DeviceSegment> segments_;
  DeviceBuffer buffer_;
};

}  // namespace catena::cuda
