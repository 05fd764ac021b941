// The checkpoints of ../shared/golden, of golden/ here and stories260k-phi3: logits, log-sums,
// hidden states and greedy ids of transformers in float32, against the float32 path, for one stage,
// two uneven ones and a stage a block, on every backend and one whose memory the host cannot touch.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/base/dequantise.h"
#include "model/file_limits.h"
#include "model/quantise/write_gguf.h"
#include "runtime/local/engine.h"
#include "tests/golden/greedy.h"
#include "tests/kernels/far_backend.h"
#include "tests/model/gguf_writer.h"
#include "tests/sanitized.h"
#include "tests/shared_data.h"
#include "tests/temp_dir.h"

namespace catena {
namespace {

using nlohmann::json;

constexpr double kTolerance = 1e-3;

struct GoldenCase {
  std::string model;
  std::string backend;
};

std::unique_ptr<Backend> MakeBackend(const std::string& name) {
  const BackendOptions options{.threads = 2, .activations = Activations::kF32};
  if (name == "far") return testing_kernels::NewFarBackend(*NewBackend("auto", options));
  return *NewBackend(name, options);
}

std::vector<LayerRange> Cut(int n_layers, int stages) {
  if (stages == 1) return {{0, n_layers}};
  if (stages == 2) return {{0, 1}, {1, n_layers}};
  std::vector<LayerRange> ranges;
  for (int i = 0; i < n_layers; ++i) ranges.push_back({i, i + 1});
  return ranges;
}

// Of make_golden.py.
constexpr const char* kOwn[] = {"smollm3-nope",        "llama-dynamic", "granite-multipliers",
                                "gemma3-local-global", "gemma3-capped", "gemma2-alternating"};

std::string FolderOf(const std::string& model) {
  if (std::count(std::begin(kOwn), std::end(kOwn), model) == 0) {
    return SharedPath("golden/" + model);
  }
  return std::string(std::getenv("CATENA_SOURCE")) + "/tests/golden/" + model;
}

class GoldenTest : public ::testing::TestWithParam<GoldenCase> {
 protected:
  void Load(int stages) {
    const std::string dir = FolderOf(GetParam().model);
    if (dir.empty()) GTEST_SKIP() << kNoSharedData;
    checkpoint_ = *Checkpoint::Open(ModelPath(dir), {});
    expected_ = *ReadJsonFile(dir + "/expected.json", limits::kTokenizerJson);
    engine_ = *Engine::Load(*checkpoint_,
                            {.kv_dtype = DType::kF32,
                             .layers = Cut(checkpoint_->config().n_layers, stages),
                             .max_rows = 32},  // so that prompts come in chunks
                            MakeBackend(GetParam().backend));
  }

  // What is opened of a golden's folder.
  virtual std::string ModelPath(const std::string& dir) { return dir; }

  // Logits of every position.
  std::vector<std::vector<float>> Logits(const std::vector<int32_t>& ids) {
    const SequenceId id =
        *engine_->Open(ChooseRotaryTable(engine_->config(), static_cast<int64_t>(ids.size())));
    std::vector<std::vector<float>> out;
    for (size_t at = 0; at < ids.size(); at += 32) {
      const auto chunk = absl::Span<const int32_t>(ids).subspan(at, 32);
      const StageRows hidden = *engine_->Forward({{id, static_cast<int64_t>(at), chunk}});
      for (int32_t r = 0; r < hidden.rows.rows; ++r) {
        const HostRows logits = engine_->Logits(hidden, {r});
        out.emplace_back(logits.row(0), logits.row(0) + logits.cols);
      }
    }
    engine_->Close(id);
    return out;
  }

  void CheckLogits(const json& c) {
    const auto logits = Logits(c["prompt"].get<std::vector<int32_t>>());
    double worst = 0;
    for (size_t p = 0; p < logits.size(); ++p) {
      double sum = 0;
      for (float l : logits[p]) sum += std::exp(static_cast<double>(l));
      worst = std::max(worst, std::abs(std::log(sum) - c["logsumexp"][p].get<double>()));
      for (const json& top : c["top"][p]) {
        worst =
            std::max<double>(worst, std::abs(logits[p][top[0].get<int>()] - top[1].get<float>()));
      }
      if (!c.contains("logits")) continue;
      for (size_t i = 0; i < logits[p].size(); ++i) {
        worst = std::max<double>(worst, std::abs(logits[p][i] - c["logits"][p][i].get<float>()));
      }
    }
    EXPECT_LT(worst, kTolerance) << c["prompt"].size() << " tokens";
  }

