#include "kernels/cuda/cuda_weight.h"

#include "kernels/base/dequantise.h"

namespace catena::cuda {
namespace {

constexpr int64_t kSegmentAlignment = 256;

int64_t RoundUp(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// Bytes of a row's values or codes on the device. The tensor cores' rows end in zeros, and begin
// aligned; of a quantised linear weight the scales lie apart.
int64_t DeviceRowBytes(DType dtype, int64_t cols, WeightRole role) {
  if (role == WeightRole::kTable) return cols * static_cast<int64_t>(sizeof(float));
  if (role == WeightRole::kLinear && IsQuantised(dtype)) {
    return cols / kInputBlock * CodeBytes(dtype);
  }
  if (role == WeightRole::kLinear && dtype == DType::kBF16) {
    return RowBytes(dtype, RoundUp(cols, kInputBlock));
  }
  return RowBytes(dtype, cols);
}

// Bytes of a row's scales that lie apart.
int64_t ScaleBytes(DType dtype, int64_t cols, WeightRole role) {
  if (role != WeightRole::kLinear || !IsQuantised(dtype)) return 0;
  return cols / kInputBlock * ScalesOfBlock(dtype) * static_cast<int64_t>(sizeof(uint16_t));
}

// A run of tensors of one type, and where on the device its values and its scales begin.
struct Run {
  absl::Span<const TensorView> tensors;
  int64_t rows, values, scales, end;
};
std::vector<Run> RunsOf(absl::Span<const TensorView> tensors, WeightRole role) {
  std::vector<Run> runs;
  for (size_t i = 0; i < tensors.size();) {
    Run run{.tensors = {}, .rows = 0, .values = 0, .scales = 0, .end = 0};
    const DType dtype = tensors[i].dtype;
    const int64_t cols = tensors[i].cols;
    const size_t first = i;
    // A table is float32 throughout.
    while (i < tensors.size() && (tensors[i].dtype == dtype || role == WeightRole::kTable)) {
      run.rows += tensors[i++].rows;
    }
    run.tensors = tensors.subspan(first, i - first);
    run.values = RoundUp(runs.empty() ? 0 : runs.back().end, kSegmentAlignment);
    run.scales = run.values + run.rows * DeviceRowBytes(dtype, cols, role);
    run.end = run.scales + run.rows * ScaleBytes(dtype, cols, role);
    runs.push_back(run);
  }
  return runs;
}

const uint8_t* FileRow(const TensorView& t, int64_t r) {
  return t.bytes.data() + StoredRow(t, r) * RowBytes(t.dtype, t.cols);
}

void UploadValues(const TensorView& tensor, WeightRole role, Uploader* uploader) {
  const int64_t file_bytes = RowBytes(tensor.dtype, tensor.cols);
  const int64_t row_bytes = DeviceRowBytes(tensor.dtype, tensor.cols, role);
  const int blocks = static_cast<int>(tensor.cols / kInputBlock);
  const int head = 2 * ScalesOfBlock(tensor.dtype), codes = CodeBytes(tensor.dtype);
  std::vector<float> values(role == WeightRole::kTable ? static_cast<size_t>(tensor.cols) : 0);
  for (int64_t r = 0; r < tensor.rows; ++r) {
    const uint8_t* row = FileRow(tensor, r);
    if (role == WeightRole::kTable) {
      WidenRow(tensor, r, values.data());
      uploader->Append(values.data(), static_cast<size_t>(row_bytes));
    } else if (role == WeightRole::kLinear && IsQuantised(tensor.dtype)) {
      for (int b = 0; b < blocks; ++b) {
        uploader->Append(row + b * (head + codes) + head, static_cast<size_t>(codes));
      }
    } else {
      uploader->Append(row, static_cast<size_t>(file_bytes));
      uploader->AppendZeros(static_cast<size_t>(row_bytes - file_bytes));
    }
  }
}

// Of a quantised linear weight.
void UploadScales(const TensorView& tensor, Uploader* uploader) {
  const int blocks = static_cast<int>(tensor.cols / kInputBlock);
  const int head = 2 * ScalesOfBlock(tensor.dtype), codes = CodeBytes(tensor.dtype);
  for (int64_t r = 0; r < tensor.rows; ++r) {
    for (int b = 0; b < blocks; ++b) {
      uploader->Append(FileRow(tensor, r) + b * (head + codes), static_cast<size_t>(head));
    }
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
  return RunsOf(tensors, role).back().end;
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
  const auto at = [&](int64_t offset) { return weight->buffer_.address + offset; };
  for (const TensorView& t : tensors) weight->dtypes_.push_back(t.dtype);
  for (const Run& run : RunsOf(tensors, role)) {
    const DType dtype = run.tensors[0].dtype;
    weight->segments_.push_back({.dtype = dtype,
                                 .data = at(run.values).As<uint8_t>(),
                                 .first = weight->rows_,
                                 .rows = run.rows,
                                 .cols = weight->cols_,
                                 .row_bytes = DeviceRowBytes(dtype, weight->cols_, role),
                                 .scales = at(run.scales).As<uint16_t>()});
    weight->rows_ += run.rows;
    uploader->Begin(at(run.values));
    for (const TensorView& t : run.tensors) UploadValues(t, role, uploader);
    if (ScaleBytes(dtype, weight->cols_, role) == 0) continue;
    uploader->Begin(at(run.scales));
    for (const TensorView& t : run.tensors) UploadScales(t, uploader);
  }
  uploader->Finish();
  return weight;
}

DeviceTable CudaWeight::table() const {
  const DeviceSegment& s = segments_[0];
  return {.data = s.data, .dtype = s.dtype, .cols = cols_, .row_bytes = s.row_bytes};
}

}  // namespace catena::cuda
