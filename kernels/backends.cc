#include "kernels/backends.h"

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/ref/ref_backend.h"

namespace catena {
namespace {

struct Row {
  std::string_view name;
  absl::StatusOr<std::unique_ptr<Backend>> (*make)(const BackendOptions& options);
};

// Best first: "auto" takes the first that this machine can run.
constexpr Row kBackends[] = {
    {"cpu",
     [](const BackendOptions& o) {
       return NewCpuBackend({.threads = o.threads, .activations = o.activations, .isa = {}});
     }},
    {"ref",
     [](const BackendOptions& o) -> absl::StatusOr<std::unique_ptr<Backend>> {
       return NewRefBackend(o.activations);
     }},
    // Only by its name, so far: it has run on no GPU yet.
    {"cuda",
     [](const BackendOptions& o) {
       return NewCudaBackend({.activations = o.activations, .device = o.device});
     }},
};

}  // namespace

absl::StatusOr<std::unique_ptr<Backend>> NewBackend(std::string_view name,
                                                    const BackendOptions& options) {
  for (const Row& row : kBackends) {
    if (name != "auto" && name != row.name) continue;
    auto backend = row.make(options);
    if (name != "auto" || !absl::IsUnimplemented(backend.status())) return backend;
  }
  return absl::InvalidArgumentError(
      fmt::format("--backend {}: choose auto or one of {}", name, BackendNames()));
}

std::string BackendNames() {
  std::string names;
  for (const Row& row : kBackends) {
    if (!names.empty()) names += ", ";
    names += row.name;
  }
  return names;
}

}  // namespace catena
