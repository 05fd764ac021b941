// Gemma 3's text models, alone or beside a model of images, which is not run: each head of Q and K
// is normed before it is rotated, and every sixth block is global; the others' rotary embedding has
// a base of its own, and no scaling. The soft cap of scores that its config knows is not applied:
// neither transformers nor llama.cpp does.
#include "model/arch/gemma.h"
#include "model/arch/rope_scaling.h"
#include "model/model_limits.h"

namespace catena {
namespace {

constexpr char kName[] = "gemma3_text";
// Of configs with a model of images, and of all GGUF files, whose general.architecture it is.
constexpr char kNameWithImages[] = "gemma3";
// transformers' Gemma3TextConfig.
constexpr JsonDefaults kDefaults = {.vocab_size = 262208,
                                    .hidden_size = 2304,
                                    .intermediate_size = 9216,
                                    .num_hidden_layers = 26,
                                    .num_attention_heads = 8,
                                    .num_key_value_heads = 4,
                                    .head_dim = 256,
                                    .max_position_embeddings = 131072,
                                    .rms_norm_eps = 1e-6,
                                    .bos_token_id = 2,
                                    .eos_token_id = 1,
                                    .tie_word_embeddings = true,
                                    .activation_key = "hidden_activation",
                                    .activation = "gelu_pytorch_tanh"};
constexpr GemmaDefaults kGemma = {.period = 6, .global_scale_layers = 62};
constexpr double kGlobalTheta = 1000000.0, kLocalTheta = 10000.0;

constexpr TensorNames WithQkNorms(TensorNames names, std::string_view q, std::string_view k) {
  names.q_norm = q;
  names.k_norm = k;
  return names;
}
constexpr TensorNames kHfNames =
    WithQkNorms(kGemmaHfNames, "model.layers.{}.self_attn.q_norm.weight",
                "model.layers.{}.self_attn.k_norm.weight");
constexpr TensorNames kGgufNames =
    WithQkNorms(kGemmaGgufNames, "blk.{}.attn_q_norm.weight", "blk.{}.attn_k_norm.weight");

constexpr TensorNames kNamesWithImages = {
    .embedding = "language_model.model.embed_tokens.weight",
    .final_norm = "language_model.model.norm.weight",
    .lm_head = "language_model.lm_head.weight",
    .attention_norm = "language_model.model.layers.{}.input_layernorm.weight",
    .output = "language_model.model.layers.{}.self_attn.o_proj.weight",
    .mlp_norm = "language_model.model.layers.{}.pre_feedforward_layernorm.weight",
    .down = "language_model.model.layers.{}.mlp.down_proj.weight",
    .q = "language_model.model.layers.{}.self_attn.q_proj.weight",
    .k = "language_model.model.layers.{}.self_attn.k_proj.weight",
    .v = "language_model.model.layers.{}.self_attn.v_proj.weight",
    .gate = "language_model.model.layers.{}.mlp.gate_proj.weight",
    .up = "language_model.model.layers.{}.mlp.up_proj.weight",
    .q_norm = "language_model.model.layers.{}.self_attn.q_norm.weight",
    .k_norm = "language_model.model.layers.{}.self_attn.k_norm.weight",
    .attention_post_norm = "language_model.model.layers.{}.post_attention_layernorm.weight",
    .mlp_post_norm = "language_model.model.layers.{}.post_feedforward_layernorm.weight",
    .norms_less_one = true};

// transformers 5's "rope_parameters" has those of global blocks and those of local ones; before it,
// "rope_theta" and "rope_scaling" are of global blocks, "rope_local_base_freq" of local ones.
absl::Status ReadRotary(const JsonFields& fields, ModelConfig* c) {
  const auto parameters = fields.object().find("rope_parameters");
  const bool by_kind = parameters != fields.object().end() && parameters->is_object() &&
                       parameters->contains("full_attention");
  if (!by_kind) {
    CATENA_RETURN_IF_ERROR(ReadJsonRotary(fields, c, kGlobalTheta));
    CATENA_ASSIGN_OR_RETURN(c->local_rope_theta, fields.Double("rope_local_base_freq", 1,
                                                               limits::kMaxRopeTheta, kLocalTheta));
    return absl::OkStatus();
  }
  const nlohmann::json global = {{"rope_parameters", (*parameters)["full_attention"]}};
  CATENA_RETURN_IF_ERROR(ReadJsonRotary(JsonFields(global, fields.source()), c, kGlobalTheta));
  const nlohmann::json local = {
      {"rope_parameters", parameters->value("sliding_attention", nlohmann::json::object())}};
  CATENA_ASSIGN_OR_RETURN(const JsonRope rope,
                          ReadJsonRope(JsonFields(local, fields.source()), kLocalTheta));
  if (rope.kind != "default" || rope.partial_rotary_factor != 1.0) {
    return absl::InvalidArgumentError(
        fmt::format("{}: \"rope_parameters.sliding_attention\" other than \"default\" is not "
                    "supported",
                    fields.source()));
  }
  c->local_rope_theta = rope.theta;
  return absl::OkStatus();
}

absl::StatusOr<ModelConfig> ReadText(const JsonFields& fields, std::string_view name) {
  CATENA_ASSIGN_OR_RETURN(ModelConfig c, ReadJsonDecoder(fields, name, kDefaults));
  CATENA_RETURN_IF_ERROR(ReadRotary(fields, &c));
  CATENA_RETURN_IF_ERROR(ReadJsonGemma(fields, kGemma, &c));
  c.qk_norm = true;
  return c;
}

absl::StatusOr<ModelConfig> FromJson(const nlohmann::json& config, const std::string& source) {
  return ReadText(JsonFields(config, source), kName);
}

// The text model is "text_config", but for what the whole says of ids and tying.
absl::StatusOr<ModelConfig> FromJsonWithImages(const nlohmann::json& config,
                                               const std::string& source) {
  const auto found = config.find("text_config");
  if (found == config.end() || !found->is_object()) {
    return absl::InvalidArgumentError(
        fmt::format("{}: \"text_config\" is missing, or no object", source));
  }
  nlohmann::json text = *found;
  for (const char* key : {"bos_token_id", "eos_token_id", "tie_word_embeddings"}) {
    if (!text.contains(key) && config.contains(key)) text[key] = config[key];
  }
  return ReadText(JsonFields(text, source, "text_config."), kNameWithImages);
}

// The file names a window where there are local blocks.
absl::StatusOr<ModelConfig> FromGguf(const GgufFile& file) {
  const GgufFields fields(file, kNameWithImages);
  CATENA_ASSIGN_OR_RETURN(ModelConfig c, ReadGgufDecoder(fields, kName));
  CATENA_RETURN_IF_ERROR(ReadGgufRotary(fields, &c));
  CATENA_RETURN_IF_ERROR(ReadGgufGemma(fields, kGemma, 0, &c));
  CATENA_ASSIGN_OR_RETURN(c.local_rope_theta, fields.Double("rope.freq_base_swa", 1,
                                                            limits::kMaxRopeTheta, kLocalTheta));
  c.qk_norm = true;
  return c;
}

}  // namespace

extern const Architecture kGemma3Architecture, kGemma3WithImagesArchitecture;
constinit const Architecture kGemma3Architecture = {
    .name = kName,
    .hf_class = "Gemma3ForCausalLM",
    .hf = kHfNames,
    .gguf = kGgufNames,
    .gguf_name = kNameWithImages,
    .from_json = &FromJson,
    .from_gguf = &FromGguf,
    .gguf_end_tokens = {},
};
constinit const Architecture kGemma3WithImagesArchitecture = {
    .name = kNameWithImages,
    .hf_class = "Gemma3ForConditionalGeneration",
    .hf = kNamesWithImages,
    .gguf = kGgufNames,
    .from_json = &FromJsonWithImages,
    .from_gguf = nullptr,
    .gguf_end_tokens = {},
};

}  // namespace catena
