// Llama 2 and 3 and those that share their shape (SmolLM2, TinyLlama): separate projections,
// grouped-query attention, linear or llama3 rotary scaling, own or tied head.
//
// Sources: transformers' configuration_llama.py, modeling_llama.py and modeling_rope_utils.py;
// llama.cpp's converter, which permutes the rows of Q and K into rotary pairs (LlamaModel.permute)
// and bakes llama3's scaling into the tensor rope_freqs.weight, divisors of the frequencies.
#include "model/arch/arch.h"
#include "model/arch/decoder_config.h"
#include "model/model_limits.h"

namespace catena {
namespace {

constexpr char kName[] = "llama";
// transformers' LlamaConfig.
constexpr JsonDefaults kDefaults = {.vocab_size = 32000,
                                    .hidden_size = 4096,
                                    .intermediate_size = 11008,
                                    .num_hidden_layers = 32,
                                    .num_attention_heads = 32,
                                    .max_position_embeddings = 2048,
                                    .rms_norm_eps = 1e-6,
                                    .bos_token_id = 1,
                                    .eos_token_id = 2};
constexpr char kRopeDivisors[] = "rope_freqs.weight";

absl::Status ReadJsonScaling(const JsonFields& fields, const JsonRope& rope, ModelConfig* c) {
  using namespace limits;
  RopeScaling& s = c->rope_scaling;
  if (rope.kind == "default") return absl::OkStatus();
  if (rope.kind != "linear" && rope.kind != "llama3") {
    return UnsupportedRope(fields, rope.kind, "default, linear, llama3");
  }
  CATENA_ASSIGN_OR_RETURN(s.factor, rope.scaling.Double("factor", kMinRopeFactor, kMaxRopeFactor));
  if (rope.kind == "linear") {
    s.kind = RopeScaling::Kind::kLinear;
    return absl::OkStatus();
  }
  s.kind = RopeScaling::Kind::kLlama3;
  CATENA_ASSIGN_OR_RETURN(s.low_freq_factor,
                          rope.scaling.Double("low_freq_factor", kMinRopeFactor, kMaxRopeFactor));
  CATENA_ASSIGN_OR_RETURN(s.high_freq_factor,
                          rope.scaling.Double("high_freq_factor", kMinRopeFactor, kMaxRopeFactor));
  CATENA_ASSIGN_OR_RETURN(s.original_max_positions,
                          rope.scaling.Int("original_max_position_embeddings", 1, kMaxContext));
  if (s.low_freq_factor >= s.high_freq_factor) {
    return absl::InvalidArgumentError(
        fmt::format("{}: \"{}\" ({}) must be below \"{}\" ({})", fields.source(),
                    rope.scaling.Spell("low_freq_factor"), s.low_freq_factor,
                    rope.scaling.Spell("high_freq_factor"), s.high_freq_factor));
  }
  return absl::OkStatus();
}

absl::StatusOr<ModelConfig> FromJson(const nlohmann::json& config, const std::string& source) {
  const JsonFields fields(config, source);
  CATENA_ASSIGN_OR_RETURN(ModelConfig c, ReadJsonDecoder(fields, kName, kDefaults));
  CATENA_ASSIGN_OR_RETURN(const JsonRope rope, ReadJsonRope(fields));
  c.rope_theta = rope.theta;
  if (rope.partial_rotary_factor != 1.0) {
    return absl::InvalidArgumentError(fmt::format(
        "{}: \"partial_rotary_factor\" other than 1 is not supported for {}", source, kName));
  }
  CATENA_RETURN_IF_ERROR(SetRotaryDim(fields, c.head_dim, &c));
  CATENA_RETURN_IF_ERROR(ReadJsonScaling(fields, rope, &c));
  return c;
}

absl::Status ReadGgufScaling(const GgufFields& fields, ModelConfig* c) {
  using namespace limits;
  RopeScaling& s = c->rope_scaling;
  CATENA_ASSIGN_OR_RETURN(const auto kind, fields.FindString("rope.scaling.type"));
  if (kind.value_or("linear") != "linear" && *kind != "none") {
    return UnsupportedRope(fields, *kind, "none, linear, rope_freqs.weight (llama3)");
  }
  CATENA_ASSIGN_OR_RETURN(const double old_factor,
                          fields.Double("rope.scale_linear", 0, kMaxRopeFactor, 0));
  CATENA_ASSIGN_OR_RETURN(const double factor,
                          fields.Double("rope.scaling.factor", 0, kMaxRopeFactor, old_factor));
  if (fields.file().Has(kRopeDivisors)) {
    // Divisors of the frequencies whatever the position: longrope with one list for both ranges.
    s.kind = RopeScaling::Kind::kLongRope;
    CATENA_ASSIGN_OR_RETURN(s.long_factor, fields.RopeFactors(kRopeDivisors, c->rotary_dim / 2));
    s.short_factor = s.long_factor;
    s.original_max_positions = c->context_length;
  } else if (factor >= kMinRopeFactor && factor != 1.0 && kind != "none") {
    s.kind = RopeScaling::Kind::kLinear;
    s.factor = factor;
  }
  return absl::OkStatus();
}

absl::StatusOr<ModelConfig> FromGguf(const GgufFile& file) {
  const GgufFields fields(file, kName);
  CATENA_ASSIGN_OR_RETURN(ModelConfig c, ReadGgufDecoder(fields, kName));
  if (c.rotary_dim != c.head_dim) {
    return absl::InvalidArgumentError(
        fmt::format("{}: \"{}\" is {}, where heads have {}: not supported for {}", file.source(),
                    fields.Spell("rope.dimension_count"), c.rotary_dim, c.head_dim, kName));
  }
  CATENA_RETURN_IF_ERROR(ReadGgufScaling(fields, &c));
  return c;
}

}  // namespace

extern const Architecture kLlamaArchitecture;
constinit const Architecture kLlamaArchitecture = {
    .name = kName,
    .hf_class = "LlamaForCausalLM",
    .hf = {.embedding = "model.embed_tokens.weight",
           .final_norm = "model.norm.weight",
           .lm_head = "lm_head.weight",
           .attention_norm = "model.layers.{}.input_layernorm.weight",
           .output = "model.layers.{}.self_attn.o_proj.weight",
           .mlp_norm = "model.layers.{}.post_attention_layernorm.weight",
           .down = "model.layers.{}.mlp.down_proj.weight",
           .q = "model.layers.{}.self_attn.q_proj.weight",
           .k = "model.layers.{}.self_attn.k_proj.weight",
           .v = "model.layers.{}.self_attn.v_proj.weight",
           .gate = "model.layers.{}.mlp.gate_proj.weight",
           .up = "model.layers.{}.mlp.up_proj.weight"},
    .gguf = {.embedding = "token_embd.weight",
             .final_norm = "output_norm.weight",
             .lm_head = "output.weight",
             .attention_norm = "blk.{}.attn_norm.weight",
             .output = "blk.{}.attn_output.weight",
             .mlp_norm = "blk.{}.ffn_norm.weight",
             .down = "blk.{}.ffn_down.weight",
             .q = "blk.{}.attn_q.weight",
             .k = "blk.{}.attn_k.weight",
             .v = "blk.{}.attn_v.weight",
             .gate = "blk.{}.ffn_gate.weight",
             .up = "blk.{}.ffn_up.weight",
             .interleaved_qk = true},
    .from_json = &FromJson,
    .from_gguf = &FromGguf,
    .gguf_end_tokens = {},
};

}  // namespace catena
