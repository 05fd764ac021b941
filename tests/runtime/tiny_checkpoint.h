// Tiny random models for tests of the runtime: a few architectures, every feature of attention.
#pragma once

#include <fstream>
#include <memory>
#include <string>

#include "model/checkpoint.h"
#include "tests/temp_dir.h"

namespace catena {

inline constexpr int32_t kTinyVocab = 200;

inline constexpr const char* kTinyPhi3 = R"({
  "model_type": "phi3", "vocab_size": 200, "hidden_size": 96, "intermediate_size": 160,
  "num_hidden_layers": 4, "num_attention_heads": 3, "num_key_value_heads": 3,
  "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "sliding_window": 80,
  "partial_rotary_factor": 0.75})";

inline constexpr const char* kTinyLlama = R"({
  "model_type": "llama", "vocab_size": 200, "hidden_size": 64, "intermediate_size": 96,
  "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
  "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "tie_word_embeddings": true})";

// kTinyLlama's sizes under phi3, with other rotary factors from the 49th position on.
inline constexpr int64_t kTinyRotarySwitch = 48;
inline constexpr const char* kTinyLongRope = R"({
  "model_type": "phi3", "vocab_size": 200, "hidden_size": 64, "intermediate_size": 96,
  "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
  "max_position_embeddings": 512, "original_max_position_embeddings": 48, "rms_norm_eps": 1e-5,
  "rope_scaling": {"type": "longrope", "short_factor": [1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7],
                   "long_factor": [1, 1.5, 2, 2.5, 3, 4, 5, 6]}})";

// A global block among local ones, which have other rotary factors; norms of all there is to norm.
inline constexpr const char* kTinyGemma3 = R"({
  "model_type": "gemma3_text", "vocab_size": 200, "hidden_size": 64, "intermediate_size": 96,
  "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32,
  "max_position_embeddings": 512, "sliding_window": 30, "sliding_window_pattern": 3,
  "rope_scaling": {"rope_type": "linear", "factor": 4.0}, "query_pre_attn_scalar": 32})";

// Scores bounded by a soft cap.
inline constexpr const char* kTinyGemma2 = R"({
  "model_type": "gemma2", "vocab_size": 200, "hidden_size": 64, "intermediate_size": 96,
  "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32,
  "max_position_embeddings": 512, "sliding_window": 30, "query_pre_attn_scalar": 32,
  "attn_logit_softcapping": 5.0})";

// The model of a config.json's text, with weights drawn from a seed.
inline std::shared_ptr<const Checkpoint> TinyCheckpoint(const char* config, DType format) {
  const TempDir dir;
  const std::string path = dir.path() + "/config.json";
  std::ofstream(path) << config;
  return *Checkpoint::Open(path, {.weights = "random:3", .random_format = format});
}

}  // namespace catena
