#include "kernels/cuda/device.h"
#include "kernels/cuda/ops.h"

namespace catena::cuda {
namespace {

constexpr int kThreads = 256;

// A block a row.
__global__ void EmbedRows(DeviceTable table, BatchView batch, DeviceFloats out) {
  const int r = static_cast<int>(blockIdx.x);
  if (r >= batch.rows()) return;
  const uint8_t* row = table.data + batch.ids[r] * table.row_bytes;
  for (int64_t k = Thread(); k < table.cols; k += kThreads) {
    out.data[r * out.stride + k] = ReadValue(table.dtype, row, k);
  }
}

}  // namespace

void Embed(cudaStream_t stream, const DeviceTable& table, const BatchView& batch,
           const DeviceFloats& out) {
  Launch(stream, dim3(static_cast<unsigned>(out.rows)), kThreads, 0, EmbedRows, table, batch, out);
}

}  // namespace catena::cuda
