// Every op of every backend and instruction set this machine has, against kernels/ref/, bit by bit;
// and each against itself under other batches: the exactness contract of kernels.h.
#include <cmath>
#include <cstring>
#include <optional>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/base/float16.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/ref/ref_backend.h"
#include "tests/kernels/far_backend.h"
#include "tests/kernels/op_cases.h"

namespace catena {
namespace {

using namespace testing_kernels;

class BackendTest : public ::testing::TestWithParam<BackendCase> {
 protected:
  std::unique_ptr<Backend> Make(Activations a, int threads = 2) const {
    return GetParam().make(a, threads);
  }
};

std::vector<float> NormLinear(Backend& backend, const std::vector<float>& x, int rows,
                              const Matrix& gain, const Matrix& w) {
  auto stream = *backend.NewStream(kTestLimits);
  auto weight = *backend.Pack({w.view}, WeightRole::kLinear);
  auto gains = *backend.Pack({gain.view}, WeightRole::kTable);
  const DeviceRows in(backend, *stream, x, w.view.cols);
  const DeviceRows out(backend, *stream, rows, w.view.rows, 0.5f);
  backend.NormLinear(*stream, in.rows(), nullptr, *gains, 1e-5f, *weight, out.rows());
  return out.Values();
}

// What the reference makes of the table's cases, each made once for all backends: its plain loops
// take most of the time, above all under sanitizers.
class ReferenceResults {
 public:
  static ReferenceResults& Get() {
    static ReferenceResults results;
    return results;
  }
  const std::vector<OpCase>& cases() const { return cases_; }
  const auto& Of(size_t i) {
    if (!bits_[i]) {
      const auto backend = NewRefBackend(cases_[i].activations);
      const auto op = cases_[i].make(*backend);
      op->Run();
      bits_[i] = Bits(op->Result());
    }
    return *bits_[i];
  }

