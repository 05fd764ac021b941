// What Llama and those that share its shape call their tensors, here because several architectures
// do. llama.cpp's converter permutes the rows of Q and K into rotary pairs (LlamaModel.permute).
#pragma once

#include "model/arch/arch.h"

namespace catena {

inline constexpr TensorNames kLlamaHfNames = {
    .embedding = "model.embed_tokens.weight",
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
    .up = "model.layers.{}.mlp.up_proj.weight"};

inline constexpr TensorNames kLlamaGgufNames = {.embedding = "token_embd.weight",
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
                                                .interleaved_qk = true};

// The same, where the converter leaves the rows of Q and K as they are.
constexpr TensorNames Unpermuted(TensorNames names) {
  names.interleaved_qk = false;
  return names;
}

}  // namespace catena
