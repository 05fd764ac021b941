// Phi-3 and Phi-4-mini: fused QKV and gate-up projections, an optional sliding window, longrope,
// partial rotary embedding, own or tied head.
//
// Sources: transformers' configuration_phi3.py, modeling_phi3.py and modeling_rope_utils.py;
// llama.cpp's src/models/phi3.cpp and its converter. In GGUF the gate lies in the first half of
// ffn_up's rows, as in gate_up_proj, and the rows of Q and K are not permuted.
#include <cmath>

#include "model/arch/arch.h"
#include "model/arch/decoder_config.h"
#include "model/model_limits.h"

namespace catena {
namespace {

constexpr char kName[] = "phi3";
// transformers' Phi3Config.
constexpr JsonDefaults kDefaults = {.vocab_size = 32064,
                                    .hidden_size = 3072,
                                    .intermediate_size = 8192,
                                    .num_hidden_layers = 32,
                                    .num_attention_heads = 32,
                                    .max_position_embeddings = 4096,
                                    .rms_norm_eps = 1e-5,
                                    .bos_token_id = 1,
                                    .eos_token_id = 32000};
constexpr int64_t kDefaultOriginalMaxPositions = 4096;
constexpr std::string_view kEndTokens[] = {"<|assistant|>"};
constexpr char kLongFactors[] = "rope_factors_long.weight";
constexpr char kShortFactors[] = "rope_factors_short.weight";

absl::Status ReadJsonLongRope(const JsonFields& fields, const JsonRope& rope, ModelConfig* c) {
  RopeScaling& s = c->rope_scaling;
  s.kind = RopeScaling::Kind::kLongRope;
  const int64_t count = c->rotary_dim / 2;
  CATENA_ASSIGN_OR_RETURN(s.short_factor, rope.scaling.RopeFactors("short_factor", count));
  CATENA_ASSIGN_OR_RETURN(s.long_factor, rope.scaling.RopeFactors("long_factor", count));
  const char* key = "original_max_position_embeddings";
  CATENA_ASSIGN_OR_RETURN(const int64_t in_scaling, rope.scaling.Int(key, 2, limits::kMaxContext,
                                                                     kDefaultOriginalMaxPositions));
  CATENA_ASSIGN_OR_RETURN(s.original_max_positions,
                          fields.Int(key, 2, limits::kMaxContext, in_scaling));
  const double grown =
      static_cast<double>(c->context_length) / static_cast<double>(s.original_max_positions);
  CATENA_ASSIGN_OR_RETURN(
      s.attention_factor,
      rope.scaling.Double("attention_factor", limits::kMinRopeFactor, limits::kMaxRopeFactor,
                          LongRopeAttentionFactor(grown, s.original_max_positions)));
  return absl::OkStatus();
}

absl::StatusOr<ModelConfig> FromJson(const nlohmann::json& config, const std::string& source) {
  const JsonFields fields(config, source);
  CATENA_ASSIGN_OR_RETURN(ModelConfig c, ReadJsonDecoder(fields, kName, kDefaults));
  CATENA_ASSIGN_OR_RETURN(const JsonRope rope, ReadJsonRope(fields));
  c.rope_theta = rope.theta;
  CATENA_RETURN_IF_ERROR(
      SetRotaryDim(fields, static_cast<int64_t>(c.head_dim * rope.partial_rotary_factor), &c));
  // "su" and "yarn" are what early checkpoints call it.
  if (rope.kind == "longrope" || rope.kind == "su" || rope.kind == "yarn") {
    CATENA_RETURN_IF_ERROR(ReadJsonLongRope(fields, rope, &c));
  } else if (rope.kind != "default") {
    return UnsupportedRope(fields, rope.kind, "default, longrope (su)");
  }
  CATENA_ASSIGN_OR_RETURN(const int64_t window,
                          fields.Int("sliding_window", 1, limits::kMaxContext, 0));
  SetWindow(window, &c);
  return c;
}

absl::Status ReadGgufLongRope(const GgufFields& fields, ModelConfig* c) {
  RopeScaling& s = c->rope_scaling;
  s.kind = RopeScaling::Kind::kLongRope;
  const int64_t count = c->rotary_dim / 2;
  CATENA_ASSIGN_OR_RETURN(s.short_factor, fields.RopeFactors(kShortFactors, count));
  CATENA_ASSIGN_OR_RETURN(s.long_factor, fields.RopeFactors(kLongFactors, count));
  CATENA_ASSIGN_OR_RETURN(s.original_max_positions,
                          fields.Int("rope.scaling.original_context_length", 2, limits::kMaxContext,
                                     kDefaultOriginalMaxPositions));
  const double grown =
      static_cast<double>(c->context_length) / static_cast<double>(s.original_max_positions);
  CATENA_ASSIGN_OR_RETURN(
      s.attention_factor,
      fields.Double("rope.scaling.attn_factor", limits::kMinRopeFactor, limits::kMaxRopeFactor,
                    LongRopeAttentionFactor(grown, s.original_max_positions)));
  return absl::OkStatus();
}

absl::StatusOr<ModelConfig> FromGguf(const GgufFile& file) {
  const GgufFields fields(file, kName);
  CATENA_ASSIGN_OR_RETURN(ModelConfig c, ReadGgufDecoder(fields, kName));
  if (file.Has(kLongFactors) || file.Has(kShortFactors)) {
    CATENA_RETURN_IF_ERROR(ReadGgufLongRope(fields, &c));
  } else {
    CATENA_ASSIGN_OR_RETURN(const auto kind, fields.FindString("rope.scaling.type"));
    if (kind.value_or("none") != "none") return UnsupportedRope(fields, *kind, "none, longrope");
  }
  // Files made before the window had a key are of two models of 4096 positions, both with a window
  // of 2047 (https://github.com/ggml-org/llama.cpp/pull/8931).
  const bool before_key = (c.n_layers == 32 || c.n_layers == 40) && c.context_length == 4096;
  CATENA_ASSIGN_OR_RETURN(
      const int64_t window,
      fields.Int("attention.sliding_window", 0, limits::kMaxContext, before_key ? 2047 : 0));
  SetWindow(window, &c);
  return c;
}

}  // namespace

extern const Architecture kPhi3Architecture;
constinit const Architecture kPhi3Architecture = {
    .name = kName,
    .hf_class = "Phi3ForCausalLM",
    .hf = {.embedding = "model.embed_tokens.weight",
           .final_norm = "model.norm.weight",
           .lm_head = "lm_head.weight",
           .attention_norm = "model.layers.{}.input_layernorm.weight",
           .output = "model.layers.{}.self_attn.o_proj.weight",
           .mlp_norm = "model.layers.{}.post_attention_layernorm.weight",
           .down = "model.layers.{}.mlp.down_proj.weight",
           .fused_qkv = "model.layers.{}.self_attn.qkv_proj.weight",
           .fused_gate_up = "model.layers.{}.mlp.gate_up_proj.weight"},
    .gguf = {.embedding = "token_embd.weight",
             .final_norm = "output_norm.weight",
             .lm_head = "output.weight",
             .attention_norm = "blk.{}.attn_norm.weight",
             .output = "blk.{}.attn_output.weight",
             .mlp_norm = "blk.{}.ffn_norm.weight",
             .down = "blk.{}.ffn_down.weight",
             .fused_qkv = "blk.{}.attn_qkv.weight",
             .q = "blk.{}.attn_q.weight",
             .k = "blk.{}.attn_k.weight",
             .v = "blk.{}.attn_v.weight",
             .fused_gate_up = "blk.{}.ffn_up.weight"},
    .from_json = &FromJson,
    .from_gguf = &FromGguf,
    .gguf_end_tokens = kEndTokens,
};

}  // namespace catena
