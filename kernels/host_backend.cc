#include "kernels/host_backend.h"

#include <cstring>

#include "kernels/base/dequantise.h"
#include "kernels/base/huge_buffer.h"

namespace catena {

absl::StatusOr<HostBuffer> HostBackend::AllocateHost(size_t bytes) {
  CATENA_ASSIGN_OR_RETURN(HugeBuffer memory, HugeBuffer::Allocate(bytes));
  auto owner = std::make_shared<HugeBuffer>(std::move(memory));
  return HostBuffer{.data = owner->data(), .bytes = bytes, .owner = owner};
}

absl::StatusOr<DeviceBuffer> HostBackend::AllocateDevice(size_t bytes) {
  CATENA_ASSIGN_OR_RETURN(const HostBuffer buffer, AllocateHost(bytes));
  return DeviceBuffer{.address = DeviceAddress(buffer.data), .bytes = bytes, .owner = buffer.owner};
}

void HostBackend::Upload(Stream&, const HostRows& from, const Rows& to) {
  CATENA_CHECK(from.rows == to.rows && from.cols == to.cols && from.dtype == to.dtype);
  const auto* source = static_cast<const char*>(from.data);
  const auto row_bytes = static_cast<size_t>(RowBytes(to.dtype, to.cols));
  for (int r = 0; r < to.rows; ++r) {
    std::memcpy(to.data.As<char>() + r * RowBytes(to.dtype, to.stride),
                source + r * RowBytes(from.dtype, from.stride), row_bytes);
  }
}

void HostBackend::Upload(Stream&, Batch* batch) {
  batch->Pad(PaddedRows(batch->rows()), PaddedRows(batch->wanted()));
  std::memcpy(batch->device_address().As<void>(), batch->host_data(), batch->used_bytes());
}

void HostBackend::Copy(Stream& stream, const Rows& from, const Rows& to) {
  Upload(stream, {from.data.As<void>(), from.rows, from.cols, from.stride, from.dtype}, to);
}

HostRows HostBackend::Download(Stream&, const Rows& from, const HostBuffer&) {
  return {from.data.As<void>(), from.rows, from.cols, from.stride, from.dtype};
}

void HostBackend::TopLogitsOf(Stream&, const Rows& logits, const Rows& out) {
  CATENA_CHECK(out.rows == logits.rows && out.stride == kTopLogitsWords);
  for (int r = 0; r < logits.rows; ++r) {
    out.data.As<TopLogits>()[r] = catena::TopLogitsOf(
        {logits.data.As<float>() + r * logits.stride, static_cast<size_t>(logits.cols)});
  }
}

absl::Status CheckPackable(absl::Span<const TensorView> tensors) {
  CATENA_CHECK(!tensors.empty());
  for (const TensorView& t : tensors) {
    if (t.rows <= 0 || t.cols <= 0 || t.cols != tensors[0].cols) {
      return absl::InvalidArgumentError(
          fmt::format("{}: shape ({}, {}) cannot be packed with {} columns", t.name, t.rows, t.cols,
                      tensors[0].cols));
    }
    if (t.cols % Info(t.dtype).block_values != 0) {
      return absl::InvalidArgumentError(
          fmt::format("{}: {} needs rows of a multiple of {} values, these have {}", t.name,
                      Name(t.dtype), Info(t.dtype).block_values, t.cols));
    }
    CATENA_CHECK(static_cast<int64_t>(t.bytes.size()) == t.rows * RowBytes(t.dtype, t.cols));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Weight>> RowTable::Make(absl::Span<const TensorView> tensors,
                                                       WeightRole role) {
  CATENA_RETURN_IF_ERROR(CheckPackable(tensors));
  auto table = std::make_unique<RowTable>();
  table->cols_ = tensors[0].cols;
  table->dtype_ = tensors[0].dtype;
  if (role == WeightRole::kEmbedding) {
    CATENA_CHECK(tensors.size() == 1);
    table->rows_ = tensors[0].rows;
    table->view_ = tensors[0];
    return table;
  }
  for (const TensorView& t : tensors) {
    table->values_.resize((table->rows_ + t.rows) * t.cols);
    for (int64_t r = 0; r < t.rows; ++r) {
      WidenRow(t, r, table->values_.data() + (table->rows_ + r) * t.cols);
    }
    table->rows_ += t.rows;
  }
  return table;
}

int64_t RowTable::Bytes(absl::Span<const TensorView> tensors, WeightRole role) {
  if (role == WeightRole::kEmbedding) return 0;
  int64_t values = 0;
  for (const TensorView& t : tensors) values += t.rows * t.cols;
  return values * static_cast<int64_t>(sizeof(float));
}

void RowTable::Lookup(int64_t r, float scale, float* out) const {
  const int64_t row_bytes = RowBytes(view_.dtype, cols_);
  WidenRow(view_.dtype, view_.bytes.data() + StoredRow(view_, r) * row_bytes, cols_, out);
  for (int64_t k = 0; k < cols_; ++k) out[k] *= scale;
}

}  // namespace catena
