// What the kernels of linear layers have in common: how they are launched, and how they end.
//
// Thread rules: EndValue from kernels, LaunchTiles from any thread.
#pragma once

#include <cstdint>

#include "kernels/cuda/device.h"
#include "kernels/cuda/ops.h"

namespace catena::cuda {

// A block of kernel(layer, more...) for each tile of kOutputs outputs and kRows rows.
template <int kOutputs, int kRows, class... P, class... More>
void LaunchTiles(cudaStream_t stream, int threads, const LinearLayer& layer,
                 void (*kernel)(LinearLayer, P...), More... more) {
  const dim3 grid(static_cast<unsigned>(CeilDiv(layer.weight.rows, kOutputs)),
                  static_cast<unsigned>(CeilDiv(layer.out.rows, kRows)));
  Launch(stream, grid, threads, 0, kernel, layer, more...);
}

// The sum of output n of the weight in a row; past either's end there is none.
__device__ __forceinline__ void EndValue(const LinearLayer& layer, int64_t row, int64_t n,
                                         float sum) {
  if (row >= layer.out.rows || n >= layer.weight.rows) return;
  float* to = layer.out.data + row * layer.out.stride + layer.weight.first + n;
  *to = layer.add ? *to + sum : sum;
}

}  // namespace catena::cuda
