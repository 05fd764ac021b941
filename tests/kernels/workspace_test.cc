// The ops of a step take no memory: what they work in was made with the stream.
#include <numeric>

#include <gtest/gtest.h>

#include "tests/kernels/count_allocations.h"
#include "tests/kernels/op_fixture.h"

namespace catena {
namespace {

using namespace testing_kernels;

class WorkspaceTest : public ::testing::TestWithParam<BackendCase> {};

// A block of two steps: a prompt and a long sequence's next token, whose attention is split.
TEST_P(WorkspaceTest, AStepAllocatesNothing) {
  constexpr AttentionShape kShape{4, 2, 16, 16, 0.25f, 0};
  constexpr int kHidden = 64, kQkvCols = 128, kPages = 20, kPrompt = 1100;
  for (Activations a : kAllActivations) {
    for (DType t : {DType::kQ4_0, DType::kBF16, DType::kF32}) {
      const auto backend = GetParam().make(a, 2);
      const auto stream =
          *backend->NewStream({.rows = kPrompt, .inputs = kHidden, .attention = kShape});
      const auto pool = *backend->NewKvPool({1, 2, 16, DType::kF16}, kPages);
      const Matrix vocabulary = MakeMatrix(t, 50, kHidden, 1);
      const auto pack = [&](int rows, int cols, DType dtype, WeightRole role) {
        return *backend->Pack({MakeMatrix(dtype, rows, cols, 2).view}, role);
      };
      const auto table = *backend->Pack({vocabulary.view}, WeightRole::kEmbedding);
      const auto gain = pack(1, kHidden, DType::kF32, WeightRole::kTable);
      const auto frequencies = pack(1, 8, DType::kF32, WeightRole::kTable);
      const auto qkv_weight = pack(kQkvCols, kHidden, t, WeightRole::kLinear);
      const auto output = pack(kHidden, kHidden, t, WeightRole::kLinear);
      const auto down = pack(kHidden, kHidden, t, WeightRole::kLinear);
      const auto batch = *backend->NewBatch({.rows = kPrompt, .pages = kPages});
      const DeviceRows x(*backend, *stream, kPrompt, kHidden);
      const DeviceRows y(*backend, *stream, kPrompt, kHidden);
      const DeviceRows qkv(*backend, *stream, kPrompt, kQkvCols);
      const DeviceRows factors(*backend, *stream, kPrompt, kShape.rotary_dim);
      std::vector<int32_t> pages(kPages), ids(kPrompt, 7);
      std::iota(pages.begin(), pages.end(), 0);
      for (const int rows : {kPrompt, 1}) {
        batch->Clear();
        batch->Add(absl::MakeConstSpan(ids).subspan(0, rows), rows == 1 ? kPrompt : 0, pages, 0);
        backend->Upload(*stream, batch.get());
        const auto of = [rows](const DeviceRows& r) { return r.rows().Slice(0, rows); };
        const int64_t before = Allocations();
        backend->BeginStep(*stream, *batch);
        backend->Embed(*stream, *table, *batch, 1.0f, of(x));
        backend->RotaryFactors(*stream, *batch, *frequencies, 1.0f, of(factors));
        backend->NormLinear(*stream, of(x), nullptr, *gain, 1e-5f, *qkv_weight, of(qkv));
        backend->RotaryAppend(*stream, of(qkv), kShape, of(factors), *batch, 0, pool.get());
        backend->AttentionLinear(*stream, of(qkv), kShape, *batch, 0, *pool, *output,
                                 LinearEnd::kAdd, of(x));
        backend->GateLinear(*stream, of(qkv), Gate::kSilu, *down, LinearEnd::kAdd, of(x));
        backend->GateLinear(*stream, of(qkv), Gate::kGeluTanh, *down, LinearEnd::kSet, of(y));
        backend->AddNorm(*stream, of(y), *gain, 1e-5f, of(x));
        backend->SoftCap(*stream, 30.0f, of(x));
        backend->EndStep(*stream, true);
        EXPECT_EQ(Allocations() - before, 0) << Name(t) << ", " << rows << " rows";
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, WorkspaceTest, ::testing::ValuesIn(BackendCases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace catena
