#include "kernels/cuda/check.h"

#include <cstdio>
#include <cstdlib>

namespace catena::cuda {

void EndProcess(cudaError_t error, const char* call) {
  std::fprintf(stderr, "catena: GPU: %s: %s\n", call, cudaGetErrorString(error));
  std::_Exit(EXIT_FAILURE);
}

void UseDevice(int device) {
  thread_local int used = -1;
  if (used == device) return;
  Check(cudaSetDevice(device), "cudaSetDevice");
  used = device;
}

}  // namespace catena::cuda
