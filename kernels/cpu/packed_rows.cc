#include "kernels/cpu/packed_rows.h"

namespace catena::cpu {

absl::StatusOr<std::unique_ptr<CpuPackedRows>> CpuPackedRows::Make(int max_rows, int64_t max_cols) {
  auto rows = std::make_unique<CpuPackedRows>();
  const int64_t floats = TileBytes({}, max_rows, max_cols);
  CATENA_ASSIGN_OR_RETURN(rows->buffer_, HugeBuffer::Allocate(static_cast<size_t>(floats)));
  return rows;
}

void CpuPackedRows::Start(int rows, int64_t cols, const PackFormat& format) {
  rows_ = rows;
  cols_ = cols;
  format_ = format;
  CATENA_CHECK(TileBytes(format, rows, cols) <= static_cast<int64_t>(buffer_.bytes()));
}

uint8_t* Workers::Scratch(int worker, int64_t bytes) {
  HugeBuffer& buffer = scratch[worker];
  if (static_cast<int64_t>(buffer.bytes()) < bytes) {
    auto larger = HugeBuffer::Allocate(static_cast<size_t>(bytes));
    CATENA_CHECK(larger.ok());  // a few MiB of address space
    buffer = std::move(*larger);
  }
  return buffer.data();
}

}  // namespace catena::cpu
