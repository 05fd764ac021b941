#include "kernels/cuda/device.h"
#include "kernels/cuda/ops.h"

namespace catena::cuda {
namespace {

constexpr int kThreads = 256;

// A block a row, whose values are read once, into shared memory.
__global__ void AddNormRows(DeviceFloats y, const float* gain, float eps, DeviceFloats x) {
  CATENA_DYNAMIC_SHARED(float, row);  // (cols)
  CATENA_SHARED(float, row_scale, [1]);
  const int r = static_cast<int>(blockIdx.x);
  for (int64_t k = Thread(); k < y.cols; k += kThreads) row[k] = y.data[r * y.stride + k];
  __syncthreads();
  if (Warp() == 0) {
    const float scale = RmsScale(row, y.cols, eps);
    if (Lane() == 0) row_scale[0] = scale;
  }
  __syncthreads();
  for (int64_t k = Thread(); k < y.cols; k += kThreads) {
    float* to = x.data + r * x.stride + k;
    *to = *to + (row[k] * row_scale[0]) * gain[k];
  }
}

}  // namespace

void AddNorm(cudaStream_t stream, const DeviceFloats& y, const float* gain, float eps,
             const DeviceFloats& x) {
  Launch(stream, dim3(static_cast<unsigned>(y.rows)), kThreads,
         static_cast<size_t>(y.cols) * sizeof(float), AddNormRows, y, gain, eps, x);
}

}  // namespace catena::cuda
