// Stands for the backend where there was no nvcc.
#include "kernels/cuda/cuda_backend.h"

namespace catena {

absl::StatusOr<std::unique_ptr<Backend>> NewCudaBackend(const CudaOptions&) {
  return absl::UnimplementedError(
      "the backend cuda is not in this program: build it where CUDA's nvcc is, or use another "
      "--backend");
}

}  // namespace catena
