#include "kernels/cpu/cpu_backend.h"
#include "tests/kernels/op_fixture.h"

namespace catena::testing_kernels {

// From AVX2 up.
std::vector<BackendCase> BackendCases() {
  std::vector<BackendCase> cases;
  for (CpuIsa isa : {CpuIsa::kAvx2, CpuIsa::kAvxVnni, CpuIsa::kAvx512, CpuIsa::kAvx512Vnni,
                     CpuIsa::kAvx512Bf16}) {
    if (!Has(isa)) continue;
    std::string name = std::string(Name(isa));
    for (char& c : name) c = c == '-' ? '_' : c;
    cases.push_back({.name = name, .make = [isa](Activations a, int threads) {
                       return *NewCpuBackend({.threads = threads, .activations = a, .isa = isa});
                     }});
  }
  return cases;
}

}  // namespace catena::testing_kernels
