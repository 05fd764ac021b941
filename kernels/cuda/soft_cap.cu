#include "kernels/cuda/device.h"
#include "kernels/cuda/ops.h"

namespace catena::cuda {
namespace {

constexpr int kThreads = 256;

// blockIdx.y: a row.
__global__ void CapRows(float cap, DeviceFloats x) {
  const int64_t k = static_cast<int64_t>(blockIdx.x) * kThreads + Thread();
  if (k >= x.cols) return;
  float* at = x.data + static_cast<int>(blockIdx.y) * x.stride + k;
  *at = SoftCapped(*at, cap);
}

}  // namespace

void SoftCap(cudaStream_t stream, float cap, const DeviceFloats& x) {
  if (x.rows == 0) return;
  const dim3 grid(static_cast<unsigned>(CeilDiv(x.cols, kThreads)), static_cast<unsigned>(x.rows));
  Launch(stream, grid, kThreads, 0, CapRows, cap, x);
}

}  // namespace catena::cuda
