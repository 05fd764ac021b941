// What Gemma's configs say.
#include <algorithm>
#include <cmath>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/model/read_config.h"

namespace catena {
namespace {

using ::testing::ElementsAre;

// As the hub has them: rotary settings as before transformers 5.
constexpr char kGemma3[] = R"({
  "model_type": "gemma3_text", "vocab_size": 512, "hidden_size": 96, "intermediate_size": 256,
  "num_hidden_layers": 7, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 32,
  "max_position_embeddings": 256, "sliding_window": 16, "sliding_window_pattern": 3,
  "rope_theta": 50000.0, "rope_local_base_freq": 5000.0, "query_pre_attn_scalar": 16,
  "rope_scaling": {"rope_type": "linear", "factor": 8.0}})";
constexpr char kGemma2[] = R"({
  "model_type": "gemma2", "vocab_size": 512, "hidden_size": 96, "intermediate_size": 256,
  "num_hidden_layers": 3, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 32,
  "max_position_embeddings": 8192, "hidden_act": "gelu_pytorch_tanh"})";

TEST(Gemma3Json, HasLocalAndGlobalBlocks) {
  const ModelConfig c = MustRead(kGemma3, "{}");
  EXPECT_EQ(c.architecture, "gemma3_text");
  EXPECT_EQ(c.embedding_multiplier, std::sqrt(96.0));
  EXPECT_EQ(c.attention_scale, 0.25);
  EXPECT_EQ(c.gate, Gate::kGeluTanh);
  EXPECT_TRUE(c.qk_norm && c.post_norms && c.tied_embeddings);
  EXPECT_EQ(c.attention_softcap, 0);
  EXPECT_EQ(c.logits_softcap, 0);
  EXPECT_THAT(c.global, ElementsAre(false, false, true, false, false, true, false));
  EXPECT_EQ(c.window(1), 16);
  EXPECT_EQ(c.window(2), 0);
  EXPECT_EQ(c.cache_window(), 0);  // global blocks need every position
  EXPECT_EQ(c.rope_theta, 50000);
  EXPECT_EQ(c.rope_scaling.factor, 8);
  EXPECT_EQ(c.local_rope_theta, 5000);
  EXPECT_THAT(c.eos_ids, ElementsAre(1));
  EXPECT_EQ(c.bos_id, 2);
}

TEST(Gemma3Json, ReadsWhatNewerFilesSay) {
  const ModelConfig c = MustRead(kGemma3, R"({"rope_scaling": null, "sliding_window_pattern": null,
      "rope_theta": null, "rope_local_base_freq": null, "attn_logit_softcapping": 20.0,
      "final_logit_softcapping": 10, "num_hidden_layers": 2,
      "layer_types": ["full_attention", "sliding_attention"], "rope_parameters": {
        "full_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 7000.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 600.0}}})");
  EXPECT_THAT(c.global, ElementsAre(true, false));
  EXPECT_EQ(c.rope_theta, 7000);
  EXPECT_EQ(c.rope_scaling.factor, 2);
  EXPECT_EQ(c.local_rope_theta, 600);
  EXPECT_EQ(c.attention_softcap, 0);  // as transformers' model
  EXPECT_EQ(c.logits_softcap, 10);
  const ModelConfig bare = MustRead(R"({"model_type": "gemma3_text"})", "{}");
  EXPECT_EQ(bare.rope_theta, 1e6);
  EXPECT_EQ(bare.local_rope_theta, 1e4);
  EXPECT_EQ(bare.sliding_window, 4096);
  EXPECT_EQ(std::count(bare.global.begin(), bare.global.end(), true), 4);
}

TEST(GemmaJson, PagesThatAllBlocksHaveLeftAreKnownByTheirWindow) {
  const ModelConfig local =
      MustRead(kGemma2, R"({"num_hidden_layers": 2, "layer_types": ["sliding_attention",
                                                           "sliding_attention"]})");
  EXPECT_THAT(local.global, ElementsAre());
  EXPECT_EQ(local.cache_window(), 4096);
}

