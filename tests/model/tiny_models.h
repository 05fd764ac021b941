// The smallest models of each architecture as GGUF, for tests that look at single fields.
#pragma once

#include <string>

#include "tests/model/gguf_writer.h"

namespace catena {

// Sizes of the tiny models: hidden 32, 2 heads of 16 with 1 KV head, FFN 64, 1 block, 8 tokens.
inline void AddTinySizes(GgufWriter* w, const std::string& arch) {
  w->AddString("general.architecture", arch);
  w->AddU32(arch + ".context_length", 128);
  w->AddU32(arch + ".embedding_length", 32);
  w->AddU32(arch + ".block_count", 1);
  w->AddU32(arch + ".feed_forward_length", 64);
  w->AddU32(arch + ".attention.head_count", 2);
  w->AddU32(arch + ".attention.head_count_kv", 1);
  w->AddF32(arch + ".attention.layer_norm_rms_epsilon", 1e-5f);
}

inline void AddTinyVocabulary(GgufWriter* w) {
  w->AddString("tokenizer.ggml.model", "gpt2");
  w->AddString("tokenizer.ggml.pre", "smollm");
  w->AddStrings("tokenizer.ggml.tokens",
                {"<s>", "</s>", "a", "b", "ab", "<|eot_id|>", "<|end|>", "<|eot_id|>"});
  w->AddInt32s("tokenizer.ggml.token_type", {3, 3, 1, 1, 1, 3, 3, 1});
  w->AddStrings("tokenizer.ggml.merges", {"a b"});
  w->AddU32("tokenizer.ggml.bos_token_id", 0);
  w->AddU32("tokenizer.ggml.eos_token_id", 1);
  w->AddBool("tokenizer.ggml.add_bos_token", true);
  w->AddString("tokenizer.chat_template", "{{ messages }}");
}

inline void AddTinyFrame(GgufWriter* w, bool own_head) {
  w->AddTensor("token_embd.weight", {32, 8}, DType::kQ8_0);
  if (own_head) w->AddTensor("output.weight", {32, 8}, DType::kF16);
  w->AddTensor("output_norm.weight", {32}, DType::kF32);
  w->AddTensor("blk.0.attn_norm.weight", {32}, DType::kF32);
  w->AddTensor("blk.0.attn_output.weight", {32, 32}, DType::kQ4_0);
  w->AddTensor("blk.0.ffn_norm.weight", {32}, DType::kF32);
  w->AddTensor("blk.0.ffn_down.weight", {64, 32}, DType::kQ4_1);
}

inline void AddTinyLlamaBlock(GgufWriter* w) {
  w->AddTensor("blk.0.attn_q.weight", {32, 32}, DType::kBF16);
  w->AddTensor("blk.0.attn_k.weight", {32, 16}, DType::kF16);
  w->AddTensor("blk.0.attn_v.weight", {32, 16}, DType::kF32);
  w->AddTensor("blk.0.ffn_gate.weight", {32, 64}, DType::kQ4_0);
  w->AddTensor("blk.0.ffn_up.weight", {32, 64}, DType::kQ4_0);
}

inline GgufWriter TinyLlama(bool own_head = false) {
  GgufWriter w;
  AddTinySizes(&w, "llama");
  AddTinyVocabulary(&w);
  AddTinyFrame(&w, own_head);
  AddTinyLlamaBlock(&w);
  return w;
}

inline GgufWriter TinyPhi3() {
  GgufWriter w;
  AddTinySizes(&w, "phi3");
  AddTinyVocabulary(&w);
  AddTinyFrame(&w, /*own_head=*/true);
  w.AddTensor("blk.0.attn_qkv.weight", {32, 64}, DType::kQ4_0);
  w.AddTensor("blk.0.ffn_up.weight", {32, 128}, DType::kQ4_0);
  return w;
}

}  // namespace catena
