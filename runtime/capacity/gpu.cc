#include "runtime/capacity/gpu.h"

#include <algorithm>

#include <fmt/format.h>

namespace catena {
namespace {

constexpr int64_t kGB = 1'000'000'000;

// NVIDIA's datasheets: H200 (2024), H100 (2023), A100 80GB (2021), L4 (2023), T4 (2019). Where a
// sheet gives tensor figures with sparsity, half of them.
constexpr Gpu kGpus[] = {
    {.name = "h200", .memory_bytes = 141 * kGB, .bytes_per_s = 4.8e12, .flops_per_s = 989e12},
    {.name = "h100", .memory_bytes = 80 * kGB, .bytes_per_s = 3.35e12, .flops_per_s = 989e12},
    {.name = "a100", .memory_bytes = 80 * kGB, .bytes_per_s = 2.039e12, .flops_per_s = 312e12},
    {.name = "l4", .memory_bytes = 24 * kGB, .bytes_per_s = 300e9, .flops_per_s = 121e12},
    {.name = "t4", .memory_bytes = 16 * kGB, .bytes_per_s = 320e9, .flops_per_s = 65e12},
};

}  // namespace

absl::Span<const Gpu> KnownGpus() { return kGpus; }

absl::StatusOr<Gpu> FindGpu(std::string_view name) {
  const auto found = std::find_if(std::begin(kGpus), std::end(kGpus),
                                  [&](const Gpu& g) { return g.name == name; });
  if (found != std::end(kGpus)) return *found;
  std::string known;
  for (const Gpu& g : kGpus) known += fmt::format("{}{}", known.empty() ? "" : ", ", g.name);
  return absl::InvalidArgumentError(
      fmt::format("no GPU {} is known; choose one of {}", name, known));
}

}  // namespace catena
