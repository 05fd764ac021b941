#include "model/arch/arch.h"

#include <cmath>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/model/read_config.h"

namespace catena {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kPhi3[] = R"({
  "model_type": "phi3", "vocab_size": 512, "hidden_size": 128, "intermediate_size": 256,
  "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 4, "hidden_act": "silu",
  "max_position_embeddings": 256, "original_max_position_embeddings": 256, "rms_norm_eps": 1e-5,
  "rope_theta": 10000.0, "sliding_window": 16, "tie_word_embeddings": false,
  "bos_token_id": 1, "eos_token_id": 2})";
constexpr char kLlama[] = R"({
  "model_type": "llama", "vocab_size": 512, "hidden_size": 96, "intermediate_size": 256,
  "num_hidden_layers": 6, "num_attention_heads": 6, "num_key_value_heads": 2,
  "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "rope_theta": 100000.0})";

constexpr char kSmolLm3[] = R"({
  "model_type": "smollm3", "vocab_size": 512, "hidden_size": 96, "intermediate_size": 256,
  "num_hidden_layers": 5, "num_attention_heads": 6, "num_key_value_heads": 2,
  "max_position_embeddings": 256})";

constexpr char kGranite[] = R"({
  "model_type": "granite", "vocab_size": 512, "hidden_size": 96, "intermediate_size": 256,
  "num_hidden_layers": 5, "num_attention_heads": 6, "num_key_value_heads": 2,
  "max_position_embeddings": 256, "embedding_multiplier": 12, "residual_multiplier": 0.22,
  "attention_multiplier": 0.0625, "logits_scaling": 8})";

TEST(Phi3Json, ReadsWhatTheFileSays) {
  const ModelConfig c = MustRead(kPhi3, "{}");
  EXPECT_EQ(c.architecture, "phi3");
  EXPECT_EQ(c.vocab_size, 512);
  EXPECT_EQ(c.hidden_size, 128);
  EXPECT_EQ(c.intermediate_size, 256);
  EXPECT_EQ(c.n_layers, 4);
  EXPECT_EQ(c.n_heads, 4);
  EXPECT_EQ(c.n_kv_heads, 4);
  EXPECT_EQ(c.head_dim, 32);
  EXPECT_EQ(c.rotary_dim, 32);
  EXPECT_EQ(c.rope_scaling.kind, RopeScaling::Kind::kNone);
  EXPECT_EQ(c.context_length, 256);
  EXPECT_EQ(c.sliding_window, 16);
  EXPECT_EQ(c.bos_id, 1);
  EXPECT_THAT(c.eos_ids, ElementsAre(2));
  EXPECT_FALSE(c.tied_embeddings);
}

TEST(Phi3Json, AWindowThatTheContextNeverFillsIsNone) {
  EXPECT_EQ(MustRead(kPhi3, R"({"sliding_window": null})").sliding_window, 0);
  EXPECT_EQ(MustRead(kPhi3, R"({"sliding_window": 256})").sliding_window, 0);
  EXPECT_EQ(MustRead(kPhi3, R"({"sliding_window": 255})").sliding_window, 255);
}

TEST(Phi3Json, PartialRotaryRoundsDownLikeTheReference) {
  EXPECT_EQ(MustRead(kPhi3, R"({"partial_rotary_factor": 0.75})").rotary_dim, 24);
  EXPECT_EQ(Read(kPhi3, R"({"partial_rotary_factor": 0.8})").status().code(),
            absl::StatusCode::kInvalidArgument);  // 25 of 32: odd
}

std::string LongRope(const char* kind, const char* more = "") {
  std::string shorts, longs;
  for (int i = 0; i < 16; ++i) {
    shorts += fmt::format("{}{}", i ? "," : "", 1 + 0.01 * i);
    longs += fmt::format("{}{}", i ? "," : "", 1 + 0.25 * i);
  }
  return fmt::format(
      R"({{"original_max_position_embeddings": 32, "rope_scaling": {{"type": "{}",
          "short_factor": [{}], "long_factor": [{}] {}}}}})",
      kind, shorts, longs, more);
}

