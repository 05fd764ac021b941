// Padded rows are inert, on every backend: what is in them changes no bit of the others, and
// nothing of them gets into the cache.
#include <cmath>

#include <gtest/gtest.h>

#include "tests/kernels/far_backend.h"

namespace catena {
namespace {

using namespace testing_kernels;

constexpr AttentionShape kShape{4, 2, 16, 16, 0.25f, 0};
constexpr int kQkvCols = (4 + 2 * 2) * 16, kHidden = 64, kReaderRows = 24;
constexpr int kMost = 64;  // rows of a batch

class PaddingTest : public ::testing::TestWithParam<BackendCase> {};

// One batch object and its rows, used for step after step, as a stage does.
class Steps {
 public:
  explicit Steps(Backend& b)
      : b_(b),
        stream_(*b.NewStream(kTestLimits)),
        pool_(*b.NewKvPool({1, kShape.kv_heads, kShape.head_dim, DType::kF16}, 3)),
        batch_(*b.NewBatch({.rows = b.PaddedRows(kMost), .pages = 2, .wanted = 0})),
        table_(*b.Pack({vocabulary_.view}, WeightRole::kEmbedding)),
        frequencies_(*b.Pack({MakeMatrix(DType::kF32, 1, 8, 11).view}, WeightRole::kTable)),
        gain_(*b.Pack({MakeMatrix(DType::kF32, 1, kHidden, 8).view}, WeightRole::kTable)),
        qkv_weight_(
            *b.Pack({MakeMatrix(DType::kQ8_0, kQkvCols, kHidden, 5).view}, WeightRole::kLinear)),
        reader_(*b.Pack({MakeMatrix(DType::kQ8_0, kReaderRows, kHidden, 6).view},
                        WeightRole::kLinear)) {
    pool_->Zero(*stream_, {0, 1, 2});
  }

  struct Span {
    int rows, page;  // of a sequence
  };
  // The next batch: sequences from their beginning on, padded to kMost rows.
  void Take(const std::vector<Span>& spans) {
    Synchronize(b_, *stream_);
    batch_->Clear();
    for (const Span& span : spans) {
      std::vector<int32_t> ids(span.rows);
      std::iota(ids.begin(), ids.end(), 0);
      batch_->Add(ids, 0, {span.page}, 0);
    }
    batch_->Pad(kMost, 0);
    b_.Upload(*stream_, batch_.get());
  }

  // Embed to the end of attention; all rows have `before` in them where nothing was written yet.
  // `appends`: whether keys and values are written.
  std::vector<uint32_t> Run(float before, bool appends) {
    const int padded = batch_->padded_rows();
    const DeviceRows x(b_, *stream_, padded, kHidden, before);
    const DeviceRows qkv(b_, *stream_, padded, kQkvCols, before);
    const DeviceRows factors(b_, *stream_, padded, kShape.rotary_dim, before);
    const DeviceRows y(b_, *stream_, padded, kReaderRows);
    const auto of = [padded](const DeviceRows& rows) { return rows.rows().Slice(0, padded); };
    b_.Embed(*stream_, *table_, *batch_, 1.0f, of(x));
    b_.NormLinear(*stream_, of(x), nullptr, *gain_, 1e-5f, *qkv_weight_, of(qkv));
    b_.RotaryFactors(*stream_, *batch_, *frequencies_, 1.0f, of(factors));
    if (appends) {
      b_.RotaryAppend(*stream_, of(qkv), kShape, of(factors), *batch_, 0, pool_.get());
    }
    b_.AttentionLinear(*stream_, of(qkv), kShape, *batch_, 0, *pool_, *reader_, LinearEnd::kAdd,
                       of(y));
    std::vector<float> all;
    for (const DeviceRows* part : {&x, &qkv, &factors, &y}) {
      const auto values = Fetch(b_, *stream_, part->rows().Slice(0, batch_->rows()));
      all.insert(all.end(), values.begin(), values.end());
    }
    return Bits(all);
  }

 private:
  Backend& b_;
  const Matrix vocabulary_ = MakeMatrix(DType::kQ8_0, 64, kHidden, 4);
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<KvPool> pool_;
  std::unique_ptr<Batch> batch_;
  std::unique_ptr<Weight> table_, frequencies_, gain_, qkv_weight_, reader_;
};

TEST_P(PaddingTest, PaddedRowsAreInert) {
  for (Activations a : kAllActivations) {
    const auto backend = GetParam().make(a, 2);
    Steps alone(*backend);
    alone.Take({{3, 1}});
    const auto expected = alone.Run(0.0f, true);
    for (float before : {0.0f, NAN, 1e30f}) {
      Steps steps(*backend);
      // What a full batch of others was made of is left behind in the batch's arrays.
      const std::vector<Steps::Span> others = {{3, 0}, {kMost - 3, 2}};
      steps.Take(others);
      steps.Run(0.0f, true);
      const auto of_others = steps.Run(0.0f, false);
      steps.Take({{3, 1}});
      EXPECT_EQ(steps.Run(before, true), expected) << before;
      steps.Take(others);
      EXPECT_EQ(steps.Run(0.0f, false), of_others) << before;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, PaddingTest, ::testing::ValuesIn(NearAndFarBackendCases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace catena
