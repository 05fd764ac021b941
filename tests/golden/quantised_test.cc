// The folders of quantised/, small models in the quantised layouts of the hub: in the float32 path
// the logits and greedy ids that transformers gives for their dequantised weights
// (make_quantised.py).
#include <cstdlib>
#include <filesystem>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/file_limits.h"
#include "model/fingerprint.h"
#include "runtime/local/engine.h"
#include "tests/golden/greedy.h"
#include "tests/golden/logits.h"

namespace catena {
namespace {

using nlohmann::json;

constexpr double kTolerance = 1e-3;

struct QuantisedCase {
  const char* model;
  DType held;           // of all matrices of its blocks
  double rounding = 0;  // logits of values that are not rounded are no further away than this
};

constexpr QuantisedCase kCases[] = {{"awq", DType::kQ5_0},
                                    {"gptq-4-sym", DType::kQ4_0},
                                    {"gptq-4-asym", DType::kQ5_0},
                                    {"gptq-8-sym", DType::kQ8_0},
                                    {"gptq-8-asym", DType::kF16, 0.01},
                                    {"packed-4-sym", DType::kQ4_0},
                                    {"packed-4-asym", DType::kQ5_0},
                                    {"packed-8-sym", DType::kQ8_0},
                                    {"int8-channel", DType::kQ8_0},
                                    {"fp8-channel", DType::kBF16, 0.05},
                                    {"fp8-block", DType::kBF16, 0.05}};

std::string Folder(const std::string& model) {
  return std::string(std::getenv("CATENA_SOURCE")) + "/tests/golden/quantised/" + model;
}

class QuantisedTest : public ::testing::TestWithParam<QuantisedCase> {
 protected:
  void SetUp() override {
    const auto opened = Checkpoint::Open(Folder(GetParam().model), {});
    ASSERT_TRUE(opened.ok()) << opened.status();
    checkpoint_ = *opened;
    expected_ = *ReadJsonFile(Folder(GetParam().model) + "/expected.json", limits::kTokenizerJson);
  }

  std::unique_ptr<Engine> Load(Activations activations, std::vector<LayerRange> layers) const {
    return *Engine::Load(*checkpoint_, {.threads = 2,
                                        .activations = activations,
                                        .kv_dtype = DType::kF32,
                                        .layers = std::move(layers),
                                        .max_rows = 128});
  }

  std::shared_ptr<const Checkpoint> checkpoint_;
  json expected_;
};

TEST_P(QuantisedTest, MatricesAreHeldInTheFormatOfTheirValues) {
  for (int layer = 0; layer < checkpoint_->config().n_layers; ++layer) {
    const auto block = checkpoint_->Block(layer);
    ASSERT_TRUE(block.ok()) << block.status();
    std::vector<TensorView> matrices = block->qkv;
    matrices.insert(matrices.end(), block->gate_up.begin(), block->gate_up.end());
    matrices.insert(matrices.end(), {block->output, block->down});
    for (const TensorView& t : matrices) EXPECT_EQ(Name(t.dtype), Name(GetParam().held)) << t.name;
  }
}

TEST_P(QuantisedTest, Float32LogitsAndGreedyIdsAreThoseOfTheDequantisedWeights) {
  const auto engine = Load(Activations::kF32, {});
  for (const json& c : expected_["cases"]) {
    EXPECT_LT(WorstDifference(c, engine.get()), kTolerance) << c["prompt"].size() << " tokens";
    ExpectGreedy(c, kTolerance, engine.get());
  }
}

// What rounding costs, where there is any: not nothing, and little.
TEST_P(QuantisedTest, RoundingMovesLogitsByLittle) {
  ASSERT_EQ(expected_.contains("exact"), GetParam().rounding > 0);
  if (GetParam().rounding == 0) return;
  const auto engine = Load(Activations::kF32, {});
  double worst = 0;
  for (const json& c : expected_["exact"])
    worst = std::max(worst, WorstDifference(c, engine.get()));
  EXPECT_LT(worst, GetParam().rounding);
  EXPECT_GT(worst, GetParam().rounding / 20);
}

TEST_P(QuantisedTest, StagesLoadTheSameBits) {
  for (const Activations activations : {Activations::kF32, Activations::kInt8}) {
    const auto ids = expected_["cases"][1]["prompt"].get<std::vector<int32_t>>();
    const auto whole = LogitsOf(Load(activations, {}).get(), ids);
    EXPECT_EQ(LogitsOf(Load(activations, {{0, 1}, {1, 3}}).get(), ids), whole);
    EXPECT_EQ(LogitsOf(Load(activations, {{0, 1}, {1, 2}, {2, 3}}).get(), ids), whole);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, QuantisedTest, ::testing::ValuesIn(kCases), [](const auto& info) {
  std::string name = info.param.model;
  for (char& c : name) c = c == '-' ? '_' : c;
  return name;
});

// A folder that is not compared would be forgotten; and each is another model.
TEST(Quantised, EveryFolderIsKnownAndHasAFingerprintOfItsOwn) {
  std::set<std::string> present, known, fingerprints;
  for (const auto& entry : std::filesystem::directory_iterator(Folder(""))) {
    present.insert(entry.path().filename().string());
  }
  for (const QuantisedCase& c : kCases) {
    known.insert(c.model);
    fingerprints.insert(*Fingerprint(**Checkpoint::Open(Folder(c.model), {}), {}));
  }
  EXPECT_EQ(present, known);
  EXPECT_EQ(fingerprints.size(), known.size());
}

}  // namespace
}  // namespace catena