TEST(Phi3Json, ReadsLongRopeAndItsAlias) {
  for (const char* kind : {"longrope", "su", "yarn"}) {
    const RopeScaling s = MustRead(kPhi3, LongRope(kind).c_str()).rope_scaling;
    EXPECT_EQ(s.kind, RopeScaling::Kind::kLongRope);
    ASSERT_EQ(s.long_factor.size(), 16u);
    EXPECT_EQ(s.long_factor[3], 1.75f);
    EXPECT_EQ(s.short_factor[1], 1.01f);
    EXPECT_EQ(s.original_max_positions, 32);
    EXPECT_NEAR(s.attention_factor, std::sqrt(1 + std::log(8.0) / std::log(32.0)), 1e-6);
  }
  EXPECT_EQ(MustRead(kPhi3, LongRope("longrope", R"(, "attention_factor": 1.5)").c_str())
                .rope_scaling.attention_factor,
            1.5);
}

TEST(Phi3Json, LongRopeLeavesAttentionAloneWhereTheContextDidNotGrow) {
  auto patch = nlohmann::json::parse(LongRope("longrope"));
  for (const int64_t context : {16, 32}) {
    patch["max_position_embeddings"] = context;
    EXPECT_EQ(MustRead(kPhi3, patch.dump().c_str()).rope_scaling.attention_factor, 1.0) << context;
  }
}

TEST(LlamaJson, DefaultsAreThoseOfTheReference) {
  const ModelConfig c = MustRead(kLlama, R"({"num_key_value_heads": null, "rope_theta": null})");
  EXPECT_EQ(c.n_kv_heads, 6);
  EXPECT_EQ(c.head_dim, 16);
  EXPECT_EQ(c.rope_theta, 10000.0);
  EXPECT_FALSE(c.tied_embeddings);
  EXPECT_EQ(c.bos_id, 1);
  EXPECT_THAT(c.eos_ids, ElementsAre(2));
  EXPECT_EQ(MustRead(kLlama, R"({"head_dim": 32})").q_cols(), 192);
  EXPECT_THAT(MustRead(kLlama, R"({"eos_token_id": [5, 7]})").eos_ids, ElementsAre(5, 7));
  EXPECT_EQ(MustRead(kLlama, R"({"bos_token_id": -1})").bos_id, -1);
}

// transformers' LlamaConfig and Phi3Config: save_pretrained may leave out what has its default.
TEST(LlamaJson, AnAbsentKeyHasTheDefaultOfTransformers) {
  const ModelConfig c = MustRead(R"({"model_type": "llama"})", "{}");
  EXPECT_EQ(c.vocab_size, 32000);
  EXPECT_EQ(c.hidden_size, 4096);
  EXPECT_EQ(c.intermediate_size, 11008);
  EXPECT_EQ(c.n_layers, 32);
  EXPECT_EQ(c.n_heads, 32);
  EXPECT_EQ(c.n_kv_heads, 32);
  EXPECT_EQ(c.head_dim, 128);
  EXPECT_EQ(c.context_length, 2048);
  EXPECT_EQ(c.rms_norm_eps, 1e-6);
  EXPECT_EQ(c.rope_theta, 10000.0);
  EXPECT_EQ(c.rope_scaling.kind, RopeScaling::Kind::kNone);
  EXPECT_FALSE(c.tied_embeddings);
  EXPECT_EQ(c.bos_id, 1);
  EXPECT_THAT(c.eos_ids, ElementsAre(2));
  EXPECT_THAT(c.warnings, ElementsAre());
}