  // hidden[k]: the first values of the last position's residual stream after k blocks.
  void CheckHidden(const json& c) {
    const auto ids = c["prompt"].get<std::vector<int32_t>>();
    const auto backend = MakeBackend(GetParam().backend);
    for (int k = 1; k < checkpoint_->config().n_layers; ++k) {
      auto stage = *Stage::Load(*checkpoint_,
                                {.layers = {0, k},
                                 .max_rows = static_cast<int>(ids.size()),
                                 .max_positions = static_cast<int64_t>(ids.size()),
                                 .kv_pages = 2,
                                 .kv_dtype = DType::kF32},
                                backend.get());
      const auto tokens = static_cast<int64_t>(ids.size());
      ASSERT_TRUE(stage->Open(1, ChooseRotaryTable(checkpoint_->config(), tokens)).ok());
      ASSERT_TRUE(stage->cache().Reserve(1, tokens).ok());
      ASSERT_TRUE(stage->Start({{1, 0, ids}}, {}).ok());
      const HostRows hidden = stage->Finish();
      const float* last = hidden.row(hidden.rows - 1);
      for (size_t i = 0; i < c["hidden"][k].size(); ++i) {
        const double x = last[i] * checkpoint_->config().residual_multiplier;  // EmbeddingScale
        EXPECT_NEAR(x, c["hidden"][k][i].get<double>(), kTolerance) << k << " blocks";
      }
    }
  }

  json Cases() const { return less_ ? json::array({expected_["cases"][0]}) : expected_["cases"]; }

  // Under a sanitizer the backends that are only there to be compared run one cut and one case: the
  // others take the same ways through the code.
  const bool less_ = kSanitized && GetParam().backend != "cpu";
  std::shared_ptr<const Checkpoint> checkpoint_;
  json expected_;
  std::unique_ptr<Engine> engine_;
};

TEST_P(GoldenTest, LogitsAndGreedyIdsMatchTransformers) {
  for (int stages : less_ ? std::vector<int>{2} : std::vector<int>{1, 2, 100}) {
    Load(stages);
    if (IsSkipped()) return;
    for (const json& c : Cases()) {
      CheckLogits(c);
      ExpectGreedy(c, kTolerance, engine_.get());
    }
  }
}

TEST_P(GoldenTest, HiddenStatesMatchTransformers) {
  Load(1);
  if (IsSkipped()) return;
  for (const json& c : Cases()) CheckHidden(c);
}

constexpr const char* kSupported[] = {
    "phi3-mini-shape", "phi3-window",    "phi3-longrope", "phi4-mini-shape", "llama-gqa-tied",
    "llama3-rope",     "mistral-window", "llama3-yarn",   "qwen2-bias-tied", "qwen3-qk-norm"};

// The golden's weights in a GGUF file, under the names that llama.cpp's converter gives them.
class GgufGoldenTest : public GoldenTest {
 protected:
  std::string ModelPath(const std::string& dir) override {
    const auto folder = *Checkpoint::Open(dir, {});
    const ModelConfig& c = folder->config();
    const bool gemma = c.architecture.starts_with("gemma");
    const std::string architecture = c.architecture == "gemma3_text" ? "gemma3" : c.architecture;
    const auto key = [&](const char* name) { return architecture + "." + name; };
    GgufWriter w;
    w.AddString("general.architecture", architecture);
    w.AddU32(key("context_length"), c.context_length);
    w.AddU32(key("embedding_length"), c.hidden_size);
    w.AddU32(key("block_count"), c.n_layers);
    w.AddU32(key("feed_forward_length"), c.intermediate_size);
    w.AddU32(key("attention.head_count"), c.n_heads);
    w.AddU32(key("attention.head_count_kv"), c.n_kv_heads);
    w.AddU32(key("attention.key_length"), c.head_dim);
    w.AddU32(key("attention.value_length"), c.head_dim);
    w.AddF32(key("attention.layer_norm_rms_epsilon"), static_cast<float>(c.rms_norm_eps));
    w.AddF32(key("rope.freq_base"), static_cast<float>(c.rope_theta));
    if (c.architecture == "granite") {
      w.AddF32(key("attention.scale"), static_cast<float>(*c.attention_scale));
      w.AddF32(key("embedding_scale"), static_cast<float>(c.embedding_multiplier));
      w.AddF32(key("residual_scale"), static_cast<float>(c.residual_multiplier));
      w.AddF32(key("logit_scale"), static_cast<float>(c.logits_divisor));
    }
    if (gemma) w.AddU32(key("attention.sliding_window"), c.sliding_window);
    if (c.attention_softcap > 0) {
      w.AddF32(key("attn_logit_softcapping"), static_cast<float>(c.attention_softcap));
      w.AddF32(key("final_logit_softcapping"), static_cast<float>(c.logits_softcap));
    }
    if (c.rope_scaling.kind == RopeScaling::Kind::kLinear) {
      w.AddString(key("rope.scaling.type"), "linear");
      w.AddF32(key("rope.scaling.factor"), static_cast<float>(c.rope_scaling.factor));
    }
    for (const std::string& name : folder->tensors().Names()) {
      const TensorView t = *folder->tensors().Find(name);
      if (gemma && t.rows == 1) {
        w.AddTensor(InGguf(name, gemma), {t.cols}, GgufWriter::TypeNumber(DType::kF32), PlusOne(t));
        continue;
      }
      std::vector<int64_t> dims = {t.cols};
      if (t.rows > 1) dims.push_back(t.rows);
      std::string bytes(reinterpret_cast<const char*>(t.bytes.data()), t.bytes.size());
      const bool qk = name.ends_with("q_proj.weight") || name.ends_with("k_proj.weight");
      const bool paired = c.architecture == "smollm3" || c.architecture == "granite";
      if (qk && paired) bytes = Permuted(t, c.head_dim);
      w.AddTensor(InGguf(name, gemma), dims, GgufWriter::TypeNumber(t.dtype), bytes);
    }
    return dir_.Write("model.gguf", w.Bytes());
  }

