// Mistral: Llama's blocks with fewer key-value heads and, in its first versions, a sliding window.
//
// Sources: transformers' configuration_mistral.py and modeling_mistral.py. llama.cpp's converter
// calls its files "llama" and leaves the window out, so that no GGUF file is of this architecture.
#include "model/arch/arch.h"
#include "model/arch/llama_names.h"
#include "model/arch/rope_scaling.h"
#include "model/model_limits.h"

namespace catena {
namespace {

constexpr char kName[] = "mistral";
// transformers' MistralConfig.
constexpr JsonDefaults kDefaults = {.vocab_size = 32000,
                                    .hidden_size = 4096,
                                    .intermediate_size = 14336,
                                    .num_hidden_layers = 32,
                                    .num_attention_heads = 32,
                                    .num_key_value_heads = 8,
                                    .max_position_embeddings = 131072,
                                    .rms_norm_eps = 1e-6,
                                    .bos_token_id = 1,
                                    .eos_token_id = 2};
constexpr int64_t kDefaultWindow = 4096;

absl::StatusOr<ModelConfig> FromJson(const nlohmann::json& config, const std::string& source) {
  const JsonFields fields(config, source);
  CATENA_ASSIGN_OR_RETURN(ModelConfig c, ReadJsonDecoder(fields, kName, kDefaults));
  CATENA_RETURN_IF_ERROR(ReadJsonRotary(fields, &c));
  // null says that there is none, which is not the same as no word.
  const int64_t absent = config.contains("sliding_window") ? 0 : kDefaultWindow;
  CATENA_ASSIGN_OR_RETURN(const int64_t window,
                          fields.Int("sliding_window", 1, limits::kMaxContext, absent));
  SetWindow(window, &c);
  return c;
}

}  // namespace

extern const Architecture kMistralArchitecture;
constinit const Architecture kMistralArchitecture = {
    .name = kName,
    .hf_class = "MistralForCausalLM",
    .hf = kLlamaHfNames,
    .gguf = kLlamaGgufNames,
    .gguf_name = "llama",
    .from_json = &FromJson,
    .from_gguf = nullptr,
    .gguf_end_tokens = {},
};

}  // namespace catena