TEST(Phi3Json, AnAbsentKeyHasTheDefaultOfTransformers) {
  const ModelConfig c = MustRead(R"({"model_type": "phi3"})", "{}");
  EXPECT_EQ(c.vocab_size, 32064);
  EXPECT_EQ(c.hidden_size, 3072);
  EXPECT_EQ(c.intermediate_size, 8192);
  EXPECT_EQ(c.n_layers, 32);
  EXPECT_EQ(c.n_heads, 32);
  EXPECT_EQ(c.n_kv_heads, 32);
  EXPECT_EQ(c.head_dim, 96);
  EXPECT_EQ(c.rotary_dim, 96);
  EXPECT_EQ(c.context_length, 4096);
  EXPECT_EQ(c.rms_norm_eps, 1e-5);
  EXPECT_EQ(c.sliding_window, 0);
  EXPECT_EQ(c.bos_id, 1);
  EXPECT_THAT(c.eos_ids, ElementsAre(32000));
  // A default that the vocabulary does not have is nobody's word: no warning.
  const ModelConfig small = MustRead(R"({"model_type": "phi3", "vocab_size": 512})", "{}");
  EXPECT_THAT(small.eos_ids, ElementsAre());
  EXPECT_THAT(small.warnings, ElementsAre());
}

TEST(Json, NullSaysThatThereIsNone) {
  for (const char* base : {R"({"model_type": "llama", "bos_token_id": null, "eos_token_id": null,
                               "head_dim": null, "num_key_value_heads": null, "rope_scaling": null,
                               "rope_parameters": null, "hidden_act": null, "sliding_window": null,
                               "rms_norm_eps": null, "max_position_embeddings": null,
                               "tie_word_embeddings": null, "attention_bias": null})",
                           R"({"model_type": "phi3", "bos_token_id": null, "eos_token_id": null,
                               "sliding_window": null, "rope_scaling": null})"}) {
    const auto read = ReadConfig(nlohmann::json::parse(base), "config.json");
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->config.bos_id, -1);
    EXPECT_THAT(read->config.eos_ids, ElementsAre());
  }
}

TEST(Json, AnIdThatTheVocabularyDoesNotHaveIsLeftOutWithAWarning) {
  for (const char* base : {kPhi3, kLlama}) {
    const ModelConfig one = MustRead(base, R"({"eos_token_id": 512, "bos_token_id": 4096})");
    EXPECT_THAT(one.eos_ids, ElementsAre());
    EXPECT_EQ(one.bos_id, -1);
    ASSERT_EQ(one.warnings.size(), 2u);
    EXPECT_THAT(one.warnings[0], HasSubstr("config.json: \"bos_token_id\" names the token 4096"));
    const ModelConfig list = MustRead(
        base, R"({"eos_token_id": [511, -1, 18446744073709551615, 2.0], "bos_token_id": [7, 8]})");
    EXPECT_THAT(list.eos_ids, ElementsAre(511, 2));
    EXPECT_EQ(list.bos_id, 7);
    EXPECT_EQ(list.warnings.size(), 1u);
  }
}

TEST(Json, WholeNumbersMayBeWrittenAsFloats) {
  const ModelConfig c =
      MustRead(kLlama, R"({"hidden_size": 96.0, "num_hidden_layers": 6.0, "rope_theta": 100000,
                  "max_position_embeddings": 2.56e2, "eos_token_id": 2.0})");
  EXPECT_EQ(c.hidden_size, 96);
  EXPECT_EQ(c.context_length, 256);
  EXPECT_EQ(c.rope_theta, 100000.0);
  EXPECT_THAT(c.eos_ids, ElementsAre(2));
  EXPECT_FALSE(Read(kLlama, R"({"hidden_size": 96.5})").ok());
}

TEST(Json, TheClassTellsTheArchitectureWhereTheTypeIsAbsent) {
  EXPECT_EQ(MustRead(kLlama, R"({"model_type": null, "architectures": ["Phi3ForCausalLM"]})")
                .architecture,
            "phi3");
  EXPECT_EQ(MustRead(kPhi3, R"({"model_type": null, "architectures": ["LlamaForCausalLM"]})")
                .architecture,
            "llama");
  for (const char* none : {R"([])", R"("LlamaForCausalLM")", R"(["X"])", R"([3])"}) {
    const std::string patch = fmt::format(R"({{"model_type": null, "architectures": {}}})", none);
    EXPECT_THAT(std::string(Message(Read(kPhi3, patch.c_str()).status())), HasSubstr("is missing"));
  }
}

