#include "kernels/cpu/packed_rows.h"

namespace catena::cpu {

absl::StatusOr<CpuPackedRows> CpuPackedRows::Make(int max_rows, int64_t max_cols) {
  CpuPackedRows rows;
  const int64_t floats = TileBytes(InputFormat::kF32, max_rows, max_cols);  // no format takes more
  CATENA_ASSIGN_OR_RETURN(rows.buffer_, HugeBuffer::Allocate(static_cast<size_t>(floats)));
  return rows;
}

void CpuPackedRows::Start(int rows, int64_t cols, InputFormat format) {
  rows_ = rows;
  cols_ = cols;
  format_ = format;
  CATENA_CHECK(TileBytes(format, rows, cols) <= static_cast<int64_t>(buffer_.bytes()));
}

absl::Status Workers::Reserve(int64_t bytes) {
  for (HugeBuffer& buffer : scratch) {
    if (static_cast<int64_t>(buffer.bytes()) >= bytes) continue;
    CATENA_ASSIGN_OR_RETURN(buffer, HugeBuffer::Allocate(static_cast<size_t>(bytes)));
  }
  return absl::OkStatus();
}

}  // namespace catena::cpu
