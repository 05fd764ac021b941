// What Gemma 2 and 3 have in common: norms before and after attention and MLP, whose gains
// safetensors hold less 1; embeddings times the root of their size; a GELU gate; scores of a scale
// of their own; local blocks, which have a window, and global ones.
//
// Sources: transformers' configuration_gemma2.py, configuration_gemma3.py and their modeling files;
// llama.cpp's converter, which adds the 1 and leaves the rows of Q and K as they are, and its
// src/models/gemma2.cpp and gemma3.cpp.
#pragma once

#include "model/arch/arch.h"
#include "model/arch/decoder_config.h"
#include "model/arch/llama_names.h"

namespace catena {

constexpr TensorNames WithPostNorms(TensorNames names, std::string_view attention,
                                    std::string_view before_mlp, std::string_view mlp) {
  names.attention_post_norm = attention;
  names.mlp_norm = before_mlp;
  names.mlp_post_norm = mlp;
  return names;
}
constexpr TensorNames LessOne(TensorNames names) {
  names.norms_less_one = true;
  return names;
}
inline constexpr TensorNames kGemmaHfNames =
    LessOne(WithPostNorms(kLlamaHfNames, "model.layers.{}.post_attention_layernorm.weight",
                          "model.layers.{}.pre_feedforward_layernorm.weight",
                          "model.layers.{}.post_feedforward_layernorm.weight"));
inline constexpr TensorNames kGemmaGgufNames =
    WithPostNorms(Unpermuted(kLlamaGgufNames), "blk.{}.post_attention_norm.weight",
                  "blk.{}.ffn_norm.weight", "blk.{}.post_ffw_norm.weight");

// What an architecture's files may leave out, or cannot say.
struct GemmaDefaults {
  double attention_softcap = 0;  // 0: scores have none, whatever the file says
  double logits_softcap = 0;
  int64_t period;           // each so many blocks the last is global
  int global_scale_layers;  // of the model whose heads, in GGUF, are scaled by hidden / heads
};

// The same for all: gate, norms, the embeddings' multiplier.
void SetGemma(ModelConfig* config);

// The scale of scores, the soft caps, the window and which blocks are global.
absl::Status ReadJsonGemma(const JsonFields& fields, const GemmaDefaults& defaults,
                           ModelConfig* config);
// `default_window`: where the file names none; 0: then all blocks are global.
absl::Status ReadGgufGemma(const GgufFields& fields, const GemmaDefaults& defaults,
                           int64_t default_window, ModelConfig* config);

}  // namespace catena
