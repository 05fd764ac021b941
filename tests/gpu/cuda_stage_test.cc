// Stages and a head on the backend cuda in emulation: what comes of its memory, and of sampling
// from the largest logits alone.
#include <set>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/cuda/cuda_backend.h"
#include "model/sampler/sampler.h"
#include "runtime/local/engine.h"
#include "tests/gpu/emulate/machine.h"
#include "tests/runtime/tiny_checkpoint.h"

namespace catena {
namespace {

using ::testing::HasSubstr;

absl::Status LoadStatus(const Checkpoint& checkpoint, Backend* backend, LayerRange layers) {
  return Stage::Load(checkpoint,
                     {.layers = layers, .max_rows = 16, .max_positions = 128, .kv_pages = 4},
                     backend)
      .status();
}

// Over all sizes of memory from too small to large enough: where it says that some blocks have
// room, so many load.
TEST(CudaStage, TooLittleMemoryIsSaidWithHowManyBlocksHaveRoom) {
  const auto checkpoint = TinyCheckpoint(kTinyPhi3, DType::kF32);
  const int n_layers = checkpoint->config().n_layers;
  emulate::Options& options = emulate::GlobalOptions();
  const size_t whole = std::exchange(options.memory, 0);
  const auto backend = *NewCudaBackend({.activations = Activations::kF32});
  std::set<int> said;
  for (absl::Status status = absl::UnknownError(""); !status.ok();) {
    options.memory += 48 << 10;
    status = LoadStatus(*checkpoint, backend.get(), {0, n_layers});
    if (status.ok()) break;
    ASSERT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
    const std::string message(status.message());
    ASSERT_THAT(message, HasSubstr("the GPU lacks memory: "));
    const size_t at = message.find("it has room for ");
    if (at == std::string::npos) continue;  // not even for one
    const int room = message[at + 16] - '0';
    EXPECT_THAT(message, HasSubstr(fmt::format("{} of these {} blocks", room, n_layers)));
    said.insert(room);
    EXPECT_TRUE(LoadStatus(*checkpoint, backend.get(), {0, room}).ok()) << message;
  }
  options.memory = whole;
  EXPECT_THAT(said, ::testing::ElementsAre(1, 2, 3));
}

TEST(CudaStage, TokensAreThoseOfTheWholeRows) {
  const auto checkpoint = TinyCheckpoint(kTinyLlama, DType::kBF16);
  const auto engine =
      *Engine::Load(*checkpoint, {.layers = {}, .max_rows = 16, .max_positions = 128},
                    *NewCudaBackend({.activations = Activations::kBf16}));
  const SamplingParams how[] = {{},
                                {.temperature = 1.5, .top_k = 40, .seed = 3},
                                {.temperature = 0.7, .top_p = 0.8, .seed = 4},
                                {.repetition_penalty = 1.3}};
  SamplerScratch scratch;
  for (const SamplingParams& params : how) {
    const Sampler sampler = *Sampler::Make(params, kTinyVocab);
    const SequenceId id = *engine->Open(0);
    TokenHistory history(3);
    std::vector<int32_t> ids = {5, 9, 17};
    for (int step = 0; step < 6; ++step) {
      const int64_t first = history.size();
      history.Append(ids);
      const StageRows hidden = *engine->Forward({{id, first, ids}});
      const std::vector<int32_t> last = {static_cast<int32_t>(ids.size()) - 1};
      LogitSource& logits = engine->LogitsToSample(hidden, last);
      ASSERT_NE(logits.Top(0), nullptr);
      const int32_t token = sampler.Sample(logits, 0, history, 0, &scratch)->id;
      const HostRows all = engine->Logits(hidden, last);
      const absl::Span<const float> row(all.row(0), static_cast<size_t>(all.cols));
      EXPECT_EQ(token, sampler.Sample(row, history, 0, &scratch)->id) << step;
      ids = {token};
    }
    engine->Close(id);
  }
}

}  // namespace
}  // namespace catena
