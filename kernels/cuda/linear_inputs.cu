#include "kernels/cuda/device.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/put_input.h"

namespace catena::cuda {
namespace {

constexpr int kThreads = 256;  // whole blocks of kInputBlock columns a step

// A block a row, whose values are read once, into shared memory.
__global__ void NormRows(DeviceFloats x, const int32_t* wanted, const float* gain, float eps,
                         Inputs out) {
  CATENA_DYNAMIC_SHARED(float, row);  // (cols)
  CATENA_SHARED(float, row_scale, [1]);
  const int r = static_cast<int>(blockIdx.x);
  const float* from = x.data + (wanted == nullptr ? r : wanted[r]) * x.stride;
  for (int64_t k = Thread(); k < x.cols; k += kThreads) row[k] = from[k];
  __syncthreads();
  if (Warp() == 0) {
    const float scale = RmsScale(row, x.cols, eps);
    if (Lane() == 0) row_scale[0] = scale;
  }
  __syncthreads();
  for (int64_t k = Thread(); k < out.stride; k += kThreads) {
    PutInput(out, r, k, k < x.cols ? (row[k] * row_scale[0]) * gain[k] : 0.0f);
  }
}

// t of kernels.h.
__device__ __forceinline__ float ExponentOf(Gate gate, float g) {
  constexpr float cubic = kGeluCubic, linear = kGeluLinear;
  return gate == Gate::kSilu ? -g : g * fmaf(g * g, cubic, linear);
}

__global__ void GateRows(Gate gate, DeviceFloats gate_up, Inputs out) {
  const int r = static_cast<int>(blockIdx.y);
  const int64_t n = gate_up.cols / 2, k = static_cast<int64_t>(blockIdx.x) * kThreads + Thread();
  if (k >= out.stride) return;
  const float* row = gate_up.data + r * gate_up.stride;
  float y = 0.0f;
  if (k < n) {
    const float g = row[k];
    y = __fdiv_rn(g, 1.0f + Exp(ExponentOf(gate, g))) * row[n + k];
  }
  PutInput(out, r, k, y);
}

__global__ void CopyRows(DeviceFloats x, Inputs out) {
  const int r = static_cast<int>(blockIdx.y);
  const int64_t k = static_cast<int64_t>(blockIdx.x) * kThreads + Thread();
  if (k >= out.stride) return;
  PutInput(out, r, k, k < x.cols ? x.data[r * x.stride + k] : 0.0f);
}

dim3 GridOf(const Inputs& out, int rows) {
  return dim3(static_cast<unsigned>(CeilDiv(out.stride, kThreads)), static_cast<unsigned>(rows));
}

}  // namespace

void NormInputs(cudaStream_t stream, const DeviceFloats& x, const int32_t* wanted, int rows,
                const float* gain, float eps, const Inputs& out) {
  Launch(stream, dim3(static_cast<unsigned>(rows)), kThreads,
         static_cast<size_t>(x.cols) * sizeof(float), NormRows, x, wanted, gain, eps, out);
}

void GateInputs(cudaStream_t stream, Gate gate, const DeviceFloats& gate_up, const Inputs& out) {
  Launch(stream, GridOf(out, gate_up.rows), kThreads, 0, GateRows, gate, gate_up, out);
}

void RowInputs(cudaStream_t stream, const DeviceFloats& x, const Inputs& out) {
  Launch(stream, GridOf(out, x.rows), kThreads, 0, CopyRows, x, out);
}

}  // namespace catena::cuda
