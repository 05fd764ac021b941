// A hash of the kernels' output bits for each numerics id. A change of bits must raise the version
// in kernels/numerics.h: replicas of the old and the new build must not share a sequence.
#include "kernels/numerics.h"

#include <cmath>
#include <limits>
#include <numeric>

#include <gtest/gtest.h>

#include "tests/kernels/op_fixture.h"

namespace catena {
namespace {

using namespace testing_kernels;

// Past one split of attention.
constexpr int kRows = 530, kPages = (kRows + kPagePositions - 1) / kPagePositions;

// FNV-1a.
class Hash {
 public:
  void operator()(const std::vector<float>& x) {
    for (uint32_t bits : Bits(x)) value_ = (value_ ^ bits) * 1099511628211u;
  }
  uint64_t value() const { return value_; }

 private:
  uint64_t value_ = 14695981039346656037u;
};

// Over the bits of every op's effect on fixed inputs, through a linear layer each.
uint64_t HashOf(Backend& b) {
  Hash add;
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
    b.AttentionLinear(*stream, y.rows(), shape, *batch, 0, *pool, *wide, LinearEnd::kAdd, z.rows());
    b.GateLinear(*stream, z.rows(), Gate::kSilu, *out, LinearEnd::kAdd, w.rows());
    for (const DeviceRows* part : {&factors, &y, &z, &w}) add(part->Values());
  }
  return add.value();
}

// The same of what ops came to do later: soft caps, GELU, norms of what is added.
uint64_t HashOfLaterOps(Backend& b) {
  constexpr int kFew = 70, kCols = 64;
  constexpr AttentionShape kCapped{4, 2, 16, 16, 0.25f, 30, 2.0f};
  const auto stream = *b.NewStream(kTestLimits);
  const auto pool = *b.NewKvPool({1, 2, 16, DType::kF16}, 2);
  pool->Zero(*stream, {0, 1});
  const auto batch = *b.NewBatch({.rows = b.PaddedRows(kFew), .pages = 2});
  batch->Add(std::vector<int32_t>(kFew, 1), 0, {0, 1}, 0);
  b.Upload(*stream, batch.get());
  const auto frequencies = *b.Pack({MakeMatrix(DType::kF32, 1, 8, 3).view}, WeightRole::kTable);
  const auto gains = *b.Pack({MakeMatrix(DType::kF32, 1, kCols, 2).view}, WeightRole::kTable);
  const auto w = *b.Pack({MakeMatrix(DType::kQ8_0, kCols, kCols, 4).view}, WeightRole::kLinear);
  const DeviceRows qkv(b, *stream, RandomRows(kFew, 2 * kCols, 5), 2 * kCols);
  const DeviceRows factors(b, *stream, kFew, 16), branch(b, *stream, kFew, kCols);
  const DeviceRows x(b, *stream, RandomRows(kFew, kCols, 6), kCols);
  b.RotaryFactors(*stream, *batch, *frequencies, 1.0f, factors.rows());
  b.RotaryAppend(*stream, qkv.rows(), kCapped, factors.rows(), *batch, 0, pool.get());
  b.AttentionLinear(*stream, qkv.rows(), kCapped, *batch, 0, *pool, *w, LinearEnd::kSet,
                    branch.rows());
  b.AddNorm(*stream, branch.rows(), *gains, 1e-5f, x.rows());
  b.GateLinear(*stream, qkv.rows(), Gate::kGeluTanh, *w, LinearEnd::kSet, branch.rows());
  b.SoftCap(*stream, 3.0f, branch.rows());
  Hash add;
  for (const DeviceRows* part : {&x, &branch}) add(part->Values());
  return add.value();
}

struct Expected {
  Activations activations;
  const char* id;
  uint64_t hash, later;
};
constexpr Expected kExpected[] = {
    {Activations::kInt8, "cpu-int8b32-v3", 14281988658622247371u, 11158591433237105587u},
    {Activations::kBf16, "cpu-bf16-v3", 6193524471567989167u, 11158591433237105587u},
    {Activations::kF32, "cpu-f32-v2", 9297999646487154466u, 9125171355987037059u},
};

TEST(Numerics, BitsAreThoseOfTheirId) {
  for (const Expected& e : kExpected) {
    EXPECT_EQ(CpuNumericsId(e.activations), e.id);
    EXPECT_EQ(HashOf(*NewRefBackend(e.activations)), e.hash) << e.id << " on ref";
    EXPECT_EQ(HashOfLaterOps(*NewRefBackend(e.activations)), e.later) << e.id << " on ref";
    for (const BackendCase& c : BackendCases()) {
      EXPECT_EQ(HashOf(*c.make(e.activations, 2)), e.hash) << e.id << " on " << c.name;
      EXPECT_EQ(HashOfLaterOps(*c.make(e.activations, 2)), e.later) << e.id << " on " << c.name;
    }
  }
}

// Or damaged weights would give the cap, a number like others.
TEST(Numerics, ASoftCapOfWhatIsNotFiniteIsNotFinite) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const auto expect = [](Backend& b, std::string_view name) {
    const auto stream = *b.NewStream(kTestLimits);
    const DeviceRows x(b, *stream, {kInfinity, -kInfinity, std::nanf(""), 1e30f}, 4);
    b.SoftCap(*stream, 3.0f, x.rows());
    const std::vector<float> got = x.Values();
    for (int i = 0; i < 3; ++i) EXPECT_FALSE(std::isfinite(got[i])) << i << " on " << name;
    EXPECT_EQ(got[3], 3.0f) << name;
  };
  expect(*NewRefBackend(Activations::kF32), "ref");
  for (const BackendCase& c : BackendCases()) expect(*c.make(Activations::kF32, 2), c.name);
}

}  // namespace
}  // namespace catena