  // The rows of each head as rotary pairs, as llama.cpp's converter has them.
  static std::string Permuted(const TensorView& t, int head_dim) {
    const int64_t row_bytes = RowBytes(t.dtype, t.cols);
    std::string out;
    for (int64_t r = 0; r < t.rows; ++r) {
      const int64_t i = r % head_dim, from = r - i + i % 2 * (head_dim / 2) + i / 2;
      out.append(reinterpret_cast<const char*>(t.bytes.data()) + from * row_bytes, row_bytes);
    }
    return out;
  }

  // The gains of a norm that are stored less 1, as float32.
  static std::string PlusOne(const TensorView& t) {
    std::vector<float> gains(t.cols);
    WidenRow(t.dtype, t.bytes.data(), t.cols, gains.data());
    for (float& gain : gains) gain += 1.0f;
    return {reinterpret_cast<const char*>(gains.data()), gains.size() * sizeof(float)};
  }

  // `gemma`: the norm behind attention is one more, and that before the MLP has another name.
  static std::string InGguf(std::string name, bool gemma) {
    const std::string_view behind = gemma ? "post_attention_norm" : "ffn_norm";
    const std::pair<std::string_view, std::string_view> kParts[] = {
        {"model.embed_tokens", "token_embd"},
        {"model.norm", "output_norm"},
        {"lm_head", "output"},
        {"model.layers", "blk"},
        {"input_layernorm", "attn_norm"},
        {"post_attention_layernorm", behind},
        {"pre_feedforward_layernorm", "ffn_norm"},
        {"post_feedforward_layernorm", "post_ffw_norm"},
        {"self_attn.q_proj", "attn_q"},
        {"self_attn.k_proj", "attn_k"},
        {"self_attn.v_proj", "attn_v"},
        {"self_attn.o_proj", "attn_output"},
        {"self_attn.q_norm", "attn_q_norm"},
        {"self_attn.k_norm", "attn_k_norm"},
        {"mlp.gate_proj", "ffn_gate"},
        {"mlp.up_proj", "ffn_up"},
        {"mlp.down_proj", "ffn_down"}};
    for (const auto& [hf, gguf] : kParts) {
      if (const size_t at = name.find(hf); at != name.npos) name.replace(at, hf.size(), gguf);
    }
    return name;
  }

  TempDir dir_;
};

TEST_P(GgufGoldenTest, LogitsAndGreedyIdsMatchTransformers) {
  Load(2);
  if (IsSkipped()) return;
  for (const json& c : Cases()) {
    CheckLogits(c);
    ExpectGreedy(c, kTolerance, engine_.get());
  }
}

// The golden as the GGUF file that `catena quantise` writes of it in float32.
class WrittenGoldenTest : public GoldenTest {
 protected:
  std::string ModelPath(const std::string& dir) override {
    const auto folder = *Checkpoint::Open(dir, {});
    const auto plan = PlanQuantise(*folder, *FindQuantiseFormat("f32"));
    EXPECT_TRUE(plan.ok()) << plan.status();
    const auto file = *NewFile::Create(dir_.path() + "/written.gguf", false);
    ThreadPool pool(2);
    const auto progress = [](double) { return absl::OkStatus(); };
    EXPECT_TRUE(WriteGguf(*plan, folder->tensors(), &pool, progress, file.get()).ok());
    EXPECT_TRUE(file->Keep().ok());
    return dir_.path() + "/written.gguf";
  }

