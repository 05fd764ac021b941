#include "kernels/cuda/device.h"
#include "kernels/cuda/ops.h"

namespace catena::cuda {
namespace {

// A warp a head of a row: heads of q, then k, then v.
__global__ void AdjustHeads(DeviceFloats qkv, Heads heads, const float* bias, const float* q_norm,
                            const float* k_norm, float eps) {
  const int head = static_cast<int>(blockIdx.x), row = static_cast<int>(blockIdx.y);
  const int64_t first = int64_t{head} * heads.head_dim;
  float* x = qkv.data + row * qkv.stride + first;
  if (bias != nullptr) {
    for (int i = Lane(); i < heads.head_dim; i += kWarpLanes) x[i] += bias[first + i];
    __syncwarp();
  }
  if (q_norm == nullptr || head >= heads.heads + heads.kv_heads) return;
  const float* gain = head < heads.heads ? q_norm : k_norm;
  const float scale = RmsScale(x, heads.head_dim, eps);
  __syncwarp();
  for (int i = Lane(); i < heads.head_dim; i += kWarpLanes) x[i] = (x[i] * scale) * gain[i];
}

}  // namespace

void AdjustQkv(cudaStream_t stream, const DeviceFloats& qkv, const Heads& heads, const float* bias,
               const float* q_norm, const float* k_norm, float eps) {
  const dim3 grid(static_cast<unsigned>(heads.heads + 2 * heads.kv_heads),
                  static_cast<unsigned>(qkv.rows));
  Launch(stream, grid, kWarpLanes, 0, AdjustHeads, qkv, heads, bias, q_norm, k_norm, eps);
}

}  // namespace catena::cuda
