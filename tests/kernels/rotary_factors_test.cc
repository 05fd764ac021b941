// RotaryFactors: its sines and cosines against the x87's long double ones, and every backend
// against the reference, bit by bit.
#include <bit>
#include <cmath>
#include <random>

#include <gtest/gtest.h>

#include "kernels/ref/ops.h"
#include "tests/kernels/op_fixture.h"

namespace catena {
namespace {

using namespace testing_kernels;

// How far `got` is from `exact`, in units of the last place of a float32 of its size.
double UnitsInTheLastPlace(float got, long double exact) {
  int exponent;
  std::frexp(static_cast<float>(exact), &exponent);
  return static_cast<double>(std::fabs(got - exact) / std::ldexp(1.0L, exponent - 24));
}

struct Worst {
  double units = 0;
  int64_t rounded_wrong = 0, values = 0;

  void Look(float x) {
    const ref::SineCosine f = ref::SinCos(x);
    const long double exact_sine = sinl(x), exact_cosine = cosl(x);
    for (auto [got, exact] : {std::pair{f.sine, exact_sine}, {f.cosine, exact_cosine}}) {
      units = std::max(units, UnitsInTheLastPlace(got, exact));
      rounded_wrong += got != static_cast<float>(exact);
      ++values;
    }
  }
};

// Every position of a context of 2^24 by frequencies from the largest that a config may have down.
TEST(SinCos, IsCorrectlyRounded) {
  static_assert(sizeof(long double) > sizeof(double), "needs a wider type to compare with");
  Worst worst;
  std::mt19937 rng(1);
  std::uniform_real_distribution<double> log_frequency(std::log(1e-9), std::log(1e3));
  for (int i = 0; i < 2'000'000; ++i) {
    const auto position = static_cast<float>(rng() >> (8 + rng() % 24));
    worst.Look(position * static_cast<float>(std::exp(log_frequency(rng))));
  }
  for (int i = 0; i < 200'000; ++i) worst.Look(static_cast<float>(i));
  EXPECT_LT(worst.units, 0.5 + 1e-6);
  EXPECT_EQ(worst.rounded_wrong, 0) << "of " << worst.values;
}

// Floats next to multiples of pi/2, where the reduced argument loses the most bits, up to 2^36.
TEST(SinCos, IsCorrectlyRoundedNextToItsZeros) {
  Worst worst;
  std::mt19937_64 rng(2);
  for (int i = 0; i < 1'000'000; ++i) {
    const auto n = static_cast<long double>(rng() >> (29 + rng() % 34));
    const auto near = static_cast<float>(n * 1.570796326794896619231321691639751L);
    for (float x : {std::nextafterf(near, 0.0f), near, std::nextafterf(near, 1e30f)}) {
      worst.Look(x);
      worst.Look(-x);
    }
  }
  // Of all float32 below 2^36 the nearest to a multiple of pi/2 but 0, 2.0e-9 off.
  worst.Look(0x1.47d0fep34f);
  EXPECT_LT(worst.units, 0.5 + 1e-6);
  EXPECT_EQ(worst.rounded_wrong, 0) << "of " << worst.values;
}

TEST(SinCos, KnowsZero) {
  for (float zero : {0.0f, -0.0f}) {
    EXPECT_EQ(ref::SinCos(zero).sine, 0.0f);
    EXPECT_EQ(ref::SinCos(zero).cosine, 1.0f);
  }
}

class RotaryFactorsTest : public ::testing::TestWithParam<BackendCase> {};

// Spans of both tables, single rows and many, near and far, for a number of frequencies.
std::vector<uint32_t> Factors(Backend& backend, int half) {
  std::mt19937 rng(3);
  Matrix tables = MakeMatrix(DType::kF32, 2, half, 5);
  auto* values = reinterpret_cast<float*>(tables.bytes.data());
  for (int i = 0; i < 2 * half; ++i) values[i] *= std::exp2(-static_cast<float>(rng() % 24));
  auto frequencies = *backend.Pack({tables.view}, WeightRole::kTable);
  auto stream = *backend.NewStream({});
  const std::vector<int32_t> pages((1 << 24) / kPagePositions, 0);
  const auto batch = MakeBatch(backend, *stream,
                               {{1, 0, pages, 0},
                                {50, 4090, pages, 1},
                                {19, (1 << 24) - 19, pages, 0},
                                {1, 123456, pages, 1}});
  const DeviceRows out(backend, *stream, batch->rows(), 2 * half);
  backend.RotaryFactors(*stream, *batch, *frequencies, 1.19f, out.rows());
  return Bits(out.Values());
}

TEST_P(RotaryFactorsTest, EqualTheReferenceBitByBit) {
  auto ref = NewRefBackend(Activations::kF32);
  for (int half : {1, 4, 8, 12, 16, 17, 32, 48, 64}) {
    EXPECT_EQ(Factors(*GetParam().make(Activations::kF32, 2), half), Factors(*ref, half)) << half;
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, RotaryFactorsTest, ::testing::ValuesIn(BackendCases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace catena
