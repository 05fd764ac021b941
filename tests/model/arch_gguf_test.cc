// What the architectures read from GGUF metadata.
#include <cmath>
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/arch/arch.h"
#include "tests/model/gguf_writer.h"
#include "tests/model/tiny_models.h"

namespace catena {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

absl::StatusOr<ModelConfig> ReadGguf(const GgufWriter& w) {
  const std::string bytes = w.Bytes();
  CATENA_ASSIGN_OR_RETURN(
      const auto file,
      GgufFile::Parse({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "f.gguf"));
  CATENA_ASSIGN_OR_RETURN(const auto read, ReadConfig(*file));
  return read.config;
}

TEST(LlamaGguf, ReadsWhatTheFileSays) {
  const auto c = ReadGguf(TinyLlama());
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_EQ(c->architecture, "llama");
  EXPECT_EQ(c->vocab_size, 8);
  EXPECT_EQ(c->hidden_size, 32);
  EXPECT_EQ(c->intermediate_size, 64);
  EXPECT_EQ(c->n_layers, 1);
  EXPECT_EQ(c->n_heads, 2);
  EXPECT_EQ(c->n_kv_heads, 1);
  EXPECT_EQ(c->head_dim, 16);
  EXPECT_EQ(c->rotary_dim, 16);
  EXPECT_EQ(c->context_length, 128);
  EXPECT_EQ(c->rope_theta, 10000.0);
  EXPECT_EQ(c->bos_id, 0);
  EXPECT_THAT(c->eos_ids, ElementsAre(1));
  EXPECT_TRUE(c->tied_embeddings);
  EXPECT_FALSE(ReadGguf(TinyLlama(/*own_head=*/true))->tied_embeddings);
}

TEST(LlamaGguf, SentencePieceHasItsUsualIdsWhereTheFileSaysNone) {
  const auto ids = [](const char* model, bool says) {
    GgufWriter w;
    AddTinySizes(&w, "llama");
    AddTinyFrame(&w, false);
    w.AddString("tokenizer.ggml.model", model);
    if (says) w.AddU32("tokenizer.ggml.eos_token_id", UINT32_MAX);
    const auto c = ReadGguf(w);
    EXPECT_TRUE(c.ok()) << c.status();
    return std::pair(c->bos_id, c->eos_ids);
  };
  EXPECT_EQ(ids("llama", false), std::pair(1, std::vector<int32_t>{2}));
  EXPECT_EQ(ids("llama", true), std::pair(1, std::vector<int32_t>{}));
  EXPECT_EQ(ids("gpt2", false), std::pair(-1, std::vector<int32_t>{}));
}

TEST(LlamaGguf, AnIdThatTheVocabularyDoesNotHaveIsLeftOutWithAWarning) {
  GgufWriter w;
  AddTinySizes(&w, "llama");
  AddTinyFrame(&w, false);
  w.AddU32("tokenizer.ggml.bos_token_id", 8);
  w.AddI32("tokenizer.ggml.eos_token_id", -5);
  const auto c = ReadGguf(w);
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_EQ(c->bos_id, -1);
  EXPECT_THAT(c->eos_ids, ElementsAre());
  ASSERT_EQ(c->warnings.size(), 1u);
  EXPECT_THAT(c->warnings[0],
              HasSubstr("f.gguf: \"tokenizer.ggml.bos_token_id\" names the token 8"));
}

TEST(LlamaGguf, AListOfEqualSizesIsASize) {
  const auto read = [](const std::vector<int32_t>& kv_heads) {
    GgufWriter w;
    w.AddString("general.architecture", "llama");
    w.AddU32("llama.context_length", 128);
    w.AddU32("llama.embedding_length", 32);
    w.AddU32("llama.block_count", 2);
    w.AddInt32s("llama.feed_forward_length", {64, 64});
    w.AddU32("llama.attention.head_count", 2);
    w.AddInt32s("llama.attention.head_count_kv", kv_heads);
    w.AddF32("llama.attention.layer_norm_rms_epsilon", 1e-5f);
    w.AddU32("llama.rope.freq_base", 500000);  // a float, as an integer
    AddTinyFrame(&w, false);
    return ReadGguf(w);
  };
  ASSERT_TRUE(read({1, 1}).ok()) << read({1, 1}).status();
  EXPECT_EQ(read({1, 1})->n_kv_heads, 1);
  EXPECT_EQ(read({1, 1})->intermediate_size, 64);
  EXPECT_EQ(read({1, 1})->rope_theta, 500000.0);
  EXPECT_THAT(std::string(Message(read({1, 2}).status())), HasSubstr("head_count_kv"));
  EXPECT_THAT(std::string(Message(read({}).status())), HasSubstr("head_count_kv"));
}

TEST(LlamaGguf, ReadsBakedInLlama3ScalingAsDivisors) {
  GgufWriter w = TinyLlama();
  std::string divisors;
  for (const float f : {1.f, 1.f, 2.f, 4.f, 8.f, 8.f, 8.f, 8.f}) {
    divisors.append(reinterpret_cast<const char*>(&f), sizeof f);
  }
  w.AddTensor("rope_freqs.weight", {8}, 0, divisors);
  const auto c = ReadGguf(w);
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_EQ(c->rope_scaling.kind, RopeScaling::Kind::kLongRope);
  EXPECT_THAT(c->rope_scaling.long_factor, ElementsAre(1, 1, 2, 4, 8, 8, 8, 8));
  EXPECT_EQ(c->rope_scaling.short_factor, c->rope_scaling.long_factor);
  EXPECT_EQ(c->rope_scaling.attention_factor, 1.0);
}

TEST(LlamaGguf, ReadsYarn) {
  GgufWriter w = TinyLlama();
  w.AddString("llama.rope.scaling.type", "yarn");
  w.AddF32("llama.rope.scaling.factor", 4.0f);
  w.AddU32("llama.rope.scaling.original_context_length", 16);
  w.AddF32("llama.rope.scaling.attn_factor", 2.0f);
  const auto c = ReadGguf(w);
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_EQ(c->rope_scaling.kind, RopeScaling::Kind::kYarn);
  EXPECT_EQ(c->rope_scaling.factor, 4.0);
  EXPECT_EQ(c->context_length, 64);
  EXPECT_DOUBLE_EQ(c->rope_scaling.attention_factor, 2.0 * (0.1 * std::log(4.0) + 1.0));
}

TEST(Phi3Gguf, ReadsWindowAndLongRope) {
  GgufWriter w = TinyPhi3();
  w.AddU32("phi3.attention.sliding_window", 47);
  w.AddU32("phi3.rope.scaling.original_context_length", 64);
  w.AddF32("phi3.rope.scaling.attn_factor", 1.25f);
  w.AddU32("phi3.rope.dimension_count", 8);
  w.AddTensor("rope_factors_long.weight", {4}, 0,
              std::string("\0\0\x80\x3f\0\0\0\x40\0\0\0\x40\0\0\0\x40", 16));
  w.AddTensor("rope_factors_short.weight", {4}, 0,
              std::string("\0\0\x80\x3f\0\0\x80\x3f\0\0\x80\x3f\0\0\x80\x3f", 16));
  const auto c = ReadGguf(w);
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_EQ(c->sliding_window, 47);
  EXPECT_EQ(c->rotary_dim, 8);
  EXPECT_EQ(c->rope_scaling.kind, RopeScaling::Kind::kLongRope);
  EXPECT_THAT(c->rope_scaling.long_factor, ElementsAre(1, 2, 2, 2));
  EXPECT_THAT(c->rope_scaling.short_factor, ElementsAre(1, 1, 1, 1));
  EXPECT_EQ(c->rope_scaling.original_max_positions, 64);
  EXPECT_EQ(c->rope_scaling.attention_factor, 1.25);
}

TEST(Phi3Gguf, FilesFromBeforeTheWindowHadAKeyHaveTheWindowOfTheirShape) {
  GgufWriter w;
  w.AddString("general.architecture", "phi3");
  w.AddU32("phi3.context_length", 4096);
  w.AddU32("phi3.embedding_length", 32);
  w.AddU32("phi3.block_count", 32);
  w.AddU32("phi3.feed_forward_length", 64);
  w.AddU32("phi3.attention.head_count", 2);
  w.AddF32("phi3.attention.layer_norm_rms_epsilon", 1e-5f);
  AddTinyFrame(&w, true);
  EXPECT_EQ(ReadGguf(w)->sliding_window, 2047);
  w.AddU32("phi3.attention.sliding_window", 0);
  EXPECT_EQ(ReadGguf(w)->sliding_window, 0);
}

TEST(QwenGguf, ReadsItsBiasesOrNorms) {
  for (const std::string name : {"qwen2", "qwen3"}) {
    GgufWriter w;
    AddTinySizes(&w, name);
    AddTinyFrame(&w, false);
    const auto c = ReadGguf(w);
    ASSERT_TRUE(c.ok()) << c.status();
    EXPECT_EQ(c->architecture, name);
    EXPECT_EQ(c->qkv_bias, name == "qwen2");
    EXPECT_EQ(c->qk_norm, name == "qwen3");
  }
}

TEST(GemmaGguf, ReadsWhatTheFileSaysAndWhatLlamaCppKnows) {
  GgufWriter w3;
  AddTinySizes(&w3, "gemma3");
  AddTinyFrame(&w3, false);
  const auto all_global = ReadGguf(w3);  // no word of a window
  ASSERT_TRUE(all_global.ok()) << all_global.status();
  EXPECT_EQ(all_global->architecture, "gemma3_text");
  EXPECT_EQ(all_global->window(0), 0);
  EXPECT_FALSE(all_global->local(0));
  w3.AddU32("gemma3.attention.sliding_window", 47);
  w3.AddF32("gemma3.final_logit_softcapping", 12);
  w3.AddF32("gemma3.attn_logit_softcapping", 12);  // which llama.cpp does not read
  const auto c3 = ReadGguf(w3);
  ASSERT_TRUE(c3.ok()) << c3.status();
  EXPECT_EQ(c3->window(0), 47);
  EXPECT_EQ(c3->local_rope_theta, 10000);
  EXPECT_EQ(c3->attention_scale, 0.25);
  EXPECT_EQ(c3->logits_softcap, 12);
  EXPECT_EQ(c3->attention_softcap, 0);
  EXPECT_TRUE(c3->qk_norm && c3->post_norms);
  GgufWriter w2;
  AddTinySizes(&w2, "gemma2");
  AddTinyFrame(&w2, false);
  const auto c2 = ReadGguf(w2);
  ASSERT_TRUE(c2.ok()) << c2.status();
  EXPECT_EQ(c2->attention_softcap, 50);
  EXPECT_EQ(c2->logits_softcap, 30);
  EXPECT_TRUE(c2->local(0));
  EXPECT_FALSE(c2->qk_norm);
  EXPECT_EQ(c2->embedding_multiplier, std::sqrt(32.0));
}

// Of the largest models of each, heads are scaled by hidden / heads, which no key says.
TEST(GemmaGguf, TheLargestModelScalesItsHeadsOtherwise) {
  for (const auto& [name, layers] : {std::pair("gemma2", 46), std::pair("gemma3", 62)}) {
    for (const int n : {layers, layers - 1}) {
      GgufWriter w;
      const std::string prefix = fmt::format("{}.", name);
      const auto key = [&prefix](const char* k) { return prefix + k; };
      w.AddString("general.architecture", name);
      w.AddU32(key("context_length"), 64);
      w.AddU32(key("embedding_length"), 32);
      w.AddU32(key("block_count"), n);
      w.AddU32(key("feed_forward_length"), 64);
      w.AddU32(key("attention.head_count"), 8);
      w.AddU32(key("attention.key_length"), 16);
      w.AddF32(key("attention.layer_norm_rms_epsilon"), 1e-6f);
      AddTinyFrame(&w, false);
      const auto c = ReadGguf(w);
      ASSERT_TRUE(c.ok()) << c.status();
      EXPECT_EQ(c->attention_scale, n == layers ? 0.5 : 0.25) << name;
    }
  }
}

GgufWriter TinyGranite() {
  GgufWriter w;
  AddTinySizes(&w, "granite");
  AddTinyFrame(&w, false);
  w.AddF32("granite.logit_scale", 8);
  return w;
}

TEST(GraniteGguf, ReadsItsMultipliers) {
  GgufWriter w = TinyGranite();
  const auto bare = ReadGguf(w);
  ASSERT_TRUE(bare.ok()) << bare.status();
  EXPECT_EQ(bare->logits_divisor, 8);
  EXPECT_EQ(bare->embedding_multiplier, 1);
  EXPECT_EQ(bare->residual_multiplier, 1);
  EXPECT_EQ(bare->attention_scale, std::nullopt);  // as llama.cpp, not as config.json
  w.AddF32("granite.embedding_scale", 12);
  w.AddF32("granite.residual_scale", 0.25);
  w.AddF32("granite.attention.scale", 0.0625);
  w.AddBool("granite.rope.scaling.finetuned", true);
  const auto c = ReadGguf(w);
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_EQ(c->embedding_multiplier, 12);
  EXPECT_EQ(c->residual_multiplier, 0.25);
  EXPECT_EQ(c->attention_scale, 0.0625);
}

TEST(GraniteGguf, SaysWhatIsWrong) {
  const auto message = [](const GgufWriter& w) {
    return std::string(Message(ReadGguf(w).status()));
  };
  GgufWriter none;
  AddTinySizes(&none, "granite");
  AddTinyFrame(&none, false);
  EXPECT_THAT(message(none), HasSubstr("granite.logit_scale\" is missing"));
  for (const char* key :
       {"granite.embedding_scale", "granite.residual_scale", "granite.attention.scale"}) {
    for (const float bad : {0.0f, -1.0f, 1e20f, INFINITY, NAN}) {
      GgufWriter w = TinyGranite();
      w.AddF32(key, bad);
      EXPECT_THAT(message(w), HasSubstr(key)) << bad;
    }
  }
  GgufWriter unrotated = TinyGranite();
  unrotated.AddBool("granite.rope.scaling.finetuned", false);
  EXPECT_THAT(message(unrotated), HasSubstr("granite.rope.scaling.finetuned"));
}

struct BadGguf {
  const char* message;
  std::function<void(GgufWriter*)> spoil;
};

TEST(Gguf, SaysWhatIsWrongWithAConfig) {
  const BadGguf llama[] = {
      {"experts", [](auto* w) { w->AddU32("llama.expert_count", 8); }},
      {"attention.value_length", [](auto* w) { w->AddU32("llama.attention.value_length", 8); }},
      {"rope.dimension_count", [](auto* w) { w->AddU32("llama.rope.dimension_count", 8); }},
      {"rope.dimension_count", [](auto* w) { w->AddU32("llama.rope.dimension_count", 4096); }},
      {"rotary dimensions", [](auto* w) { w->AddU32("llama.rope.dimension_count", 15); }},
      {"\"dynamic\"", [](auto* w) { w->AddString("llama.rope.scaling.type", "dynamic"); }},
      {"rope.scaling.factor\" is missing",
       [](auto* w) { w->AddString("llama.rope.scaling.type", "yarn"); }},
      {"rope.freq_base", [](auto* w) { w->AddF32("llama.rope.freq_base", 0.f); }},
      {"vocab_size", [](auto* w) { w->AddU32("llama.vocab_size", 1u << 30); }},
      {"rope_freqs.weight",
       [](auto* w) { w->AddTensor("rope_freqs.weight", {8}, 0, std::string(32, '\0')); }},
  };
  for (const BadGguf& bad : llama) {
    GgufWriter w = TinyLlama();
    bad.spoil(&w);
    const absl::Status status = ReadGguf(w).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << bad.message << ": " << status;
    EXPECT_THAT(std::string(Message(status)), HasSubstr("f.gguf")) << bad.message;
    EXPECT_THAT(std::string(Message(status)), HasSubstr(bad.message));
  }
  GgufWriter unknown;
  unknown.AddString("general.architecture", "falcon");
  EXPECT_THAT(std::string(Message(ReadGguf(unknown).status())),
              HasSubstr("known are: phi3, llama"));
  GgufWriter mistral;  // llama.cpp calls it llama
  mistral.AddString("general.architecture", "mistral");
  EXPECT_THAT(std::string(Message(ReadGguf(mistral).status())),
              HasSubstr("\"mistral\" is not supported; known are: phi3, llama"));
  EXPECT_THAT(std::string(Message(ReadGguf(GgufWriter()).status())),
              HasSubstr("\"general.architecture\" is missing"));
  GgufWriter wrong_length = TinyLlama();
  wrong_length.AddTensor("rope_freqs.weight", {4}, DType::kF32);
  EXPECT_EQ(ReadGguf(wrong_length).status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace catena