TEST(Gemma2Json, HasSoftCapsAndEveryOtherBlockGlobal) {
  const ModelConfig c = MustRead(kGemma2, "{}");
  EXPECT_EQ(c.architecture, "gemma2");
  EXPECT_FALSE(c.qk_norm);
  EXPECT_EQ(c.local_rope_theta, std::nullopt);
  EXPECT_EQ(c.attention_scale, 1.0 / 16);
  EXPECT_EQ(c.attention_softcap, 50);
  EXPECT_EQ(c.logits_softcap, 30);
  EXPECT_EQ(c.sliding_window, 4096);
  EXPECT_THAT(c.global, ElementsAre(false, true, false));
  nlohmann::json none = nlohmann::json::parse(kGemma2);
  for (const nlohmann::json& says_so : {nlohmann::json(nullptr), nlohmann::json(0.0)}) {
    none["final_logit_softcapping"] = says_so;
    EXPECT_EQ(ReadConfig(none, "config.json")->config.logits_softcap, 0);
  }
}

TEST(Gemma3Json, OfAModelOfImagesTheTextModelIsRead) {
  const nlohmann::json config = {{"model_type", "gemma3"},
                                 {"text_config", nlohmann::json::parse(kGemma3)},
                                 {"vision_config", {{"hidden_size", 7}}},
                                 {"eos_token_id", {1, 106}}};
  const auto read = ReadConfig(config, "config.json");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->config.architecture, "gemma3");
  EXPECT_EQ(read->config.hidden_size, 96);
  EXPECT_THAT(read->config.eos_ids, ElementsAre(1, 106));
  EXPECT_EQ(SpecOfFinalNorm(read->config, read->architecture->hf).name,
            "language_model.model.norm.weight");
  EXPECT_FALSE(ReadConfig(nlohmann::json{{"model_type", "gemma3"}}, "config.json").ok());
}

TEST(GemmaJson, SaysWhatIsWrong) {
  const BadConfig table[] = {
      {kGemma3, R"({"layer_types": ["full_attention"]})", kInvalid, "\"layer_types\" must hold"},
      {kGemma2, R"({"layer_types": ["full_attention", "chunked_attention", 3]})", kInvalid,
       "\"layer_types\" must hold"},
      {kGemma3, R"({"sliding_window_pattern": 0})", kInvalid, "\"sliding_window_pattern\" is 0"},
      {kGemma3, R"({"query_pre_attn_scalar": 0})", kInvalid, "\"query_pre_attn_scalar\" is 0"},
      {kGemma3, R"({"use_bidirectional_attention": true})", kInvalid, "bidirectional"},
      {kGemma3, R"({"hidden_activation": "silu"})", kInvalid, "\"hidden_activation\" \"silu\""},
      {kGemma3, R"({"rope_local_base_freq": 0})", kInvalid, "\"rope_local_base_freq\" is 0"},
      {kGemma3, R"({"rope_parameters": {"full_attention": {}, "sliding_attention":
                    {"rope_type": "linear", "factor": 2}}})",
       kInvalid, "sliding_attention"},
      {kGemma2, R"({"attn_logit_softcapping": -1})", kInvalid, "\"attn_logit_softcapping\" is -1"},
  };
  for (const BadConfig& bad : table) ExpectRefused(bad);
}

TEST(GemmaSpecs, NameEveryTensorOfAModelOnce) {
  const auto read = *ReadConfig(nlohmann::json::parse(kGemma3), "config.json");
  std::set<std::string> names;
  for (const TensorSpec& spec : AllSpecs(read.config, read.architecture->hf)) {
    EXPECT_TRUE(names.insert(spec.name).second) << spec.name;
    EXPECT_EQ(spec.added, spec.is_vector ? 1.0f : 0.0f) << spec.name;
  }
  EXPECT_EQ(names.size(), 2u + 13 * read.config.n_layers);
}

}  // namespace
}  // namespace catena
