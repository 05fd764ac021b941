// What the config of every decoder-only architecture here has in common, in Hugging Face's and in
// GGUF's spelling. An architecture's file reads this first, then adds and refuses what is its own.
#pragma once

#include <string>

#include "model/arch/fields.h"
#include "model/config.h"

namespace catena {

// What transformers' configuration class of an architecture takes for a key that config.json lacks:
// save_pretrained may leave out what has its default.
struct JsonDefaults {
  int64_t vocab_size, hidden_size, intermediate_size, num_hidden_layers, num_attention_heads;
  int64_t num_key_value_heads = 0;  // 0: as many as heads
  int64_t head_dim = 0;             // 0: hidden_size / num_attention_heads
  int64_t max_position_embeddings;
  double rms_norm_eps;
  int32_t bos_token_id = -1, eos_token_id = -1;  // -1: none
  bool tie_word_embeddings = false;
  // The key of the MLP's activation, and the only one that is supported.
  const char* activation_key = "hidden_act";
  std::string_view activation = "silu";
};

// Sizes, norm epsilon, ids and tying of a config.json. Key-value heads default to the heads,
// head_dim to hidden / heads. Refuses what no architecture here supports: biases, other activations
// than the one of `defaults`.
absl::StatusOr<ModelConfig> ReadJsonDecoder(const JsonFields& fields, std::string_view name,
                                            const JsonDefaults& defaults);

// The same of a GGUF file, with rope_theta and rotary_dim. Refuses experts.
absl::StatusOr<ModelConfig> ReadGgufDecoder(const GgufFields& fields, std::string_view name);

// A token id or a list of them (config.json's and generation_config.json's eos_token_id). Absent
// and negative ids are left out; so, with a warning, are those that are not below vocab_size: they
// never come.
absl::StatusOr<std::vector<int32_t>> ReadTokenIds(const JsonFields& fields, const char* key,
                                                  int64_t vocab_size,
                                                  std::vector<std::string>* warnings);

// A special token's id in GGUF metadata ("tokenizer.ggml.eos_token_id"), -1 where there is none or,
// with a warning, where it is not below vocab_size.
absl::StatusOr<int32_t> ReadGgufTokenId(const GgufFile& file, const char* key, int64_t vocab_size,
                                        std::vector<std::string>* warnings);

// The rotary settings of a config.json: transformers 5's "rope_parameters" or, before it,
// "rope_theta", "partial_rotary_factor" and "rope_scaling".
struct JsonRope {
  std::string kind;  // "default", "linear", "llama3", "longrope", …, as the file names it
  double theta = 10000.0;
  double partial_rotary_factor = 1.0;
  JsonFields scaling;  // where the kind's own numbers are
};
absl::StatusOr<JsonRope> ReadJsonRope(const JsonFields& fields, double default_theta = 10000.0);

// INVALID_ARGUMENT that names the kind and those that are supported ("default, linear").
absl::Status UnsupportedRope(const Fields& fields, std::string_view kind, std::string_view known);

// Sets rotary_dim. INVALID_ARGUMENT where it is not even, or not in 2 to head_dim.
absl::Status SetRotaryDim(const Fields& fields, int64_t rotary_dim, ModelConfig* config);

// Sets sliding_window: one that the context never fills is none.
void SetWindow(int64_t window, ModelConfig* config);

// The factor by which longrope scales attention (transformers' _compute_longrope_parameters):
// sqrt(1 + ln(factor) / ln(original)) where the context grew, 1 where it did not.
double LongRopeAttentionFactor(double factor, int64_t original_max_positions);

}  // namespace catena
