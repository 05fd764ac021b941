// RotaryFactors, RotaryAppend and Attention of every backend against the reference, bit by bit,
// over shapes, windows, cache dtypes and cuts of the same sequence into batches.
#include <numeric>

#include <gtest/gtest.h>

#include "tests/kernels/op_fixture.h"

namespace catena {
namespace {

using namespace testing_kernels;

struct Shape {
  int heads, kv_heads, head_dim, rotary_dim;
  int64_t window;
  DType kv;
  float softcap = 0.0f;
};

// A sequence's rows in chunks, beside others of a batch.
struct Cut {
  std::vector<int> chunks;
  bool with_neighbour;
};

class AttentionTest : public ::testing::TestWithParam<BackendCase> {};

// The output of an identity linear layer after attention, for every position of the sequence.
std::vector<uint32_t> RunSequence(Backend& backend, const Shape& s, int positions, const Cut& cut) {
  const int q_cols = s.heads * s.head_dim, cols = q_cols + 2 * s.kv_heads * s.head_dim;
  const int pages = (positions + kPagePositions - 1) / kPagePositions;
  auto stream = *backend.NewStream(kTestLimits);
  auto pool = *backend.NewKvPool({2, s.kv_heads, s.head_dim, s.kv}, pages + 3);
  const Matrix tables = MakeMatrix(DType::kF32, 2, s.rotary_dim / 2, 11);
  auto frequencies = *backend.Pack({tables.view}, WeightRole::kTable);
  auto weight = *backend.Pack({MakeMatrix(DType::kF32, 24, q_cols, 12).view}, WeightRole::kLinear);
  const AttentionShape shape{s.heads, s.kv_heads, s.head_dim, s.rotary_dim,
                             0.25f,   s.window,   s.softcap};
  std::vector<int32_t> ids(pages);
  std::iota(ids.rbegin(), ids.rend(), 2);  // scattered: descending
  pool->Zero(*stream, ids);
  pool->Zero(*stream, {1});
  const std::vector<float> all = RandomRows(positions, cols, 13);
  const std::vector<float> other = RandomRows(1, cols, 14);
  std::vector<float> out;
  int position = 0;
  for (int n : cut.chunks) {
    std::vector<TestSpan> spans;
    std::vector<float> x;
    if (cut.with_neighbour) {
      spans.push_back({1, 0, {1}, 0});
      x = other;
    }
    spans.push_back({n, position, ids, 1});
    const auto batch = MakeBatch(backend, *stream, spans);
    x.insert(x.end(), all.begin() + position * cols, all.begin() + (position + n) * cols);
    const DeviceRows qkv(backend, *stream, x, cols);
    const DeviceRows factors(backend, *stream, batch->rows(), s.rotary_dim);
    const DeviceRows y(backend, *stream, batch->rows(), 24);
    backend.RotaryFactors(*stream, *batch, *frequencies, 1.5f, factors.rows());
    backend.RotaryAppend(*stream, qkv.rows(), shape, factors.rows(), *batch, 1, pool.get());
    backend.AttentionLinear(*stream, qkv.rows(), shape, *batch, 1, *pool, *weight, LinearEnd::kAdd,
                            y.rows());
    const std::vector<float> values = y.Values();
    out.insert(out.end(), values.end() - n * 24, values.end());
    position += n;
  }
  EXPECT_EQ(position, positions);
  return Bits(out);
}

const Shape kShapes[] = {{4, 4, 32, 32, 0, DType::kF16}, {6, 2, 16, 16, 0, DType::kF32},
                         {9, 3, 64, 64, 0, DType::kF16}, {2, 1, 96, 96, 70, DType::kF16, 5.0f},
                         {8, 4, 8, 8, 0, DType::kF32},   {4, 2, 32, 24, 16, DType::kF32},
                         {2, 2, 40, 20, 0, DType::kF16}, {7, 1, 48, 48, 0, DType::kF16}};

TEST_P(AttentionTest, EqualsTheReferenceBitByBit) {
  for (const Shape& s : kShapes) {
    auto backend = GetParam().make(Activations::kF32, 2);
    auto ref = NewRefBackend(Activations::kF32);
    const Cut cut{{150, 1, 40, 1, 8}, true};
    EXPECT_EQ(RunSequence(*backend, s, 200, cut), RunSequence(*ref, s, 200, cut))
        << s.heads << "/" << s.kv_heads << " x " << s.head_dim << " window " << s.window;
  }
}

TEST_P(AttentionTest, DoesNotDependOnCutsNeighboursOrThreads) {
  // Past two splits of 512, so that prefill (merging inside a unit) meets decode (splits as units).
  constexpr int kPositions = 1100;
  const std::vector<Shape> all = {kShapes[0], kShapes[2], kShapes[3]}, windowed = {kShapes[3]};
  for (const Shape& s : GetParam().emulated ? windowed : all) {
    auto backend = GetParam().make(Activations::kF32, 2);
    const auto whole = RunSequence(*backend, s, kPositions, {{kPositions}, false});
    for (const Cut& cut : {Cut{{700, 1, 1, 398}, true}, Cut{{512, 512, 70, 2, 3, 1}, false},
                           Cut{{1, 63, 1000, 36}, true}}) {
      EXPECT_EQ(RunSequence(*GetParam().make(Activations::kF32, 3), s, kPositions, cut), whole);
    }
    if (s.window != 0) {
      const Cut cut{{kPositions - 3, 2, 1}, false};
      auto ref = NewRefBackend(Activations::kF32);
      EXPECT_EQ(RunSequence(*ref, s, kPositions, cut), whole);
    }
  }
}

TEST_P(AttentionTest, LongContextsEqualTheReference) {
  const Shape s{2, 1, 16, 16, 0, DType::kF16};
  const Cut cut{{1100, 1, 12}, false};
  EXPECT_EQ(RunSequence(*GetParam().make(Activations::kF32, 2), s, 1113, cut),
            RunSequence(*NewRefBackend(Activations::kF32), s, 1113, cut));
}

INSTANTIATE_TEST_SUITE_P(Backends, AttentionTest, ::testing::ValuesIn(BackendCases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace catena
