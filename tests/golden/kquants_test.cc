// The files of ../shared/kquants, small models in the mixed formats of the hub: in the float32 path
// the logits and greedy ids that transformers gives for their dequantised weights.
#include <cmath>
#include <filesystem>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/file_limits.h"
#include "runtime/local/engine.h"
#include "runtime/local/generate.h"
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

  std::unique_ptr<Engine> Load(Activations activations, DType kv_dtype) const {
    return *Engine::Load(
        *checkpoint_,
        {.threads = 2, .activations = activations, .kv_dtype = kv_dtype, .layers = {}});
  }

  std::shared_ptr<const Checkpoint> checkpoint_;
  json expected_;
};

// Logits of every position.
std::vector<std::vector<float>> Logits(Engine* engine, const std::vector<int32_t>& ids) {
  const auto n = static_cast<int64_t>(ids.size());
  const SequenceId id = *engine->Open(ChooseRotaryTable(engine->config(), n));
  const StageRows hidden = *engine->Forward({{id, 0, ids}});
  std::vector<std::vector<float>> out;
  for (int32_t r = 0; r < hidden.rows.rows; ++r) {
    const HostRows logits = engine->Logits(hidden, {r});
    out.emplace_back(logits.row(0), logits.row(0) + logits.cols);
  }
  engine->Close(id);
  return out;
}

double LogSumExp(const std::vector<float>& logits) {
  double sum = 0;
  for (const float l : logits) sum += std::exp(static_cast<double>(l));
  return std::log(sum);
}

TEST_P(KQuantsTest, Float32LogitsAreThoseOfTheDequantisedWeights) {
  const auto engine = Load(Activations::kF32, DType::kF32);
  for (const json& c : expected_["cases"]) {
    const auto logits = Logits(engine.get(), c["prompt"].get<std::vector<int32_t>>());
    double worst = 0;
    for (size_t p = 0; p < logits.size(); ++p) {
      worst = std::max(worst, std::abs(LogSumExp(logits[p]) - c["logsumexp"][p].get<double>()));
      for (const json& top : c["top"][p]) {
        const double l = logits[p][top[0].get<int>()];
        worst = std::max(worst, std::abs(l - top[1].get<double>()));
      }
    }
    EXPECT_LT(worst, kTolerance) << logits.size() << " tokens";
  }
}

TEST_P(KQuantsTest, Float32GreedyIdsAreThoseOfTheDequantisedWeights) {
  const auto engine = Load(Activations::kF32, DType::kF32);
  for (const json& c : expected_["cases"]) {
    const auto expected = c["greedy"].get<std::vector<int32_t>>();
    SamplingParams params;
    params.max_tokens = static_cast<int32_t>(expected.size());
    params.ignore_eos = true;
    const Sampler sampler = *Sampler::Make(params, engine->config().vocab_size);
    std::vector<int32_t> ids;
    const GenerateRequest request{.prompt = c["prompt"].get<std::vector<int32_t>>(),
                                  .sampler = &sampler,
                                  .on_token = [&](const TokenEvent& e) {
                                    ids.push_back(e.token.id);
                                    return true;
                                  }};
    ASSERT_TRUE(Generate(request, engine.get()).ok());
    ASSERT_EQ(ids.size(), expected.size());
    for (size_t i = 0; i < ids.size(); ++i) {
      if (c["greedy_margin"][i].get<double>() < kTolerance) break;
      ASSERT_EQ(ids[i], expected[i]) << "step " << i;
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
