#include "kernels/cuda/device.h"
#include "kernels/cuda/ops.h"

namespace catena::cuda {
namespace {

constexpr int kThreads = 256;

// Value k of a row as it lies in the file.
__device__ float ReadFileValue(const DeviceTable& table, const uint8_t* row, int64_t k) {
  if (!IsQuantised(table.dtype)) return ReadFloat(table.dtype, row, k);
  const uint8_t* block = row + k / 32 * Info(table.dtype).block_bytes;
  const uint8_t* codes = block + 2 * ScalesOfBlock(table.dtype);
  return ReadQuant(table.dtype, codes, reinterpret_cast<const uint16_t*>(block),
                   static_cast<int>(k % 32));
}

// A block a row.
__global__ void EmbedRows(DeviceTable table, BatchView batch, float scale, DeviceFloats out) {
  const int r = static_cast<int>(blockIdx.x);
  if (r >= batch.rows()) return;
  const uint8_t* row = table.data + batch.ids[r] * table.row_bytes;
  for (int64_t k = Thread(); k < table.cols; k += kThreads) {
    out.data[r * out.stride + k] = ReadFileValue(table, row, k) * scale;
  }
}

}  // namespace

void Embed(cudaStream_t stream, const DeviceTable& table, const BatchView& batch, float scale,
           const DeviceFloats& out) {
  Launch(stream, dim3(static_cast<unsigned>(out.rows)), kThreads, 0, EmbedRows, table, batch, scale,
         out);
}

}  // namespace catena::cuda
