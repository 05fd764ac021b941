// The table of backends: one row each in backends.cc.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "kernels/kernels.h"

namespace catena {

struct BackendOptions {
  int threads = 1;
  Activations activations = Activations::kInt8;
  int device = 0;  // of the GPUs, where the backend runs on one
};

// `name` of the table, or "auto" for the best that this machine has. INVALID_ARGUMENT that lists
// them where there is no such backend, UNIMPLEMENTED where this machine cannot run it.
absl::StatusOr<std::unique_ptr<Backend>> NewBackend(std::string_view name,
                                                    const BackendOptions& options);

// The names, best first, as a message shows them: "cpu, ref".
std::string BackendNames();

}  // namespace catena