TEST(LlamaJson, ReadsRopeScalingOldAndNew) {
  const ModelConfig linear =
      MustRead(kLlama, R"({"rope_scaling": {"type": "linear", "factor": 4}})");
  EXPECT_EQ(linear.rope_scaling.kind, RopeScaling::Kind::kLinear);
  EXPECT_EQ(linear.rope_scaling.factor, 4.0);
  const ModelConfig llama3 = MustRead(kLlama, R"({"rope_theta": null, "rope_parameters": {
      "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
      "high_freq_factor": 4.0, "original_max_position_embeddings": 64}})");
  EXPECT_EQ(llama3.rope_scaling.kind, RopeScaling::Kind::kLlama3);
  EXPECT_EQ(llama3.rope_theta, 500000.0);
  EXPECT_EQ(llama3.rope_scaling.original_max_positions, 64);
  EXPECT_EQ(llama3.rope_scaling.high_freq_factor, 4.0);
  const ModelConfig plain =
      MustRead(kLlama, R"({"rope_parameters": {"rope_type": "default", "rope_theta": 7.0}})");
  EXPECT_EQ(plain.rope_scaling.kind, RopeScaling::Kind::kNone);
  EXPECT_EQ(plain.rope_theta, 7.0);
}

TEST(LlamaJson, ReadsYarnAndTheContextThatItStretchesTo) {
  const ModelConfig c = MustRead(kLlama, R"({"max_position_embeddings": 40960, "rope_scaling": {
      "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}})");
  EXPECT_EQ(c.rope_scaling.kind, RopeScaling::Kind::kYarn);
  EXPECT_EQ(c.rope_scaling.factor, 4.0);
  EXPECT_EQ(c.rope_scaling.original_max_positions, 32768);
  EXPECT_EQ(c.context_length, 131072);
  EXPECT_EQ(c.rope_scaling.beta_fast, 32.0);
  EXPECT_EQ(c.rope_scaling.beta_slow, 1.0);
  EXPECT_TRUE(c.rope_scaling.whole_dimensions);
  EXPECT_DOUBLE_EQ(c.rope_scaling.attention_factor, 0.1 * std::log(4.0) + 1.0);
  // The factor is how much the context has grown, where the file does not say.
  const ModelConfig grown = MustRead(kLlama, R"({"rope_scaling": {
      "type": "yarn", "original_max_position_embeddings": 128, "truncate": false,
      "beta_fast": 16, "beta_slow": 2, "attention_factor": 1.5}})");
  EXPECT_EQ(grown.rope_scaling.factor, 2.0);
  EXPECT_EQ(grown.context_length, 256);
  EXPECT_EQ(grown.rope_scaling.beta_fast, 16.0);
  EXPECT_EQ(grown.rope_scaling.beta_slow, 2.0);
  EXPECT_FALSE(grown.rope_scaling.whole_dimensions);
  EXPECT_EQ(grown.rope_scaling.attention_factor, 1.5);
  const ModelConfig both = MustRead(kLlama, R"({"rope_scaling": {
      "type": "yarn", "factor": 2, "mscale": 2.0, "mscale_all_dim": 1.0}})");
  EXPECT_EQ(both.rope_scaling.original_max_positions, 256);
  EXPECT_EQ(both.context_length, 512);
  EXPECT_DOUBLE_EQ(both.rope_scaling.attention_factor,
                   (0.2 * std::log(2.0) + 1.0) / (0.1 * std::log(2.0) + 1.0));
}

TEST(MistralJson, HasAWindowUnlessTheFileSaysNone) {
  constexpr char kMistral[] = R"({
    "architectures": ["MistralForCausalLM"], "vocab_size": 512, "hidden_size": 96,
    "intermediate_size": 256, "num_hidden_layers": 6, "num_attention_heads": 24,
    "max_position_embeddings": 8192})";
  const ModelConfig c = MustRead(kMistral, "{}");
  EXPECT_EQ(c.architecture, "mistral");
  EXPECT_EQ(c.n_kv_heads, 8);
  EXPECT_EQ(c.head_dim, 4);
  EXPECT_EQ(c.sliding_window, 4096);
  EXPECT_EQ(MustRead(kMistral, R"({"sliding_window": 16})").sliding_window, 16);
  nlohmann::json none = nlohmann::json::parse(kMistral);
  none["sliding_window"] = nullptr;
  EXPECT_EQ(ReadConfig(none, "config.json")->config.sliding_window, 0);
  EXPECT_EQ(MustRead(kMistral, R"({"head_dim": 8})").q_cols(), 192);
}

