// A hash of the kernels' output bits for each numerics id. A change of bits must raise the version
// in kernels/base/numerics.h: replicas of the old and the new build must not share a sequence.
#include "kernels/base/numerics.h"

#include <gtest/gtest.h>

#include "tests/kernels/op_fixture.h"

namespace catena {
namespace {

using namespace testing_kernels;

// FNV-1a over the bits of every op's effect on fixed inputs, through a linear layer each.
uint64_t HashOf(Backend& b) {
  uint64_t hash = 14695981039346656037u;
  auto add = [&hash](const std::vector<float>& x) {
    for (uint32_t bits : Bits(x)) hash = (hash ^ bits) * 1099511628211u;
  };
  auto stream = b.NewStream();
  const Matrix gain = MakeMatrix(DType::kF32, 1, 64, 2), table = MakeMatrix(DType::kF32, 80, 16, 3);
  auto gains = *b.Pack({gain.view}, WeightRole::kTable);
  auto rotary = *b.Pack({table.view}, WeightRole::kTable);
  auto packed = *b.NewPackedRows(80, 96);
  for (DType t : kAllDTypes) {
    auto qkv = *b.Pack({MakeMatrix(t, 96, 64, 4).view}, WeightRole::kLinear);
    auto wide = *b.Pack({MakeMatrix(t, 128, 32, 5).view}, WeightRole::kLinear);
    auto out = *b.Pack({MakeMatrix(t, 40, 64, 6).view}, WeightRole::kLinear);
    auto pool = *b.NewKvPool({1, 2, 16, DType::kF16}, 2);
    pool->Zero({0, 1});
    RaggedBatch batch;
    batch.Add(80, 0, {1, 0}, 0);
    std::vector<float> x = RandomRows(80, 64, 7), y(80 * 96), z(80 * 128), w(80 * 40);
    const Rows qkv_rows{y.data(), 80, 96, 96}, wide_rows{z.data(), 80, 128, 128};
    const AttentionShape shape{2, 2, 16, 16, 80, 0.25f, 0};
    b.Norm(*stream, {x.data(), 80, 64, 64}, {}, *gains, 1e-5f, *qkv, packed.get());
    b.Linear(*stream, *qkv, *packed, LinearMode::kStore, qkv_rows);
    b.RotaryAppend(*stream, qkv_rows, shape, *rotary, batch, 0, pool.get());
    b.Attention(*stream, qkv_rows, shape, batch, 0, *pool, *wide, packed.get());
    b.Linear(*stream, *wide, *packed, LinearMode::kStore, wide_rows);
    b.Gate(*stream, wide_rows, *out, packed.get());
    b.Linear(*stream, *out, *packed, LinearMode::kStore, {w.data(), 80, 40, 40});
    for (const auto& part : {y, z, w}) add(part);
  }
  return hash;
}

struct Expected {
  Activations activations;
  const char* id;
  uint64_t hash;
};
constexpr Expected kExpected[] = {
    {Activations::kInt8, "cpu-int8b32-v1", 7222403774879515444u},
    {Activations::kF32, "cpu-f32-v1", 6074402320780977016u},
};

TEST(Numerics, BitsAreThoseOfTheirId) {
  for (const Expected& e : kExpected) {
    EXPECT_EQ(CpuNumericsId(e.activations), e.id);
    EXPECT_EQ(HashOf(*NewRefBackend(e.activations)), e.hash) << e.id << " on ref";
    for (const BackendCase& c : BackendCases()) {
      EXPECT_EQ(HashOf(*c.make(e.activations, 2)), e.hash) << e.id << " on " << c.name;
    }
  }
}

}  // namespace
}  // namespace catena