  TempDir dir_;
};

TEST_P(WrittenGoldenTest, LogitsAndGreedyIdsMatchTransformers) {
  Load(2);
  if (IsSkipped()) return;
  for (const json& c : Cases()) {
    CheckLogits(c);
    ExpectGreedy(c, kTolerance, engine_.get());
  }
}

// A checkpoint that is not compared would be forgotten.
TEST(Golden, EveryModelOfTheFolderIsKnown) {
  const std::string dir = SharedPath("golden");
  if (dir.empty()) GTEST_SKIP() << kNoSharedData;
  const std::set<std::string> known(std::begin(kSupported), std::end(kSupported));
  std::set<std::string> present;
  for (const auto& entry : std::filesystem::directory_iterator(dir)) {
    if (entry.is_directory()) present.insert(entry.path().filename().string());
  }
  EXPECT_EQ(present, known);
}

std::string CaseName(const ::testing::TestParamInfo<GoldenCase>& info) {
  std::string name = info.param.model + "_" + info.param.backend;
  for (char& c : name) c = c == '-' ? '_' : c;
  return name;
}

// All but what GGUF cannot say.
std::vector<GoldenCase> WrittenCases() {
  std::vector<GoldenCase> cases;
  for (const char* model : kSupported) cases.push_back({model, "cpu"});
  for (const char* model : kOwn) cases.push_back({model, "cpu"});
  std::erase_if(cases, [](const GoldenCase& c) {
    return c.model == "mistral-window" || c.model == "gemma3-capped";
  });
  return cases;
}

std::vector<GoldenCase> AllCases() {
  std::vector<GoldenCase> cases;
  std::vector<const char*> models(std::begin(kSupported), std::end(kSupported));
  models.insert(models.end(), std::begin(kOwn), std::end(kOwn));
  for (const char* model : models) {
    for (const char* backend : {"cpu", "far", "ref"}) {
      // The reference takes minutes over a vocabulary of 32064; it equals cpu bit by bit anyway.
      if (std::string(model) == "phi3-mini-shape" && std::string(backend) == "ref") continue;
      cases.push_back({model, backend});
    }
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenTest, ::testing::ValuesIn(AllCases()), CaseName);
INSTANTIATE_TEST_SUITE_P(Models, GgufGoldenTest,
                         ::testing::Values(GoldenCase{"qwen2-bias-tied", "cpu"},
                                           GoldenCase{"qwen3-qk-norm", "cpu"},
                                           GoldenCase{"smollm3-nope", "cpu"},
                                           GoldenCase{"granite-multipliers", "cpu"},
                                           GoldenCase{"gemma3-local-global", "cpu"},
                                           GoldenCase{"gemma2-alternating", "cpu"}),
                         CaseName);

INSTANTIATE_TEST_SUITE_P(Models, WrittenGoldenTest, ::testing::ValuesIn(WrittenCases()), CaseName);

TEST(Golden, AWindowThatGgufCannotSayIsRefused) {
  for (const char* model : {"gemma3-capped", "mistral-window"}) {
    const std::string dir = FolderOf(model);
    if (dir.empty()) GTEST_SKIP() << kNoSharedData;
    const auto plan = PlanQuantise(**Checkpoint::Open(dir, {}), *FindQuantiseFormat("f16"));
    EXPECT_EQ(plan.status().code(), absl::StatusCode::kInvalidArgument) << model;
    EXPECT_THAT(std::string(Message(plan.status())), ::testing::HasSubstr("sliding window"));
  }
}

TEST(Stories, GreedyIdsAreExact) {
  const std::string dir = SharedPath("stories260k-phi3");
  if (dir.empty()) GTEST_SKIP() << kNoSharedData;
  const json golden = *ReadJsonFile(dir + "/golden.json", limits::kTokenizerJson);
  const auto checkpoint = *Checkpoint::Open(dir, {});
  const auto expected = golden["greedy_ids"].get<std::vector<int32_t>>();
  SamplingParams params;
  params.max_tokens = static_cast<int32_t>(expected.size());
  const Sampler sampler = *Sampler::Make(params, checkpoint->config().vocab_size);
  for (int stages : {1, 2, 100}) {
    auto engine =
        *Engine::Load(*checkpoint, {.threads = 2,
                                    .activations = Activations::kF32,
                                    .kv_dtype = DType::kF32,
                                    .layers = Cut(checkpoint->config().n_layers, stages)});
    std::vector<int32_t> ids;
    const GenerateRequest request{.prompt = golden["prompt_ids"].get<std::vector<int32_t>>(),
                                  .sampler = &sampler,
                                  .on_token = [&](const TokenEvent& e) {
                                    ids.push_back(e.token.id);
                                    return true;
                                  }};
    ASSERT_TRUE(Generate(request, engine.get()).ok());
    EXPECT_EQ(ids, expected);
  }
}

}  // namespace
}  // namespace catena