TEST(QwenJson, HasAWindowInAllBlocksOrInNone) {
  constexpr char kQwen2[] = R"({
    "architectures": ["Qwen2ForCausalLM"], "vocab_size": 512, "hidden_size": 128,
    "intermediate_size": 256, "num_hidden_layers": 6, "num_attention_heads": 4,
    "num_key_value_heads": 2, "sliding_window": 16, "max_window_layers": 6})";
  const ModelConfig c = MustRead(kQwen2, "{}");
  EXPECT_EQ(c.architecture, "qwen2");
  EXPECT_TRUE(c.qkv_bias);
  EXPECT_FALSE(c.qk_norm);
  EXPECT_EQ(c.rms_norm_eps, 1e-6);
  EXPECT_EQ(c.sliding_window, 0);
  EXPECT_EQ(c.bos_id, -1);
  EXPECT_EQ(MustRead(kQwen2, R"({"use_sliding_window": true})").sliding_window, 0);
  EXPECT_EQ(
      MustRead(kQwen2, R"({"use_sliding_window": true, "max_window_layers": 0})").sliding_window,
      16);
  const ModelConfig qwen3 = MustRead(kQwen2, R"({"model_type": "qwen3"})");
  EXPECT_TRUE(qwen3.qk_norm);
  EXPECT_FALSE(qwen3.qkv_bias);
  EXPECT_EQ(qwen3.head_dim, 128);  // whatever the hidden size
}

TEST(SmolLm3Json, LeavesBlocksUnrotated) {
  const ModelConfig c = MustRead(kSmolLm3, "{}");
  EXPECT_EQ(c.architecture, "smollm3");
  EXPECT_THAT(c.unrotated, ElementsAre(false, false, false, true, false));
  EXPECT_EQ(c.rope_theta, 2e6);
  EXPECT_TRUE(c.tied_embeddings);
  EXPECT_THAT(MustRead(kSmolLm3, R"({"no_rope_layer_interval": 2})").unrotated,
              ElementsAre(false, true, false, true, false));
  EXPECT_THAT(MustRead(kSmolLm3, R"({"no_rope_layers": [0, 1, 1, 1, 0, 1]})").unrotated,
              ElementsAre(true, false, false, false, true));
}

TEST(LlamaJson, DynamicScalingBeginsPastTheContext) {
  const ModelConfig c =
      MustRead(kLlama, R"({"rope_scaling": {"rope_type": "dynamic", "factor": 2}})");
  EXPECT_EQ(c.rope_scaling.kind, RopeScaling::Kind::kNone);
  EXPECT_EQ(c.context_length, 256);
}

TEST(GraniteJson, HasFourMultipliers) {
  const ModelConfig c = MustRead(kGranite, "{}");
  EXPECT_EQ(c.architecture, "granite");
  EXPECT_EQ(c.embedding_multiplier, 12);
  EXPECT_EQ(c.residual_multiplier, 0.22);
  EXPECT_EQ(c.attention_scale, 0.0625);
  EXPECT_EQ(c.logits_divisor, 8);
  // transformers' GraniteConfig: scores too are multiplied by 1 where the file does not say.
  const ModelConfig bare = MustRead(R"({"model_type": "granite"})", "{}");
  EXPECT_EQ(bare.embedding_multiplier, 1);
  EXPECT_EQ(bare.residual_multiplier, 1);
  EXPECT_EQ(bare.attention_scale, 1);
  EXPECT_EQ(bare.logits_divisor, 1);
}

