// Granite 3: Llama's blocks, with multipliers of embeddings, scores, residuals and logits.
//
// Sources: transformers' configuration_granite.py and modeling_granite.py; llama.cpp's converter,
// which permutes Q and K as Llama's, and its src/models/granite.cpp.
#include "model/arch/arch.h"
#include "model/arch/llama_names.h"
#include "model/arch/rope_scaling.h"
#include "model/model_limits.h"

namespace catena {
namespace {

constexpr char kName[] = "granite";
// transformers' GraniteConfig.
constexpr JsonDefaults kDefaults = {.vocab_size = 32000,
                                    .hidden_size = 4096,
                                    .intermediate_size = 11008,
                                    .num_hidden_layers = 32,
                                    .num_attention_heads = 32,
                                    .max_position_embeddings = 2048,
                                    .rms_norm_eps = 1e-6,
                                    .bos_token_id = 1,
                                    .eos_token_id = 2};

absl::StatusOr<double> Multiplier(const Fields& fields, const char* key,
                                  std::optional<double> absent) {
  return fields.Double(key, limits::kMinMultiplier, limits::kMaxMultiplier, absent);
}

absl::StatusOr<ModelConfig> FromJson(const nlohmann::json& config, const std::string& source) {
  const JsonFields fields(config, source);
  CATENA_ASSIGN_OR_RETURN(ModelConfig c, ReadJsonDecoder(fields, kName, kDefaults));
  CATENA_RETURN_IF_ERROR(ReadJsonRotary(fields, &c));
  CATENA_ASSIGN_OR_RETURN(c.embedding_multiplier, Multiplier(fields, "embedding_multiplier", 1.0));
  CATENA_ASSIGN_OR_RETURN(c.residual_multiplier, Multiplier(fields, "residual_multiplier", 1.0));
  CATENA_ASSIGN_OR_RETURN(c.attention_scale, Multiplier(fields, "attention_multiplier", 1.0));
  CATENA_ASSIGN_OR_RETURN(c.logits_divisor, Multiplier(fields, "logits_scaling", 1.0));
  return c;
}

// The converter leaves out a multiplier that config.json lacks; then llama.cpp has none, and scores
// are scaled as Llama's.
absl::StatusOr<ModelConfig> FromGguf(const GgufFile& file) {
  const GgufFields fields(file, kName);
  CATENA_ASSIGN_OR_RETURN(ModelConfig c, ReadGgufDecoder(fields, kName));
  CATENA_RETURN_IF_ERROR(ReadGgufRotary(fields, &c));
  CATENA_ASSIGN_OR_RETURN(c.embedding_multiplier, Multiplier(fields, "embedding_scale", 1.0));
  CATENA_ASSIGN_OR_RETURN(c.residual_multiplier, Multiplier(fields, "residual_scale", 1.0));
  CATENA_ASSIGN_OR_RETURN(c.logits_divisor, Multiplier(fields, "logit_scale", std::nullopt));
  CATENA_ASSIGN_OR_RETURN(const auto scale, fields.FindDouble("attention.scale"));
  if (scale.has_value()) {
    CATENA_ASSIGN_OR_RETURN(c.attention_scale, Multiplier(fields, "attention.scale", std::nullopt));
  }
  CATENA_ASSIGN_OR_RETURN(const auto rotates, fields.FindBool("rope.scaling.finetuned"));
  if (!rotates.value_or(true)) {
    return absl::InvalidArgumentError(
        fmt::format("{}: \"{}\" is false, which leaves out the rotary embedding: not supported",
                    fields.source(), fields.Spell("rope.scaling.finetuned")));
  }
  return c;
}

}  // namespace

extern const Architecture kGraniteArchitecture;
constinit const Architecture kGraniteArchitecture = {
    .name = kName,
    .hf_class = "GraniteForCausalLM",
    .hf = kLlamaHfNames,
    .gguf = kLlamaGgufNames,
    .from_json = &FromJson,
    .from_gguf = &FromGguf,
    .gguf_end_tokens = {},
};

}  // namespace catena
