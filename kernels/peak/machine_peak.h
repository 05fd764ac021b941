// What this machine can do at most, measured: a bound for every kernel, and for a program that
// divides a model among machines.
//
// Thread rules: any thread, one measurement at a time; it keeps the cores busy while it lasts.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernels/base/status.h"

namespace catena {

struct MachinePeakOptions {
  std::vector<int> threads = {1};  // how many at once, each count measured in turn
  double seconds_each = 0.3;       // of each measurement; at least one pass is made
  // Divided among the threads. 0: 64 MiB a thread and 1 GiB at least, several times a core's share
  // of the last cache.
  int64_t read_bytes = 0;
};

struct Peak {
  double per_second = 0;     // of the best pass, all threads together
  std::string instructions;  // that reached it
};

struct MachinePeak {
  int threads = 0;
  Peak read_bytes;
  // A multiply-accumulate (MAC) is one product of two values, added to a sum.
  Peak f32_macs, int8_macs;
  std::optional<Peak> bf16_macs;  // nullopt where there are no such instructions
};

// One a count of options.threads, which may not be empty. RESOURCE_EXHAUSTED where memory or
// threads cannot be had.
absl::StatusOr<std::vector<MachinePeak>> MeasureMachinePeak(const MachinePeakOptions& options);

}  // namespace catena
