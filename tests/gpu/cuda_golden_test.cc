// Golden checkpoints on the backend cuda in emulation: in float32 as exact as every backend, and
// with tensor cores as near as bfloat16 is.
#include <cmath>

#include <gtest/gtest.h>

#include "kernels/cuda/cuda_backend.h"
#include "model/file_limits.h"
#include "model/json.h"
#include "runtime/local/engine.h"
#include "tests/golden/greedy.h"
#include "tests/sanitized.h"
#include "tests/shared_data.h"

namespace catena {
namespace {

using nlohmann::json;

struct Golden {
  const char* model;
  Activations activations;
  DType kv;
  double tolerance;  // of logits; what transformers computed in float32
};

class CudaGoldenTest : public ::testing::TestWithParam<Golden> {};

// The logits of a prompt's positions, the largest ones, and the greedy ids after it, in two stages.
TEST_P(CudaGoldenTest, LogitsAndGreedyIdsMatchTransformers) {
  const Golden& golden = GetParam();
  const bool own = std::string_view(golden.model).starts_with("gemma");
  const std::string dir = own ? TestEnv("CATENA_SOURCE") + "/tests/golden/" + golden.model
                              : SharedPath(std::string("golden/") + golden.model);
  if (dir.empty()) GTEST_SKIP() << kNoSharedData;
  const auto checkpoint = *Checkpoint::Open(dir, {});
  const json expected = *ReadJsonFile(dir + "/expected.json", limits::kTokenizerJson);
  const auto engine = *Engine::Load(*checkpoint,
                                    {.kv_dtype = golden.kv,
                                     .layers = {{0, 1}, {1, checkpoint->config().n_layers}},
                                     .max_rows = 32},
                                    *NewCudaBackend({.activations = golden.activations}));
  const json& c = expected["cases"][kSanitized ? 0 : 1];
  const auto ids = c["prompt"].get<std::vector<int32_t>>();
  const SequenceId id =
      *engine->Open(ChooseRotaryTable(engine->config(), static_cast<int64_t>(ids.size())));
  const StageRows hidden = *engine->Forward({{id, 0, ids}});
  double worst = 0;
  for (int32_t r = 0; r < hidden.rows.rows; ++r) {
    const HostRows logits = engine->Logits(hidden, {r});
    for (const json& top : c["top"][r]) {
      worst =
          std::max<double>(worst, std::abs(logits.row(0)[top[0].get<int>()] - top[1].get<float>()));
    }
  }
  engine->Close(id);
  EXPECT_LT(worst, golden.tolerance);
  RecordProperty("worst", std::to_string(worst));
  if (!kSanitized) ExpectGreedy(c, golden.tolerance, engine.get());
}

INSTANTIATE_TEST_SUITE_P(
    Models, CudaGoldenTest,
    ::testing::Values(Golden{"llama-gqa-tied", Activations::kF32, DType::kF32, 1e-3},
                      Golden{"llama-gqa-tied", Activations::kBf16, DType::kF16, 0.05},
                      Golden{"phi3-longrope", Activations::kF32, DType::kF32, 1e-3},
                      Golden{"phi3-window", Activations::kF32, DType::kF32, 1e-3},
                      Golden{"gemma3-capped", Activations::kF32, DType::kF32, 1e-3},
                      Golden{"gemma3-local-global", Activations::kF32, DType::kF32, 1e-3},
                      Golden{"gemma2-alternating", Activations::kBf16, DType::kF16, 0.05},
                      Golden{"qwen3-qk-norm", Activations::kBf16, DType::kF16, 0.05}));

}  // namespace
}  // namespace catena
