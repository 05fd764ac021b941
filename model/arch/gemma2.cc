// Gemma 2: every other block is global; scores and logits are bounded by soft caps.
#include "model/arch/gemma.h"
#include "model/arch/rope_scaling.h"

namespace catena {
namespace {

constexpr char kName[] = "gemma2";
// transformers' Gemma2Config.
constexpr JsonDefaults kDefaults = {.vocab_size = 256000,
                                    .hidden_size = 2304,
                                    .intermediate_size = 9216,
                                    .num_hidden_layers = 26,
                                    .num_attention_heads = 8,
                                    .num_key_value_heads = 4,
                                    .head_dim = 256,
                                    .max_position_embeddings = 8192,
                                    .rms_norm_eps = 1e-6,
                                    .bos_token_id = 2,
                                    .eos_token_id = 1,
                                    .tie_word_embeddings = true,
                                    .activation_key = "hidden_activation",
                                    .activation = "gelu_pytorch_tanh"};
constexpr GemmaDefaults kGemma = {
    .attention_softcap = 50.0, .logits_softcap = 30.0, .period = 2, .global_scale_layers = 46};
constexpr int64_t kGgufWindow = 4096;

absl::StatusOr<ModelConfig> FromJson(const nlohmann::json& config, const std::string& source) {
  const JsonFields fields(config, source);
  CATENA_ASSIGN_OR_RETURN(ModelConfig c, ReadJsonDecoder(fields, kName, kDefaults));
  CATENA_RETURN_IF_ERROR(ReadJsonRotary(fields, &c));
  CATENA_RETURN_IF_ERROR(ReadJsonGemma(fields, kGemma, &c));
  return c;
}

absl::StatusOr<ModelConfig> FromGguf(const GgufFile& file) {
  const GgufFields fields(file, kName);
  CATENA_ASSIGN_OR_RETURN(ModelConfig c, ReadGgufDecoder(fields, kName));
  CATENA_RETURN_IF_ERROR(ReadGgufRotary(fields, &c));
  CATENA_RETURN_IF_ERROR(ReadGgufGemma(fields, kGemma, kGgufWindow, &c));
  return c;
}

}  // namespace

extern const Architecture kGemma2Architecture;
constinit const Architecture kGemma2Architecture = {
    .name = kName,
    .hf_class = "Gemma2ForCausalLM",
    .hf = kGemmaHfNames,
    .gguf = kGemmaGgufNames,
    .from_json = &FromJson,
    .from_gguf = &FromGguf,
    .gguf_end_tokens = {},
};

}  // namespace catena
