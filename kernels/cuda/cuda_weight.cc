#include "kernels/cuda/cuda_weight.h"

#include "kernels/base/dequantise.h"

namespace catena::cuda {
namespace {

constexpr int64_t kSegmentAlignment = 256;

int64_t RoundUp(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// Bytes of a row on the device. The tensor cores' rows end in zeros, and begin aligned.
int64_t DeviceRowBytes(DType dtype, int64_t cols, WeightRole role) {
  if (role == WeightRole::kTable) return cols * static_cast<int64_t>(sizeof(float));
  if (role == WeightRole::kLinear && dtype == DType::kBF16) {
    return RowBytes(dtype, RoundUp(cols, kInputBlock));
  }
  return RowBytes(dtype, cols);
}

// Calls f(dtype, rows) on each run of tensors of one type.
template <class F>
void ForEachSegment(absl::Span<const TensorView> tensors, F f) {
  for (size_t i = 0; i < tensors.size();) {
    int64_t rows = 0;
    const DType dtype = tensors[i].dtype;
    for (; i < tensors.size() && tensors[i].dtype == dtype; ++i) rows += tensors[i].rows;
    f(dtype, rows);
  }
}

absl::Status CheckTypes(absl::Span<const TensorView> tensors) {
  for (const TensorView& t : tensors) {
    if (IsReadable(t.dtype)) continue;
    return absl::InvalidArgumentError(
        fmt::format("{}: the backend cuda computes with f32, f16, bf16, q8_0, q4_0 and q4_1, not "
                    "with {}; --backend cpu does",
                    t.name, Name(t.dtype)));
  }
  return absl::OkStatus();
}

}  // namespace

int64_t CudaWeight::Bytes(absl::Span<const TensorView> tensors, WeightRole role) {
  int64_t bytes = 0;
  if (role == WeightRole::kTable) {
    for (const TensorView& t : tensors) bytes += t.rows * DeviceRowBytes(t.dtype, t.cols, role);
    return bytes;
  }
  ForEachSegment(tensors, [&](DType dtype, int64_t rows) {
    bytes = RoundUp(bytes, kSegmentAlignment) + rows * DeviceRowBytes(dtype, tensors[0].cols, role);
  });
  return bytes;
}

absl::StatusOr<std::unique_ptr<CudaWeight>> CudaWeight::Make(absl::Span<const TensorView> tensors,
                                                             WeightRole role, InputFormat format,
                                                             Uploader* uploader) {
  if (role != WeightRole::kTable) CATENA_RETURN_IF_ERROR(CheckTypes(tensors));
  auto weight = std::make_unique<CudaWeight>();
  weight->cols_ = tensors[0].cols;
  weight->format_ = format;
  CATENA_ASSIGN_OR_RETURN(weight->buffer_,
                          AllocateDevice(static_cast<size_t>(Bytes(tensors, role))));
  int64_t at = 0;
  ForEachSegment(tensors, [&](DType dtype, int64_t rows) {
    const int64_t row_bytes = DeviceRowBytes(dtype, weight->cols_, role);
    if (role != WeightRole::kTable) at = RoundUp(at, kSegmentAlignment);
    weight->segments_.push_back({.dtype = dtype,
                                 .data = weight->buffer_.address.As<uint8_t>() + at,
                                 .first = weight->rows_,
                                 .rows = rows,
                                 .cols = weight->cols_,
                                 .row_bytes = row_bytes});
    at += rows * row_bytes;
    weight->rows_ += rows;
  });
  size_t segment = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    weight->dtypes_.push_back(tensors[i].dtype);
    const bool first = i == 0 || tensors[i].dtype != tensors[i - 1].dtype;
    if (first) {
      uploader->Begin(weight->buffer_.address +
                      (weight->segments_[segment++].data - weight->buffer_.address.As<uint8_t>()));
    }
    weight->Upload(tensors[i], role, uploader);
  }
  uploader->Finish();
  return weight;
}

void CudaWeight::Upload(const TensorView& tensor, WeightRole role, Uploader* uploader) {
  const auto file_bytes = static_cast<size_t>(RowBytes(tensor.dtype, tensor.cols));
  const auto row_bytes = static_cast<size_t>(DeviceRowBytes(tensor.dtype, tensor.cols, role));
  std::vector<float> values(role == WeightRole::kTable ? static_cast<size_t>(tensor.cols) : 0);
  for (int64_t r = 0; r < tensor.rows; ++r) {
    const uint8_t* row =
        tensor.bytes.data() + static_cast<size_t>(StoredRow(tensor, r)) * file_bytes;
    if (role == WeightRole::kTable) {
      WidenRow(tensor.dtype, row, tensor.cols, values.data());
      uploader->Append(values.data(), row_bytes);
    } else {
      uploader->Append(row, file_bytes);
      uploader->AppendZeros(row_bytes - file_bytes);
    }
  }
}

DeviceTable CudaWeight::table() const {
  const DeviceSegment& s = segments_[0];
  return {.data = s.data, .dtype = s.dtype, .cols = cols_, .row_bytes = s.row_bytes};
}

}  // namespace catena::cuda
