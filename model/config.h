// What a decoder-only model is, as behaviour: a stage asks whether there is a window or how the
// rotary embedding is scaled, never what the model is called. Made by an architecture (model/arch/)
// from config.json or GGUF metadata, and checked there: whoever holds a ModelConfig may trust it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernels/base/gate.h"

namespace catena {

// How rotary frequencies are scaled. Sources: transformers' modeling_rope_utils.py.
struct RopeScaling {
  enum class Kind { kNone, kLinear, kLlama3, kLongRope, kYarn };
  Kind kind = Kind::kNone;
  double factor = 1.0;                 // linear, llama3, yarn
  double low_freq_factor = 1.0;        // llama3
  double high_freq_factor = 4.0;       // llama3
  int64_t original_max_positions = 0;  // all but linear: the context of the first training
  // yarn (Peng et al., 2023): waves that turn more often than beta_fast times in the original
  // context are kept, those that turn less often than beta_slow slowed by `factor`, those between
  // interpolated; the borders are whole dimensions, or lie between two.
  double beta_fast = 32.0, beta_slow = 1.0;
  bool whole_dimensions = true;
  // longrope: rotary_dim/2 divisors of the frequencies; `long` for sequences that have passed
  // original_max_positions.
  std::vector<float> short_factor, long_factor;
  double attention_factor = 1.0;  // longrope, yarn: of sines and cosines
};

struct ModelConfig {
  std::string architecture;  // a name of model/arch/'s table, for messages and `inspect`
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int n_layers = 0;
  int n_heads = 0;
  int n_kv_heads = 0;  // divides n_heads
  int head_dim = 0;
  int rotary_dim = 0;  // even, at most head_dim; the head's first rotary_dim values are rotated
  double rope_theta = 10000.0;
  RopeScaling rope_scaling;
  double rms_norm_eps = 1e-5;
  double embedding_multiplier = 1.0;  // of embeddings, as they enter the residual stream
  double residual_multiplier = 1.0;   // of what attention and MLP add to it
  double logits_divisor = 1.0;
  std::optional<double> attention_scale;  // of scores; none: 1 / sqrt(head_dim)
  double attention_softcap = 0;  // scores s become cap * tanh(s / cap); 0: they stay as they are
  double logits_softcap = 0;     // the same of logits
  Gate gate = Gate::kSilu;       // of the MLP
  bool post_norms = false;       // what attention and MLP give is normed before it is added
  bool qkv_bias = false;         // q, k and v have biases
  bool qk_norm = false;          // each head of q and k is normed before it is rotated
  int64_t context_length = 0;    // positions
  // Of local blocks: a query at p sees (p - window, p]; 0: no window.
  int64_t sliding_window = 0;
  std::vector<bool> global;  // of each block, whether it is not local; empty: no block is global
  // The base of local blocks' rotary frequencies, which then are not scaled; none: as of the
  // others.
  std::optional<double> local_rope_theta;
  std::vector<bool> unrotated;   // of each block, whether it has no rotary embedding; empty: none
  bool tied_embeddings = false;  // the head reads the embedding's matrix
  // Below vocab_size. -1: the model names none. `eos_ids` are config.json's; generation_config.json
  // adds its own.
  int32_t bos_id = -1;
  std::vector<int32_t> eos_ids;
  // What is odd in the file but does no harm, a line each, for the user.
  std::vector<std::string> warnings;

  bool local(int layer) const { return global.empty() || !global[layer]; }
  int64_t window(int layer) const { return local(layer) ? sliding_window : 0; }
  // How many positions back some block sees: the keys and values of a position, which lie together,
  // are needed by all blocks until none sees them. 0: all.
  int64_t cache_window() const { return global.empty() ? sliding_window : 0; }
  bool rotates(int layer) const { return unrotated.empty() || !unrotated[layer]; }
  int64_t q_cols() const { return int64_t{n_heads} * head_dim; }
  int64_t kv_cols() const { return int64_t{n_kv_heads} * head_dim; }
  int64_t qkv_cols() const { return q_cols() + 2 * kv_cols(); }
};

}  // namespace catena
