#include "kernels/cuda/check.h"

#include <cstdio>
#include <cstdlib>

namespace catena::cuda {

void EndProcess(cudaError_t error, const char* call) {
  std::fprintf(stderr, "catena: GPU: %s: %s\n", call, cudaGetErrorString(error));
  std::_Exit(EXIT_FAILURE);
}

}  // namespace catena::cuda