TEST(GraniteJson, SaysWhatIsWrongWithAMultiplier) {
  const BadConfig table[] = {
      {kGranite, R"({"residual_multiplier": 0})", kInvalid, "\"residual_multiplier\" is 0"},
      {kGranite, R"({"embedding_multiplier": 1e9})", kInvalid, "\"embedding_multiplier\""},
      {kGranite, R"({"attention_multiplier": -1})", kInvalid, "\"attention_multiplier\" is -1"},
      {kGranite, R"({"logits_scaling": 1e-300})", kInvalid, "\"logits_scaling\""},
      {kGranite, R"({"logits_scaling": "8"})", kDataLoss, "\"logits_scaling\""},
  };
  for (const BadConfig& bad : table) ExpectRefused(bad);
}

TEST(Json, SaysWhatIsWrongWithAConfig) {
  const BadConfig table[] = {
      {kPhi3, R"({"model_type": "mamba"})", kInvalid, "known are: phi3, llama"},
      {kPhi3, R"({"model_type": null})", kInvalid, "\"model_type\" is missing"},
      {kPhi3, R"({"model_type": 3})", kDataLoss, "model_type"},
      {kPhi3, R"({"hidden_size": "128"})", kDataLoss, "\"hidden_size\" must be an integer"},
      {kPhi3, R"({"hidden_size": 0})", kInvalid, "\"hidden_size\" is 0"},
      {kPhi3, R"({"hidden_size": -128})", kInvalid, "\"hidden_size\" is -128"},
      {kPhi3, R"({"hidden_size": 1099511627776})", kInvalid, "\"hidden_size\""},
      {kPhi3, R"({"hidden_size": 130})", kInvalid, "\"hidden_size\" (130) does not divide"},
      {kPhi3, R"({"vocab_size": 5000000})", kInvalid, "\"vocab_size\""},
      {kPhi3, R"({"intermediate_size": 9999999})", kInvalid, "\"intermediate_size\""},
      {kPhi3, R"({"num_hidden_layers": 5000})", kInvalid, "\"num_hidden_layers\""},
      {kPhi3, R"({"num_attention_heads": 4294967298})", kInvalid, "\"num_attention_heads\""},
      {kPhi3, R"({"num_key_value_heads": 3})", kInvalid, "\"num_key_value_heads\" (3)"},
      {kPhi3, R"({"head_dim": 31})", kInvalid, "rotary dimensions"},
      {kPhi3, R"({"head_dim": 4096})", kInvalid, "\"head_dim\""},
      {kPhi3, R"({"max_position_embeddings": 0})", kInvalid, "\"max_position_embeddings\""},
      {kPhi3, R"({"rms_norm_eps": 0})", kInvalid, "\"rms_norm_eps\""},
      {kPhi3, R"({"rms_norm_eps": 2})", kInvalid, "\"rms_norm_eps\""},
      {kPhi3, R"({"rope_theta": -1})", kInvalid, "\"rope_theta\""},
      {kPhi3, R"({"sliding_window": -5})", kInvalid, "\"sliding_window\""},
      {kPhi3, R"({"partial_rotary_factor": 1.5})", kInvalid, "\"partial_rotary_factor\""},
      {kPhi3, R"({"partial_rotary_factor": 0})", kInvalid, "rotary dimensions"},
      {kPhi3, R"({"eos_token_id": "2"})", kDataLoss, "\"eos_token_id\""},
      {kPhi3, R"({"eos_token_id": [2, "x"]})", kDataLoss, "\"eos_token_id\""},
      {kPhi3, R"({"eos_token_id": 2.5})", kDataLoss, "\"eos_token_id\""},
      {kPhi3, R"({"hidden_act": "gelu"})", kInvalid, "\"hidden_act\" \"gelu\""},
      {kPhi3, R"({"attention_bias": true})", kInvalid, "\"attention_bias\""},
      {kLlama, R"({"mlp_bias": true})", kInvalid, "\"mlp_bias\""},
      {kLlama, R"({"partial_rotary_factor": 0.5})", kInvalid, "\"partial_rotary_factor\""},
      {kPhi3, R"({"rope_scaling": {"type": "linear", "factor": 2}})", kInvalid,
       "\"linear\" is not supported"},
      {kPhi3, R"({"rope_scaling": {"factor": 2}})", kInvalid, "no \"rope_type\""},
      {kPhi3, R"({"rope_scaling": "longrope"})", kInvalid, "must be an object"},
      {kPhi3, R"({"rope_scaling": {"type": "longrope"}})", kInvalid, "short_factor"},
      {kPhi3, R"({"rope_scaling": {"type": "longrope", "short_factor": [1, 2]}})", kInvalid,
       "rope_scaling.short_factor\" must hold 16 numbers"},
      {kLlama, R"({"rope_scaling": {"rope_type": "su", "factor": 2}})", kInvalid,
       "\"su\" is not supported; known are: default, linear, dynamic, llama3, yarn"},
      {kLlama, R"({"rope_scaling": {"rope_type": "dynamic"}})", kInvalid,
       "rope_scaling.factor\" is missing"},
      {kSmolLm3, R"({"no_rope_layers": [1, 0]})", kInvalid, "\"no_rope_layers\" must hold"},
      {kSmolLm3, R"({"no_rope_layers": [1, 0, 2, 0, 1]})", kInvalid, "\"no_rope_layers\""},
      {kSmolLm3, R"({"no_rope_layers": 1})", kInvalid, "\"no_rope_layers\""},
      {kSmolLm3, R"({"no_rope_layer_interval": 0})", kInvalid, "\"no_rope_layer_interval\" is 0"},
      {kSmolLm3, R"({"use_sliding_window": true})", kInvalid, "\"use_sliding_window\""},
      {kLlama, R"({"rope_scaling": {"type": "yarn", "factor": 0}})", kInvalid,
       "rope_scaling.factor"},
      {kLlama, R"({"rope_scaling": {"type": "yarn", "factor": 1e6}})", kInvalid, "stretches"},
      {kLlama, R"({"rope_scaling": {"type": "yarn", "factor": 2, "beta_slow": 40}})", kInvalid,
       "beta_slow\" (40) must be below"},
      {kLlama, R"({"rope_scaling": {"type": "linear"}})", kInvalid,
       "rope_scaling.factor\" is missing"},
      {kLlama, R"({"rope_scaling": {"type": "linear", "factor": 0}})", kInvalid, "factor"},
      {kLlama, R"({"rope_scaling": {"type": "llama3", "factor": 8, "low_freq_factor": 4,
                   "high_freq_factor": 4, "original_max_position_embeddings": 64}})",
       kInvalid, "low_freq_factor\" (4) must be below"},
  };
  for (const BadConfig& bad : table) ExpectRefused(bad);
  EXPECT_EQ(ReadConfig(nlohmann::json::array(), "config.json").status().code(), kDataLoss);
}

