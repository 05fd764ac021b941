// Qwen 2: Llama's blocks with biases of Q, K and V (and Qwen 2.5).
//
// Sources: transformers' configuration_qwen2.py and modeling_qwen2.py; llama.cpp's converter,
// which leaves the rows of Q and K as they are.
#include "model/arch/arch.h"
#include "model/arch/llama_names.h"
#include "model/arch/qwen_window.h"
#include "model/arch/rope_scaling.h"

namespace catena {
namespace {

constexpr char kName[] = "qwen2";
// transformers' Qwen2Config.
constexpr JsonDefaults kDefaults = {.vocab_size = 151936,
                                    .hidden_size = 4096,
                                    .intermediate_size = 22016,
                                    .num_hidden_layers = 32,
                                    .num_attention_heads = 32,
                                    .num_key_value_heads = 32,
                                    .max_position_embeddings = 32768,
                                    .rms_norm_eps = 1e-6};

constexpr TensorNames WithBias(TensorNames names, std::string_view q, std::string_view k,
                               std::string_view v) {
  names.q_bias = q;
  names.k_bias = k;
  names.v_bias = v;
  return names;
}
constexpr TensorNames kHfNames =
    WithBias(kLlamaHfNames, "model.layers.{}.self_attn.q_proj.bias",
             "model.layers.{}.self_attn.k_proj.bias", "model.layers.{}.self_attn.v_proj.bias");
constexpr TensorNames kGgufNames = WithBias(Unpermuted(kLlamaGgufNames), "blk.{}.attn_q.bias",
                                            "blk.{}.attn_k.bias", "blk.{}.attn_v.bias");

absl::StatusOr<ModelConfig> FromJson(const nlohmann::json& config, const std::string& source) {
  const JsonFields fields(config, source);
  CATENA_ASSIGN_OR_RETURN(ModelConfig c, ReadJsonDecoder(fields, kName, kDefaults));
  CATENA_RETURN_IF_ERROR(ReadJsonRotary(fields, &c));
  CATENA_RETURN_IF_ERROR(ReadQwenWindow(fields, &c));
  c.qkv_bias = true;
  return c;
}

absl::StatusOr<ModelConfig> FromGguf(const GgufFile& file) {
  const GgufFields fields(file, kName);
  CATENA_ASSIGN_OR_RETURN(ModelConfig c, ReadGgufDecoder(fields, kName));
  CATENA_RETURN_IF_ERROR(ReadGgufRotary(fields, &c));
  c.qkv_bias = true;
  return c;
}

}  // namespace

extern const Architecture kQwen2Architecture;
constinit const Architecture kQwen2Architecture = {
    .name = kName,
    .hf_class = "Qwen2ForCausalLM",
    .hf = kHfNames,
    .gguf = kGgufNames,
    .from_json = &FromJson,
    .from_gguf = &FromGguf,
    .gguf_end_tokens = {},
};

}  // namespace catena
