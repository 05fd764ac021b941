// Qwen 3: Llama's blocks, in which each head of Q and K is normed before it is rotated.
//
// Sources: transformers' configuration_qwen3.py and modeling_qwen3.py; llama.cpp's converter,
// which leaves the rows of Q and K as they are.
#include "model/arch/arch.h"
#include "model/arch/llama_names.h"
#include "model/arch/qwen_window.h"
#include "model/arch/rope_scaling.h"

namespace catena {
namespace {

constexpr char kName[] = "qwen3";
// transformers' Qwen3Config.
constexpr JsonDefaults kDefaults = {.vocab_size = 151936,
                                    .hidden_size = 4096,
                                    .intermediate_size = 22016,
                                    .num_hidden_layers = 32,
                                    .num_attention_heads = 32,
                                    .num_key_value_heads = 32,
                                    .head_dim = 128,
                                    .max_position_embeddings = 32768,
                                    .rms_norm_eps = 1e-6};

constexpr TensorNames WithNorms(TensorNames names, std::string_view q, std::string_view k) {
  names.q_norm = q;
  names.k_norm = k;
  return names;
}
constexpr TensorNames kHfNames = WithNorms(kLlamaHfNames, "model.layers.{}.self_attn.q_norm.weight",
                                           "model.layers.{}.self_attn.k_norm.weight");
constexpr TensorNames kGgufNames = WithNorms(
    Unpermuted(kLlamaGgufNames), "blk.{}.attn_q_norm.weight", "blk.{}.attn_k_norm.weight");

absl::StatusOr<ModelConfig> FromJson(const nlohmann::json& config, const std::string& source) {
  const JsonFields fields(config, source);
  CATENA_ASSIGN_OR_RETURN(ModelConfig c, ReadJsonDecoder(fields, kName, kDefaults));
  CATENA_RETURN_IF_ERROR(ReadJsonRotary(fields, &c));
  CATENA_RETURN_IF_ERROR(ReadQwenWindow(fields, &c));
  c.qk_norm = true;
  return c;
}

absl::StatusOr<ModelConfig> FromGguf(const GgufFile& file) {
  const GgufFields fields(file, kName);
  CATENA_ASSIGN_OR_RETURN(ModelConfig c, ReadGgufDecoder(fields, kName));
  CATENA_RETURN_IF_ERROR(ReadGgufRotary(fields, &c));
  c.qk_norm = true;
  return c;
}

}  // namespace

extern const Architecture kQwen3Architecture;
constinit const Architecture kQwen3Architecture = {
    .name = kName,
    .hf_class = "Qwen3ForCausalLM",
    .hf = kHfNames,
    .gguf = kGgufNames,
    .from_json = &FromJson,
    .from_gguf = &FromGguf,
    .gguf_end_tokens = {},
};

}  // namespace catena
