// A hash of the kernels' output bits for each numerics id. A change of bits must raise the version
// in kernels/numerics.h: replicas of the old and the new build must not share a sequence.
#include "kernels/numerics.h"

#include <numeric>

#include <gtest/gtest.h>

#include "tests/kernels/op_fixture.h"

namespace catena {
namespace {

using namespace testing_kernels;

// Past one split of attention.
constexpr int kRows = 530, kPages = (kRows + kPagePositions - 1) / kPagePositions;

// FNV-1a over the bits of every op's effect on fixed inputs, through a linear layer each.
uint64_t HashOf(Backend& b) {
  uint64_t hash = 14695981039346656037u;
  auto add = [&hash](const std::vector<float>& x) {
    for (uint32_t bits : Bits(x)) hash = (hash ^ bits) * 1099511628211u;
  };
  auto stream = *b.NewStream(kTestLimits);
  const Matrix table = MakeMatrix(DType::kF32, 1, 8, 3);
  auto frequencies = *b.Pack({table.view}, WeightRole::kTable);
  for (DType t : kAllDTypes) {
    const bool super = Info(t).block_values == kQuantSuperBlock;  // which rows must be whole of
    const int hidden = super ? 256 : 64, heads = super ? 16 : 2, gate = super ? 256 : 64;
    const int qkv_cols = (heads + 4) * 16;
    const Matrix gain = MakeMatrix(DType::kF32, 1, hidden, 2);
    auto gains = *b.Pack({gain.view}, WeightRole::kTable);
    const Matrix vocabulary = MakeMatrix(t, 50, hidden, 7);
    auto qkv = *b.Pack({MakeMatrix(t, qkv_cols, hidden, 4).view}, WeightRole::kLinear);
    auto wide = *b.Pack({MakeMatrix(t, 2 * gate, heads * 16, 5).view}, WeightRole::kLinear);
    auto out = *b.Pack({MakeMatrix(t, 40, gate, 6).view}, WeightRole::kLinear);
    // Quantised weights go with a window and a float32 cache, the others with neither.
    const bool windowed = IsQuantised(t);
    auto pool = *b.NewKvPool({1, 2, 16, windowed ? DType::kF32 : DType::kF16}, kPages);
    std::vector<int32_t> pages(kPages);
    std::iota(pages.rbegin(), pages.rend(), 0);
    pool->Zero(*stream, pages);
    std::vector<int32_t> ids(kRows);
    for (int i = 0; i < kRows; ++i) ids[i] = i * 7 % 50;
    const auto batch = *b.NewBatch({.rows = b.PaddedRows(kRows), .pages = kPages});
    batch->Add(ids, 0, pages, 0);
    b.Upload(*stream, batch.get());
    const DeviceRows x(b, *stream, kRows, hidden), y(b, *stream, kRows, qkv_cols);
    const DeviceRows z(b, *stream, kRows, 2 * gate), factors(b, *stream, kRows, 16);
    const DeviceRows w(b, *stream, RandomRows(kRows, 40, 8), 40);
    const AttentionShape shape{heads, 2, 16, 16, 0.25f, windowed ? 100 : 0};
    auto embedding = *b.Pack({vocabulary.view}, WeightRole::kEmbedding);
    b.Embed(*stream, *embedding, *batch, 1.0f, x.rows());
    b.NormLinear(*stream, x.rows(), nullptr, *gains, 1e-5f, *qkv, y.rows());
    b.RotaryFactors(*stream, *batch, *frequencies, 1.25f, factors.rows());
    b.RotaryAppend(*stream, y.rows(), shape, factors.rows(), *batch, 0, pool.get());
    b.AttentionLinear(*stream, y.rows(), shape, *batch, 0, *pool, *wide, z.rows());
    b.GateLinear(*stream, z.rows(), *out, w.rows());
    for (const DeviceRows* part : {&factors, &y, &z, &w}) add(part->Values());
  }
  return hash;
}

struct Expected {
  Activations activations;
  const char* id;
  uint64_t hash;
};
constexpr Expected kExpected[] = {
    {Activations::kInt8, "cpu-int8b32-v3", 14281988658622247371u},
    {Activations::kBf16, "cpu-bf16-v3", 6193524471567989167u},
    {Activations::kF32, "cpu-f32-v2", 9297999646487154466u},
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