TEST(Phi3Json, RefusesLongRopeFactorsThatAreNotPositiveNumbers) {
  for (const char* bad : {"0", "-1", "1e30", "\"x\"", "null"}) {
    auto patch = nlohmann::json::parse(LongRope("longrope"));
    patch["rope_scaling"]["long_factor"][5] = nlohmann::json::parse(bad);
    const absl::Status status = Read(kPhi3, patch.dump().c_str()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << bad;
    EXPECT_THAT(std::string(Message(status)), HasSubstr("long_factor")) << bad;
  }
}

TEST(Specs, NameEveryTensorOfAModelOnce) {
  for (const char* base : {kPhi3, kLlama}) {
    const auto read = *ReadConfig(nlohmann::json::parse(base), "config.json");
    std::set<std::string> names;
    for (const TensorSpec& spec : AllSpecs(read.config, read.architecture->hf)) {
      EXPECT_TRUE(names.insert(spec.name).second) << spec.name;
      EXPECT_THAT(spec.name, Not(HasSubstr("{"))) << spec.name;
      EXPECT_GT(spec.rows * spec.cols, 0) << spec.name;
    }
    const size_t a_block = read.config.architecture == "phi3" ? 6 : 9;
    EXPECT_EQ(names.size(), 3 + a_block * read.config.n_layers);
  }
}

}  // namespace
}  // namespace catena
