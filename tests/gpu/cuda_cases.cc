#include "kernels/cuda/cuda_backend.h"
#include "tests/kernels/op_fixture.h"

namespace catena::testing_kernels {

std::vector<BackendCase> BackendCases() {
  return {{.name = "cuda",
           .make = [](Activations a, int) { return *NewCudaBackend({.activations = a}); },
           .emulated = true}};
}

}  // namespace catena::testing_kernels
