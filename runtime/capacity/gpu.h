// What GPUs can do at most, by their makers' datasheets.
//
// Thread rules: pure functions.
#pragma once

#include <cstdint>
#include <string_view>

#include "absl/types/span.h"

#include "kernels/base/status.h"

namespace catena {

struct Gpu {
  std::string_view name;  // as the command line has it
  int64_t memory_bytes = 0;
  double bytes_per_s = 0;  // of its memory
  double flops_per_s = 0;  // 16 bits, dense, tensor cores
};

// h100, h200 and a100 are those of SXM boards; a100 has 80 GB.
absl::Span<const Gpu> KnownGpus();
// INVALID_ARGUMENT that names those that are known.
absl::StatusOr<Gpu> FindGpu(std::string_view name);

}  // namespace catena
