// The ops of kernels.h on every backend and instruction set of this machine: first each of
// tests/kernels/op_cases.h's small shapes against the reference, bit by bit, then the shapes of
// real models, timed as a share of what the machine can do at most (`catena bench machine`).
//
//   kernel_bench [--check] [--threads N] [--backend NAME] [--only TEXT]
//
// --check ends after the comparison. --backend: one instruction set (avx512_vnni), --only: ops
// whose name or shape has TEXT. The limit of an op is the larger of two times, its least bytes at
// the read peak and its products at the peak of their format; what fits a cache may take less.
#include <charconv>
#include <chrono>
#include <cstdio>
#include <optional>
#include <string_view>

#include "kernels/base/cores.h"
#include "kernels/peak/machine_peak.h"
#include "tests/kernels/op_cases.h"

namespace catena {
namespace {

using namespace testing_kernels;
using Clock = std::chrono::steady_clock;

struct Options {
  bool check_only = false;
  int threads = UsableCores();
  std::string backend, only;

  bool Wants(const OpCase& c) const {
    return c.op.find(only) != std::string::npos || c.shape.find(only) != std::string::npos;
  }
};

std::optional<Options> Parse(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; ++i) {
    const std::string_view flag = argv[i];
    if (flag == "--check") {
      o.check_only = true;
      continue;
    }
    if (++i == argc) return std::nullopt;
    const std::string_view value = argv[i];
    if (flag == "--threads") {
      const auto read = std::from_chars(value.data(), value.data() + value.size(), o.threads);
      if (read.ec != std::errc() || o.threads < 1 || o.threads > 1024) return std::nullopt;
    } else if (flag == "--backend") {
      o.backend = value;
    } else if (flag == "--only") {
      o.only = value;
    } else {
      return std::nullopt;
    }
  }
  return o;
}

std::vector<uint32_t> FirstResult(const OpCase& c, Backend& backend) {
  const auto run = c.make(backend);
  run->Run();
  return Bits(run->Result());
}

// How many of the cases differ from the reference; each is printed.
int Check(const BackendCase& on, const Options& o) {
  int compared = 0, wrong = 0;
  for (const Activations activations : kAllActivations) {
    const auto backend = on.make(activations, o.threads);
    const auto reference = NewRefBackend(activations);
    for (const OpCase& c : OpCases(SmallShapes())) {
      if (c.activations != activations || !o.Wants(c)) continue;
      ++compared;
      if (FirstResult(c, *backend) == FirstResult(c, *reference)) continue;
      ++wrong;
      fmt::print("{}: {}, {}: not the reference's bits\n", on.name, c.op, c.shape);
    }
  }
  fmt::print("{}: {} of {} cases have the reference's bits\n", on.name, compared - wrong, compared);
  return wrong;
}

// Of the best of some tenths of a second, in passes of at least a millisecond.
double SecondsOf(OpRun& run) {
  constexpr double kPass = 1e-3, kEnough = 0.3;
  run.Run();
  double best = 1e9, total = 0;
  for (int64_t n = 1; total < kEnough;) {
    const Clock::time_point start = Clock::now();
    for (int64_t i = 0; i < n; ++i) run.Run();
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    total += seconds;
    if (seconds < kPass) {
      n *= 2;
    } else {
      best = std::min(best, seconds / static_cast<double>(n));
    }
  }
  return best;
}

const Peak& PeakOf(const MachinePeak& machine, InputFormat products) {
  if (products == InputFormat::kInt8) return machine.int8_macs;
  // Without the instructions bfloat16 is multiplied as float32.
  if (products == InputFormat::kBf16 && machine.bf16_macs) return *machine.bf16_macs;
  return machine.f32_macs;
}

void Time(const BackendCase& on, const MachinePeak& machine, const Options& o) {
  fmt::print("\n{:<31}{:<28}{:>11}{:>9}{:>9}{:>8}  {}\n", on.name, "shape", "us", "GB/s", "GMAC/s",
             "limit", "bound by");
  for (const Activations activations : kAllActivations) {
    const auto backend = on.make(activations, o.threads);
    for (const OpCase& c : OpCases(ModelShapes())) {
      if (c.activations != activations || !o.Wants(c)) continue;
      const auto run = c.make(*backend);
      const double seconds = SecondsOf(*run);
      const OpWork work = run->work();
      const auto bytes = static_cast<double>(work.bytes), macs = static_cast<double>(work.macs);
      const double reads = bytes / machine.read_bytes.per_second;
      const double multiplies = macs / PeakOf(machine, work.products).per_second;
      fmt::print("{:<31}{:<28}{:>11.2f}{:>9.1f}{:>9.1f}{:>6.0f} %  {}\n", c.op, c.shape,
                 seconds * 1e6, bytes / seconds / 1e9, macs / seconds / 1e9,
                 100 * std::max(reads, multiplies) / seconds,
                 reads > multiplies ? "memory" : "arithmetic");
      std::fflush(stdout);
    }
  }
}

int Main(int argc, char** argv) {
  const std::optional<Options> options = Parse(argc, argv);
  if (!options) {
    fmt::print(stderr,
               "usage: kernel_bench [--check] [--threads N] [--backend NAME] [--only TEXT]\n");
    return 2;
  }
  std::vector<BackendCase> backends;
  for (const BackendCase& b : BackendCases()) {
    if (options->backend.empty() || b.name == options->backend) backends.push_back(b);
  }
  if (backends.empty()) {
    fmt::print(stderr, "no such backend on this machine: {}\n", options->backend);
    return 2;
  }
  int wrong = 0;
  for (const BackendCase& b : backends) wrong += Check(b, *options);
  if (wrong > 0) return 1;
  if (options->check_only) return 0;
  const auto machine = MeasureMachinePeak({.threads = {options->threads}});
  if (!machine.ok()) {
    fmt::print(stderr, "{}\n", Message(machine.status()));
    return 1;
  }
  for (const BackendCase& b : backends) Time(b, machine->front(), *options);
  return 0;
}

}  // namespace
}  // namespace catena

int main(int argc, char** argv) { return catena::Main(argc, argv); }
