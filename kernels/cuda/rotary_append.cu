#include "kernels/cuda/device.h"
#include "kernels/cuda/ops.h"

namespace catena::cuda {
namespace {

constexpr int kThreads = 256;

__device__ void Put(const DeviceCache& cache, int page, int layer, int64_t value, float x) {
  uint8_t* layer_data = cache.data + page * cache.page_bytes + layer * cache.layer_bytes;
  if (cache.dtype == DType::kF32) {
    reinterpret_cast<float*>(layer_data)[value] = x;
  } else {
    reinterpret_cast<uint16_t*>(layer_data)[value] = FloatToHalfSaturating(x);
  }
}

// A block a row: the pairs of q and k that turn and the values that do not, then the cache.
__global__ void RotateAndAppend(DeviceFloats qkv, Heads heads, DeviceFloats factors,
                                BatchView batch, int layer, DeviceCache cache) {
  const int r = static_cast<int>(blockIdx.x);
  if (r >= batch.rows()) return;
  float* row = qkv.data + r * qkv.stride;
  const int half = heads.rotary_dim / 2;
  const float *cosine = factors.data + r * factors.stride, *sine = cosine + half;
  for (int i = Thread(); i < (heads.heads + heads.kv_heads) * half; i += kThreads) {
    const int head = i / half, pair = i % half;
    float *a = row + head * heads.head_dim + pair, *b = a + half;
    const float scale = head < heads.heads ? heads.scale : 1.0f;
    const float x = *a, y = *b;
    *a = fmaf(-y, sine[pair], x * cosine[pair]) * scale;
    *b = fmaf(x, sine[pair], y * cosine[pair]) * scale;
  }
  const int still = heads.head_dim - 2 * half;
  for (int i = Thread(); i < heads.heads * still; i += kThreads) {
    row[i / still * heads.head_dim + 2 * half + i % still] *= heads.scale;
  }
  __syncthreads();
  const int position = batch.positions[r];
  const int page = batch.page(batch.span_of(r), position), place = position % kPagePositions;
  const int kv_cols = heads.kv_heads * heads.head_dim;
  const float* k = row + heads.heads * heads.head_dim;
  for (int i = Thread(); i < 2 * kv_cols; i += kThreads) {
    const int kind = i / kv_cols, head = i % kv_cols / heads.head_dim, d = i % heads.head_dim;
    const int64_t rows = (int64_t{head} * 2 + kind) * kPagePositions + place;
    Put(cache, page, layer, rows * heads.head_dim + d, k[i]);
  }
}

}  // namespace

void RotaryAppend(cudaStream_t stream, const DeviceFloats& qkv, const Heads& heads,
                  const DeviceFloats& factors, const BatchView& batch, int layer,
                  const DeviceCache& cache) {
  Launch(stream, dim3(static_cast<unsigned>(qkv.rows)), kThreads, 0, RotateAndAppend, qkv, heads,
         factors, batch, layer, cache);
}

}  // namespace catena::cuda
