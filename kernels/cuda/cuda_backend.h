// The backend of NVIDIA GPUs, of compute capability 7.5 and more.
//
// Weights of bfloat16 are multiplied by tensor cores (from 8.0 on), in one order of sums for any
// batch; all else gives the bits of the CPU. Rows are float32, as on the CPU.
#pragma once

#include <memory>

#include "kernels/kernels.h"

namespace catena {

struct CudaOptions {
  // kInt8 is taken for kBf16: what costs the CPU time is free here.
  Activations activations = Activations::kBf16;
  int device = 0;  // as CUDA counts them
};

// UNIMPLEMENTED where there is no GPU or no driver, or this build has no CUDA; INVALID_ARGUMENT
// where there is no such device.
absl::StatusOr<std::unique_ptr<Backend>> NewCudaBackend(const CudaOptions& options);

}  // namespace catena
