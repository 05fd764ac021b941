// The CPU backend: AVX2 or AVX-512, either with VNNI where there is, the latter with BF16 too,
// chosen at run time, the same bits on each of them as the reference.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "kernels/kernels.h"

namespace catena {

enum class CpuIsa { kAvx2, kAvxVnni, kAvx512, kAvx512Vnni, kAvx512Bf16 };
std::string_view Name(CpuIsa isa);
// Whether this machine has it; 256-bit VNNI in either encoding, or in that of AVX-VNNI.
bool Has(CpuIsa isa);
bool HasVexVnni();

// The best set of this machine; nullopt where it has not even AVX2 (use the reference).
std::optional<CpuIsa> DetectCpuIsa();

// From here on this process takes the machine for one that has nothing better than the set of this
// name, so that it can be measured. INVALID_ARGUMENT that lists those that there are. REQUIRES: no
// other thread uses this header.
absl::Status LimitCpuIsa(std::string_view name);
std::string CpuIsaNames();  // "avx2, avx-vnni, …"

struct CpuOptions {
  int threads = 1;
  Activations activations = Activations::kInt8;
  // For tests and benchmarks: one that the machine has. The choice between AVX2 and AVX-512 holds
  // for the whole process.
  std::optional<CpuIsa> isa;
};

// UNIMPLEMENTED where the machine has no AVX2.
absl::StatusOr<std::unique_ptr<Backend>> NewCpuBackend(const CpuOptions& options);

}  // namespace catena