 private:
  const std::vector<OpCase> cases_ = OpCases(SmallShapes());
  std::vector<std::optional<std::vector<uint32_t>>> bits_{cases_.size()};
};

TEST_P(BackendTest, EveryOpEqualsTheReferenceBitByBit) {
  ReferenceResults& reference = ReferenceResults::Get();
  for (Activations a : kAllActivations) {
    const auto backend = Make(a);
    for (size_t i = 0; i < reference.cases().size(); ++i) {
      const OpCase& c = reference.cases()[i];
      if (c.activations != a) continue;
      const auto op = c.make(*backend);
      op->Run();
      EXPECT_EQ(Bits(op->Result()), reference.Of(i)) << c.op << ", " << c.shape;
    }
  }
}

TEST_P(BackendTest, FloatLinearTakesColumnsThatAreNoMultipleOfAVector) {
  for (Activations a : {Activations::kBf16, Activations::kF32}) {
    for (DType t : {DType::kF32, DType::kF16, DType::kBF16}) {
      for (int k : {1, 17, 43, 172, 385}) {
        const Matrix w = MakeMatrix(t, 5, k, 7), gain = MakeMatrix(DType::kF32, 1, k, 8);
        for (int rows : {3, 20}) {
          const std::vector<float> x = RandomRows(rows, k, 1);
          EXPECT_EQ(Bits(NormLinear(*Make(a), x, rows, gain, w)),
                    Bits(NormLinear(*NewRefBackend(a), x, rows, gain, w)))
              << Name(t) << " " << k << " rows " << rows;
        }
      }
    }
  }
}

// Products about as small as the least normal float, so that sums and operands are on either side.
TEST_P(BackendTest, Bf16ProductsTakeSubnormalsForZero) {
  const int n = 33, k = 300;
  Matrix w = MakeMatrix(DType::kBF16, n, k, 7), gain = MakeMatrix(DType::kF32, 1, k, 8);
  std::mt19937 rng(1);
  auto* weights = reinterpret_cast<uint16_t*>(w.bytes.data());
  for (int i = 0; i < n * k; ++i) {
    weights[i] = static_cast<uint16_t>((rng() & 0x807f) | (rng() % 6 + (i % 3 ? 60 : 0)) << 7);
  }
  auto* gains = reinterpret_cast<float*>(gain.bytes.data());
  for (int i = 0; i < k; ++i) gains[i] *= i % 3 ? 0x1p-60f : i % 2 ? 1.0f : 0x1p-127f;
  for (int rows : {1, 20}) {
    const std::vector<float> x = RandomRows(rows, k, 1);
    auto run = [&](Backend& b) { return Bits(NormLinear(b, x, rows, gain, w)); };
    const auto expect = run(*NewRefBackend(Activations::kBf16));
    EXPECT_EQ(run(*Make(Activations::kBf16)), expect) << rows;
    EXPECT_NE(run(*Make(Activations::kF32)), expect) << rows;
  }
}

TEST_P(BackendTest, ALinearRowDoesNotDependOnItsBatchOrTheThreads) {
  for (Activations a : kAllActivations) {
    for (DType t : kAllDTypes) {
      const int n = 96, k = 1280, rows = 130;
      const Matrix w = MakeMatrix(t, n, k, 7), gain = MakeMatrix(DType::kF32, 1, k, 8);
      const std::vector<float> x = RandomRows(rows, k, 3);
      const std::vector<float> all = NormLinear(*Make(a, 3), x, rows, gain, w);
      auto one = Make(a, 1);
      for (int r = 0; r < rows; r += 13) {
        const std::vector<float> row(x.begin() + r * k, x.begin() + (r + 1) * k);
        const std::vector<float> expect(all.begin() + r * n, all.begin() + (r + 1) * n);
        EXPECT_EQ(Bits(NormLinear(*one, row, 1, gain, w)), Bits(expect)) << Name(t) << " " << r;
      }
    }
  }
}

TEST_P(BackendTest, TensorsPackedTogetherAreOneMatrix) {
  auto backend = Make(Activations::kInt8);
  auto stream = *backend->NewStream(kTestLimits);
  const Matrix q = MakeMatrix(DType::kQ4_0, 40, 64, 1), k = MakeMatrix(DType::kQ4_0, 24, 64, 2);
  const Matrix gain = MakeMatrix(DType::kF32, 1, 64, 8);
  const std::vector<float> x = RandomRows(1, 64, 3);
  std::vector<float> expect = NormLinear(*backend, x, 1, gain, q);
  for (float f : NormLinear(*backend, x, 1, gain, k)) expect.push_back(f);
  auto weight = *backend->Pack({q.view, k.view}, WeightRole::kLinear);
  EXPECT_EQ(weight->rows(), 64);
  EXPECT_EQ(weight->bytes(), backend->PackedBytes({q.view, k.view}, WeightRole::kLinear));
  auto gains = *backend->Pack({gain.view}, WeightRole::kTable);
  const DeviceRows in(*backend, *stream, x, 64), out(*backend, *stream, 1, 64, 0.5f);
  backend->NormLinear(*stream, in.rows(), nullptr, *gains, 1e-5f, *weight, out.rows());
  EXPECT_EQ(Bits(out.Values()), Bits(expect));
}

// As q, k and v of the hub's mixtures are, and what a checkpoint may hold besides.
TEST_P(BackendTest, TensorsOfSeveralTypesPackedTogetherAreComputedInTheirOwn) {
  const std::vector<std::vector<DType>> mixtures = {{DType::kQ4_K, DType::kQ4_K, DType::kQ6_K},
                                                    {DType::kQ8_0, DType::kQ4_1, DType::kQ5_0},
                                                    {DType::kIQ4_XS, DType::kQ5_K},
                                                    {DType::kQ4_0, DType::kF16, DType::kQ2_K},
                                                    {DType::kBF16, DType::kF32},
                                                    {DType::kBF16, DType::kBF16}};
  const int k = 512, heights[] = {40, 24, 33};
  const Matrix gain = MakeMatrix(DType::kF32, 1, k, 8);
  for (const std::vector<DType>& mixture : mixtures) {
    for (const Activations a : kAllActivations) {
      const InputFormat format = InputFormatOf(a, mixture);
      // What each would be alone, were its inputs as they are here.
      const Activations alone = format == InputFormat::kF32 ? Activations::kF32 : a;
      for (const int rows : {1, 7, 70}) {
        const std::vector<float> x = RandomRows(rows, k, 3);
        const auto backend = Make(a), by_itself = Make(alone);
        std::vector<Matrix> parts;
        std::vector<TensorView> views;
        std::vector<std::vector<float>> outputs;
        for (size_t i = 0; i < mixture.size(); ++i) {
          parts.push_back(MakeMatrix(mixture[i], heights[i], k, static_cast<uint32_t>(20 + i)));
          outputs.push_back(NormLinear(*by_itself, x, rows, gain, parts[i]));
        }
        for (const Matrix& part : parts) views.push_back(part.view);
        std::vector<float> expect;
        for (int r = 0; r < rows; ++r) {
          for (size_t i = 0; i < parts.size(); ++i) {
            const float* row = outputs[i].data() + r * heights[i];
            expect.insert(expect.end(), row, row + heights[i]);
          }
        }
        const auto weight = *backend->Pack(views, WeightRole::kLinear);
        EXPECT_EQ(weight->bytes(), backend->PackedBytes(views, WeightRole::kLinear));
        const auto stream = *backend->NewStream(kTestLimits);
        const auto gains = *backend->Pack({gain.view}, WeightRole::kTable);
        const DeviceRows in(*backend, *stream, x, k);
        const DeviceRows out(*backend, *stream, rows, weight->rows(), 0.5f);
        backend->NormLinear(*stream, in.rows(), nullptr, *gains, 1e-5f, *weight, out.rows());
        EXPECT_EQ(Bits(out.Values()), Bits(expect)) << Name(mixture[0]) << ", " << rows << " rows";
      }
    }
  }
}

// Nothing is widened: a panel has the file's bits, and scales of whole bytes at most.
TEST_P(BackendTest, PackedWeightsAreAboutAsLargeAsTheFile) {
  const auto backend = Make(Activations::kInt8);
  for (const DType t : kAllDTypes) {
    const Matrix m = MakeMatrix(t, 64, 512, 1);
    const auto file = static_cast<int64_t>(m.bytes.size());
    EXPECT_LE(backend->PackedBytes({m.view}, WeightRole::kLinear), file * 115 / 100) << Name(t);
  }
}

TEST_P(BackendTest, RowsStoredAsRotaryPairsAreReadAsHalves) {
  auto backend = Make(Activations::kF32);
  Matrix plain = MakeMatrix(DType::kF32, 16, 8, 1), pairs = plain;
  pairs.view.interleaved_head_dim = 8;
  const float* from = reinterpret_cast<const float*>(plain.bytes.data());
  float* to = reinterpret_cast<float*>(pairs.bytes.data());
  for (int head = 0; head < 2; ++head) {
    for (int i = 0; i < 8; ++i) {  // checkpoint row i is stored at 2i, or 2(i-4)+1
      const int stored = i < 4 ? 2 * i : 2 * (i - 4) + 1;
      std::memcpy(to + (head * 8 + stored) * 8, from + (head * 8 + i) * 8, 32);
    }
  }
  pairs.view.bytes = pairs.bytes;
  const Matrix gain = MakeMatrix(DType::kF32, 1, 8, 8);
  const std::vector<float> x = RandomRows(2, 8, 3);
  EXPECT_EQ(Bits(NormLinear(*backend, x, 2, gain, pairs)),
            Bits(NormLinear(*backend, x, 2, gain, plain)));
}

TEST_P(BackendTest, NormOfChosenRowsIsThatOfThoseRows) {
  const Matrix gain = MakeMatrix(DType::kF32, 1, 64, 8), w = MakeMatrix(DType::kF32, 64, 64, 9);
  auto backend = Make(Activations::kF32);
  auto stream = *backend->NewStream(kTestLimits);
  auto gains = *backend->Pack({gain.view}, WeightRole::kTable);
  auto weight = *backend->Pack({w.view}, WeightRole::kLinear);
  const std::vector<float> x = RandomRows(4, 64, 3);
  auto run = [&](const std::vector<float>& values, const Batch* wanted) {
    const DeviceRows rows(*backend, *stream, values, 64), y(*backend, *stream, 2, 64);
    backend->NormLinear(*stream, rows.rows(), wanted, *gains, 1e-6f, *weight, y.rows());
    return Bits(y.Values());
  };
  std::vector<float> two(x.begin() + 3 * 64, x.end());
  two.insert(two.end(), x.begin(), x.begin() + 64);
  EXPECT_EQ(run(x, MakeWanted(*backend, *stream, {3, 0}).get()), run(two, nullptr));
}

TEST_P(BackendTest, WhatIsNotFiniteStaysNotFinite) {
  const Matrix w = MakeMatrix(DType::kQ4_0, 32, 64, 9), gain = MakeMatrix(DType::kF32, 1, 64, 8);
  for (float bad : {NAN, INFINITY}) {
    std::vector<float> x = RandomRows(1, 64, 5);
    x[40] = bad;
    for (Activations a : kAllActivations) {
      for (float y : NormLinear(*Make(a), x, 1, gain, w)) EXPECT_FALSE(std::isfinite(y));
    }
  }
}

// A sampled token may be put there by the device, and feed the next step without the host.
TEST_P(BackendTest, IdsAreReadFromTheDeviceWhenTheStepRuns) {
  const auto backend = Make(Activations::kInt8);
  const auto stream = *backend->NewStream(kTestLimits);
  const Matrix table = MakeMatrix(DType::kQ8_0, 50, 64, 4);
  const auto weight = *backend->Pack({table.view}, WeightRole::kEmbedding);
  const std::vector<int32_t> first = {3, 1, 4}, sampled = {15, 9, 2};
  const auto embed = [&](const Batch& batch) {
    const DeviceRows out(*backend, *stream, batch.rows(), 64);
    backend->Embed(*stream, *weight, batch, 1.0f, out.rows());
    return Bits(out.Values());
  };
  const auto batch = MakeBatch(*backend, *stream, first);
  const auto before = embed(*batch);
  std::vector<float> bits(sampled.size());
  std::memcpy(bits.data(), sampled.data(), sampled.size() * sizeof(int32_t));
  const DeviceRows made(*backend, *stream, bits, static_cast<int64_t>(bits.size()));
  const Rows from = made.rows().Slice(0, 1);
  backend->Copy(*stream, from, {batch->ids(), 1, from.cols, from.stride, from.dtype});
  EXPECT_NE(embed(*batch), before);
  EXPECT_EQ(embed(*batch), embed(*MakeBatch(*backend, *stream, sampled)));
}

// That a far backend catches who treats it as a near one.
TEST(FarBackendDeathTest, TheHostCannotTouchItsMemory) {
  const auto backend = NewFarBackend(NewRefBackend(Activations::kF32));
  const auto stream = *backend->NewStream(kTestLimits);
  const DeviceRows x(*backend, *stream, 2, 8, 1.0f);
  float* at = x.rows().data.As<float>();
  EXPECT_DEATH(*at = 2.0f, "");
  EXPECT_DEATH(EXPECT_EQ(*at, 1.0f), "");
  EXPECT_EQ(x.Values(), std::vector<float>(16, 1.0f));
}

TEST(FarBackendDeathTest, ItsOpsTakeNoRowsOfTheHost) {
  const auto backend = NewFarBackend(NewRefBackend(Activations::kF32));
  const auto stream = *backend->NewStream(kTestLimits);
  const DeviceRows x(*backend, *stream, 2, 8, 1.0f);
  std::vector<float> host(16);
  const Rows rows{DeviceAddress(host.data()), 2, 8, 8};
  EXPECT_DEATH(backend->Copy(*stream, x.rows(), rows), "Holds");
}

INSTANTIATE_TEST_SUITE_P(Backends, BackendTest, ::testing::ValuesIn(NearAndFarBackendCases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace catena
