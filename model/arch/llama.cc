// Llama 2 and 3 and those that share their shape (SmolLM2, TinyLlama): separate projections,
// grouped-query attention, rotary scaling of several kinds, own or tied head.
//
// Sources: transformers' configuration_llama.py and modeling_llama.py; llama.cpp's converter.
#include "model/arch/arch.h"
#include "model/arch/llama_names.h"
#include "model/arch/rope_scaling.h"

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

absl::StatusOr<ModelConfig> FromJson(const nlohmann::json& config, const std::string& source) {
  const JsonFields fields(config, source);
  CATENA_ASSIGN_OR_RETURN(ModelConfig c, ReadJsonDecoder(fields, kName, kDefaults));
  CATENA_RETURN_IF_ERROR(ReadJsonRotary(fields, &c));
  return c;
}

absl::StatusOr<ModelConfig> FromGguf(const GgufFile& file) {
  const GgufFields fields(file, kName);
  CATENA_ASSIGN_OR_RETURN(ModelConfig c, ReadGgufDecoder(fields, kName));
  CATENA_RETURN_IF_ERROR(ReadGgufRotary(fields, &c));
  return c;
}

}  // namespace

extern const Architecture kLlamaArchitecture;
constinit const Architecture kLlamaArchitecture = {
    .name = kName,
    .hf_class = "LlamaForCausalLM",
    .hf = kLlamaHfNames,
    .gguf = kLlamaGgufNames,
    .from_json = &FromJson,
    .from_gguf = &FromGguf,
    .gguf_end_tokens = {},
};

}  // namespace catena
