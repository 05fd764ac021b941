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

// Logits of every position, computed `chunk` positions at a time.
std::vector<std::vector<float>> Logits(Engine* engine, const std::vector<int32_t>& ids,
                                       size_t chunk = 128) {
  const auto n = static_cast<int64_t>(ids.size());
  const SequenceId id = *engine->Open(ChooseRotaryTable(engine->config(), n));
  std::vector<std::vector<float>> out;
  for (size_t at = 0; at < ids.size(); at += chunk) {
    const auto part = absl::Span<const int32_t>(ids).subspan(at, chunk);
    const StageRows hidden = *engine->Forward({{id, static_cast<int64_t>(at), part}});
    for (int32_t r = 0; r < hidden.rows.rows; ++r) {
      const HostRows logits = engine->Logits(hidden, {r});
      out.emplace_back(logits.row(0), logits.row(0) + logits.cols);
    }
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
  const auto engine = Load({});
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
  const auto engine = Load({});
  for (const json& c : expected_["cases"]) ExpectGreedy(c, kTolerance, engine.get());
}

double KQuantsTest::Perplexity(Engine* engine) const {
  double loss = 0;
  int tokens = 0;
  for (const json& c : expected_["cases"]) {
    auto ids = c["prompt"].get<std::vector<int32_t>>();
    for (const json& id : c["greedy"]) ids.push_back(id.get<int32_t>());
    const auto logits = Logits(engine, ids);
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
  const auto whole = Logits(Load(int8).get(), ids);
  for (const std::vector<LayerRange>& cut : std::vector<std::vector<LayerRange>>{
           {{0, 4}}, {{0, 1}, {1, 4}}, {{0, 1}, {1, 2}, {2, 3}, {3, 4}}}) {
    for (const int threads : {1, 3}) {
      How how = int8;
      how.layers = cut;
      how.threads = threads;
      const auto engine = Load(how);
      for (const size_t chunk : {1u, 7u, 40u}) {
        EXPECT_EQ(Logits(engine.get(), ids, chunk), whole)
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
