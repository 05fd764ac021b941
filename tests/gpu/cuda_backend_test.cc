// Every op of the backend cuda, in emulation, against the reference: bit by bit where kernels.h
// prescribes the order of sums, and within what float32 may err where tensor cores have their own.
// The threads of a block run in another order each time.
#include "kernels/cuda/cuda_backend.h"

#include <cmath>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/ref/ref_backend.h"
#include "tests/gpu/cuda_op_cases.h"
#include "tests/gpu/emulate/machine.h"
#include "tests/sanitized.h"

namespace catena {
namespace {

using namespace testing_kernels;
using emulate::Order;

std::unique_ptr<Backend> Cuda(Activations a) { return *NewCudaBackend({.activations = a}); }

// The edges of SmallShapes that matter here, fewer under a sanitizer, and many rows whose softmax
// runs a block merges itself.
OpShapes EmulatedShapes() {
  OpShapes shapes = SmallShapes();
  shapes.attention.push_back({{2, 1, 16, 16, 0, DType::kF16}, 600, 100});
  shapes.linear = {{33, 64}, {64, 1056}, {7, 32}, {300, 576}, {40, 1792}};
  shapes.rows = {1, 2, 7, 9, 17, 70};
  if (kSanitized) {
    shapes.linear = {{33, 64}, {130, 1056}};
    shapes.rows = {1, 9, 70};
  }
  return shapes;
}

TEST(CudaBackend, EveryOpIsThatOfTheReference) {
  int compared = 0;
  for (const OpCase& c : CudaOpCases(EmulatedShapes())) {
    emulate::GlobalOptions().order = static_cast<Order>(compared++ % 3);
    const auto ref = NewRefBackend(CudaActivations(c)), cuda = Cuda(CudaActivations(c));
    const auto expected = c.make(*ref), op = c.make(*cuda);
    expected->Run();
    op->Run();
    EXPECT_TRUE(IsRight(c, op->Result(), expected->Result())) << c.op << ", " << c.shape;
  }
  emulate::GlobalOptions().order = Order::kForward;
  EXPECT_GT(compared, 100);
}

std::vector<float> NormLinear(Backend& backend, const std::vector<float>& x, int rows,
                              const Matrix& gain, const std::vector<const Matrix*>& w) {
  const auto stream = *backend.NewStream(kTestLimits);
  std::vector<TensorView> views;
  for (const Matrix* m : w) views.push_back(m->view);
  const auto weight = *backend.Pack(views, WeightRole::kLinear);
  EXPECT_EQ(weight->bytes(), backend.PackedBytes(views, WeightRole::kLinear));
  const auto gains = *backend.Pack({gain.view}, WeightRole::kTable);
  const DeviceRows in(backend, *stream, x, weight->cols());
  const DeviceRows out(backend, *stream, rows, weight->rows(), 0.5f);
  backend.NormLinear(*stream, in.rows(), nullptr, *gains, 1e-5f, *weight, out.rows());
  return out.Values();
}

// The kernels of one row, of few, of a tile cut into slabs and of many whole tiles.
TEST(CudaBackend, ARowsBitsAreTheSameInAnyBatch) {
  const int k = 416;
  for (const int n : {40, 700}) {
    const Matrix w = MakeMatrix(DType::kBF16, n, k, 7), gain = MakeMatrix(DType::kF32, 1, k, 8);
    const std::vector<float> x = RandomRows(130, k, 3);
    const auto cuda = Cuda(Activations::kBf16);
    const auto all = Bits(NormLinear(*cuda, x, 130, gain, {&w}));
    for (const int rows : {1, 3, 8, 9, 16, 17, 64, 65}) {
      const std::vector<float> some(x.begin(), x.begin() + rows * k);
      const std::vector<uint32_t> expected(all.begin(), all.begin() + rows * n);
      EXPECT_EQ(Bits(NormLinear(*cuda, some, rows, gain, {&w})), expected)
          << rows << " rows of " << n;
    }
  }
}

TEST(CudaBackend, TensorsPackedTogetherAreComputedInTheirOwnTypes) {
  const int k = 96, rows = 3;
  const Matrix gain = MakeMatrix(DType::kF32, 1, k, 8);
  const std::vector<float> x = RandomRows(rows, k, 3);
  const std::vector<std::vector<DType>> mixtures = {{DType::kQ8_0, DType::kQ4_1, DType::kQ4_0},
                                                    {DType::kBF16, DType::kBF16, DType::kBF16},
                                                    {DType::kF16, DType::kF16, DType::kF32}};
  for (const std::vector<DType>& mixture : mixtures) {
    const Matrix a = MakeMatrix(mixture[0], 40, k, 1), b = MakeMatrix(mixture[1], 24, k, 2),
                 c = MakeMatrix(mixture[2], 33, k, 3);
    const auto cuda = Cuda(Activations::kBf16);
    std::vector<float> expected;
    const auto of_a = NormLinear(*cuda, x, rows, gain, {&a}),
               of_b = NormLinear(*cuda, x, rows, gain, {&b}),
               of_c = NormLinear(*cuda, x, rows, gain, {&c});
    for (int r = 0; r < rows; ++r) {
      expected.insert(expected.end(), of_a.begin() + r * 40, of_a.begin() + (r + 1) * 40);
      expected.insert(expected.end(), of_b.begin() + r * 24, of_b.begin() + (r + 1) * 24);
      expected.insert(expected.end(), of_c.begin() + r * 33, of_c.begin() + (r + 1) * 33);
    }
    EXPECT_EQ(Bits(NormLinear(*cuda, x, rows, gain, {&a, &b, &c})), Bits(expected))
        << Name(mixture[0]);
  }
}

// Turing's tensor cores know no bfloat16: the same weights run, in float32.
TEST(CudaBackend, AGpuWithoutBf16TensorCoresComputesInFloat32) {
  emulate::GlobalOptions().capability = 75;
  const int n = 33, k = 64, rows = 3;
  const Matrix w = MakeMatrix(DType::kBF16, n, k, 7), gain = MakeMatrix(DType::kF32, 1, k, 8);
  const std::vector<float> x = RandomRows(rows, k, 3);
  EXPECT_EQ(Bits(NormLinear(*Cuda(Activations::kBf16), x, rows, gain, {&w})),
            Bits(NormLinear(*NewRefBackend(Activations::kF32), x, rows, gain, {&w})));
  emulate::GlobalOptions().capability = 90;
}

TEST(CudaBackend, WhatIsNotFiniteStaysNotFinite) {
  const Matrix gain = MakeMatrix(DType::kF32, 1, 64, 8);
  for (const DType t : {DType::kBF16, DType::kQ4_0, DType::kF32}) {
    const Matrix w = MakeMatrix(t, 32, 64, 9);
    std::vector<float> x = RandomRows(1, 64, 5);
    x[40] = NAN;
    for (const float y : NormLinear(*Cuda(Activations::kBf16), x, 1, gain, {&w})) {
      EXPECT_FALSE(std::isfinite(y)) << Name(t);
    }
  }
}

// A step that comes again is replayed, and reads what the batch holds then.
TEST(CudaBackend, ARecordedStepReadsTheBatchAnew) {
  const auto cuda = Cuda(Activations::kBf16);
  const auto stream = *cuda->NewStream(kTestLimits);
  const Matrix table = MakeMatrix(DType::kQ8_0, 50, 64, 4);
  const auto weight = *cuda->Pack({table.view}, WeightRole::kEmbedding);
  const auto batch = *cuda->NewBatch({.rows = cuda->PaddedRows(80), .pages = 2});
  const DeviceRows out(*cuda, *stream, 80, 64);
  for (const std::vector<int32_t>& ids : {std::vector<int32_t>{3, 1, 4},
                                          {15, 9, 2},
                                          {6, 5},
                                          {35, 8, 9},
                                          {7, 9},
                                          std::vector<int32_t>(70, 30),
                                          std::vector<int32_t>(70, 31)}) {
    Synchronize(*cuda, *stream);
    batch->Clear();
    batch->Add(ids, 0, {0, 1}, 0);
    cuda->Upload(*stream, batch.get());
    const Rows rows = out.rows().Slice(0, batch->padded_rows());
    cuda->BeginStep(*stream, *batch);
    cuda->Embed(*stream, *weight, *batch, 1.0f, rows);
    cuda->EndStep(*stream, false);
    const int n = static_cast<int>(ids.size());
    const auto fresh = MakeBatch(*cuda, *stream, ids);
    const DeviceRows expected(*cuda, *stream, n, 64);
    cuda->Embed(*stream, *weight, *fresh, 1.0f, expected.rows());
    EXPECT_EQ(Bits(Fetch(*cuda, *stream, rows.Slice(0, n))), Bits(expected.Values())) << n;
  }
}

// CUDA has a current device a thread; what a backend issues goes to its own, from whichever thread.
TEST(CudaBackend, AnotherGpuComputesFromAnyThread) {
  emulate::GlobalOptions().devices = 2;
  const auto refused = NewCudaBackend({.activations = Activations::kBf16, .device = 2});
  EXPECT_THAT(std::string(Message(refused.status())),
              ::testing::HasSubstr("--device 2: this machine has 2 GPUs, counted from 0"));
  const auto second = *NewCudaBackend({.activations = Activations::kBf16, .device = 1});
  const auto first = Cuda(Activations::kBf16);
  NormLinearRun here(*first, DType::kBF16, 33, 64, 3);
  here.Run();
  NormLinearRun there(*second, DType::kBF16, 33, 64, 3);
  std::thread([&] { there.Run(); }).join();
  EXPECT_EQ(Bits(there.Result()), Bits(here.Result()));
  emulate::GlobalOptions().devices = 1;
}

TEST(CudaBackend, WhatItCannotDoIsRefusedWithWhatCan) {
  const auto cuda = Cuda(Activations::kBf16);
  const Matrix w = MakeMatrix(DType::kQ6_K, 32, 256, 9);
  EXPECT_THAT(std::string(Message(cuda->Pack({w.view}, WeightRole::kLinear).status())),
              ::testing::HasSubstr("not with q6_k; --backend cpu does"));
  EXPECT_THAT(std::string(Message(cuda->NewKvPool({1, 1, 256, DType::kF16}, 1).status())),
              ::testing::HasSubstr("no heads of 256 values"));
  EXPECT_THAT(std::string(Message(cuda->NewStream(StepLimits{65536, 64, {}}).status())),
              ::testing::HasSubstr("65535 rows at most"));
  EXPECT_THAT(std::string(Message(cuda->AllocateDevice(size_t{5} << 30).status())),
              ::testing::HasSubstr("the GPU lacks memory: 5121 MiB are needed"));
}

}  // namespace
}  // namespace catena
