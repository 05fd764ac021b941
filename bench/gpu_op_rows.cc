#include <algorithm>
#include <chrono>
#include <vector>

#include "bench/gpu_rows.h"

#include "kernels/base/cores.h"
#include "kernels/cpu/cpu_backend.h"
#include "tests/gpu/cuda_op_cases.h"

namespace catena {
namespace {

using namespace testing_kernels;
using Clock = std::chrono::steady_clock;
using MakeBackend = std::function<absl::StatusOr<std::unique_ptr<Backend>>(Activations)>;

absl::StatusOr<std::vector<float>> ResultOf(const OpCase& c, const MakeBackend& make) {
  CATENA_ASSIGN_OR_RETURN(const auto backend, make(CudaActivations(c)));
  const auto op = c.make(*backend);
  op->Run();
  return op->Result();
}

absl::StatusOr<Figures> Compare(const RowOptions& options, const std::vector<OpCase>& cases,
                                const MakeBackend& make_expected) {
  const MakeBackend make = [&](Activations a) {
    return NewBackend(options.backend, {.threads = 1, .activations = a});
  };
  Figures wrong = Figures::array();
  for (const OpCase& c : cases) {
    CATENA_ASSIGN_OR_RETURN(const std::vector<float> expected, ResultOf(c, make_expected));
    CATENA_ASSIGN_OR_RETURN(const std::vector<float> got, ResultOf(c, make));
    if (!IsRight(c, got, expected)) wrong.push_back(c.op + ", " + c.shape);
  }
  return Figures{{"compared", cases.size()}, {"wrong", wrong}};
}

}  // namespace

absl::StatusOr<Figures> MeasureCopy(const RowOptions& options) {
  constexpr int kTries = 5, kCopies = 8;
  const int64_t cols = options.small ? 1 << 16 : 1 << 28;
  CATENA_ASSIGN_OR_RETURN(const auto backend, NewBackend(options.backend, {}));
  CATENA_ASSIGN_OR_RETURN(const auto stream, backend->NewStream(kTestLimits));
  const auto bytes = static_cast<size_t>(RowBytes(DType::kF32, cols));
  CATENA_ASSIGN_OR_RETURN(const DeviceBuffer from, backend->AllocateDevice(bytes));
  CATENA_ASSIGN_OR_RETURN(const DeviceBuffer to, backend->AllocateDevice(bytes));
  const Rows source = from.As(1, cols, DType::kF32), target = to.As(1, cols, DType::kF32);
  double best = 0;
  for (int i = 0; i < kTries; ++i) {
    const Clock::time_point start = Clock::now();
    for (int n = 0; n < kCopies; ++n) backend->Copy(*stream, source, target);
    Synchronize(*backend, *stream);
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    best = std::max(best, 2.0 * kCopies * static_cast<double>(bytes) / seconds);
  }
  return Figures{{"bytes_per_s", best}};
}

absl::StatusOr<Figures> CompareOps(const RowOptions& options) {
  OpShapes shapes = SmallShapes();
  // Many rows whose softmax runs a block merges itself.
  shapes.attention.push_back({{2, 1, 16, 16, 0, DType::kF16}, 600, 100});
  if (options.small) {
    shapes.linear = {{33, 64}};
    shapes.rows = {1, 9, 70};
    shapes.attention.resize(2);
  }
  return Compare(options, CudaOpCases(shapes), [](Activations a) { return NewRefBackend(a); });
}

absl::StatusOr<Figures> CompareModelOps(const RowOptions& options) {
  OpShapes shapes = ModelShapes();
  shapes.linear = {{1024, 3072}};
  shapes.rows = {1, 12, 300};
  shapes.vocab = 100;
  if (options.small) {
    shapes.linear = {{160, 96}};
    shapes.rows = {8};
    shapes.attention = {{{4, 2, 96, 96, 0, DType::kF16}, 100, 1}};
  }
  return Compare(options, CudaOpCases(shapes), [](Activations a) {
    return NewCpuBackend({.threads = UsableCores(), .activations = a, .isa = {}});
  });
}

}  // namespace catena
