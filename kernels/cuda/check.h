// Errors of CUDA's runtime after the backend was made: the device's state is unknown then, so the
// process ends with the reason, and its peers go on elsewhere.
//
// Thread rules: any thread.
#pragma once

#include <cuda_runtime.h>

namespace catena::cuda {

[[noreturn]] void EndProcess(cudaError_t error, const char* call);

inline void Check(cudaError_t error, const char* call) {
  if (error != cudaSuccess) EndProcess(error, call);
}

// The device of what this thread makes and issues from here on; CUDA has one a thread.
void UseDevice(int device);

}  // namespace catena::cuda
