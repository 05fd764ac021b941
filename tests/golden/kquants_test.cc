// The files of ../shared/kquants, small models in the mixed formats of the hub: in the float32 path
// the logits and greedy ids that transformers gives for their dequantised weights.
#include <cmath>
#include <filesystem>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/file_limits.h"
#include "runtime/local/engine.h"
#include "tests/golden/greedy.h"
#include "tests/golden/logits.h"
#include "tests/shared_data.h"

namespace catena {
namespace {

using nlohmann::json;

constexpr double kTolerance = 1e-3;

constexpr const char* kModels[] = {"llama-q2_k", "llama-q3_k_m", "llama-q4_k_m", "llama-q5_k_m",
                                   "llama-q6_k", "llama-q5_0",   "llama-iq4_xs", "phi3-q4_k_m"};

class KQuantsTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::string model = SharedPath(std::string("kquants/") + GetParam() + ".gguf");
    if (model.empty()) GTEST_SKIP() << kNoSharedData;
    checkpoint_ = *Checkpoint::Open(model, {});
    const std::string expected = SharedPath(std::string("kquants/") + GetParam() + ".json");
    expected_ = *ReadJsonFile(expected, limits::kTokenizerJson);
  }

  // How it is computed, which changes no bit but for the first two.
  struct How {
    Activations activations = Activations::kF32;
    DType kv_dtype = DType::kF32;
    std::vector<LayerRange> layers = {};
    int threads = 2;
  };
  std::unique_ptr<Engine> Load(const How& how) const {
    return *Engine::Load(*checkpoint_, {.threads = how.threads,
                                        .activations = how.activations,
                                        .kv_dtype = how.kv_dtype,
                                        .layers = how.layers,
                                        .max_rows = 128});
  }

  // Of all tokens of the cases, prompts and greedy, but the first of each.
  double Perplexity(Engine* engine) const;

  std::shared_ptr<const Checkpoint> checkpoint_;
  json expected_;
};

TEST_P(KQuantsTest, Float32LogitsAreThoseOfTheDequantisedWeights) {
  const auto engine = Load({});
  for (const json& c : expected_["cases"]) {
    EXPECT_LT(WorstDifference(c, engine.get()), kTolerance) << c["prompt"].size() << " tokens";
  }
}

TEST_P(KQuantsTest, Float32GreedyIdsAreThoseOfTheDequantisedWeights) {
  const auto engine = Load({});
  for (const json& c : expected_["cases"]) ExpectGreedy(c, kTolerance, engine.get());
}

double KQuantsTest::Perplexity(Engine* engine) const {
  double loss = 0;
  int tokens = 0;
  for (const json& c : expected_["cases"]) {
    auto ids = c["prompt"].get<std::vector<int32_t>>();
    for (const json& id : c["greedy"]) ids.push_back(id.get<int32_t>());
    const auto logits = LogitsOf(engine, ids);
    for (size_t i = 1; i < ids.size(); ++i, ++tokens) {
      loss += LogSumExp(logits[i - 1]) - static_cast<double>(logits[i - 1][ids[i]]);
    }
  }
  return std::exp(loss / tokens);
}

TEST_P(KQuantsTest, Int8ActivationsLeavePerplexityWithinHalfAPercent) {
  const double exact = Perplexity(Load({}).get());
  const auto engine = Load({.activations = Activations::kInt8, .kv_dtype = DType::kF16});
  EXPECT_NEAR(Perplexity(engine.get()) / exact, 1.0, 0.005);
}

TEST_P(KQuantsTest, Int8LogitsAreTheSameBitsOverCutsChunksAndThreads) {
  const How int8 = {.activations = Activations::kInt8, .kv_dtype = DType::kF16};
  const auto ids = expected_["cases"][3]["prompt"].get<std::vector<int32_t>>();
  ASSERT_EQ(ids.size(), 70u);
  const auto whole = LogitsOf(Load(int8).get(), ids);
  for (const std::vector<LayerRange>& cut : std::vector<std::vector<LayerRange>>{
           {{0, 4}}, {{0, 1}, {1, 4}}, {{0, 1}, {1, 2}, {2, 3}, {3, 4}}}) {
    for (const int threads : {1, 3}) {
      How how = int8;
      how.layers = cut;
      how.threads = threads;
      const auto engine = Load(how);
      for (const size_t chunk : {1u, 7u, 40u}) {
        EXPECT_EQ(LogitsOf(engine.get(), ids, chunk), whole)
            << cut.size() << " stages, " << threads << " threads, chunks of " << chunk;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, KQuantsTest, ::testing::ValuesIn(kModels), [](const auto& info) {
  std::string name = info.param;
  for (char& c : name) c = c == '-' ? '_' : c;
  return name;
});

// A file that is not compared would be forgotten.
TEST(KQuants, EveryFileOfTheFolderIsKnown) {
  const std::string dir = SharedPath("kquants");
  if (dir.empty()) GTEST_SKIP() << kNoSharedData;
  std::set<std::string> present;
  for (const auto& entry : std::filesystem::directory_iterator(dir)) {
    if (entry.path().extension() == ".gguf") present.insert(entry.path().stem().string());
  }
  EXPECT_EQ(present, std::set<std::string>(std::begin(kModels), std::end(kModels)));
}

}  // namespace
}  // namespace catena
