// The architectures we run: one file each (phi3.cc, llama.cc, …), which holds every fact of it, and
// one table of them here. To add one: write its file, add its row to kArchitectures in arch.cc.
// Thread rules: everything here is immutable.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/types/span.h"

#include "model/config.h"
#include "model/json.h"
#include "model/weights/gguf.h"
#include "model/weights/random_weights.h"

namespace catena {

// How one kind of file spells an architecture's tensors; "{}" stands for the block's number.
struct TensorNames {
  std::string_view embedding, final_norm, lm_head;
  std::string_view attention_norm, output, mlp_norm, down;
  // Either spelling may be "" or of no parts, not both; a file is read by the one that it has, and
  // random weights are made by the fused one where there is one.
  std::string_view fused_qkv = "";
  std::string_view q = "", k = "", v = "";
  std::string_view fused_gate_up = "";
  std::string_view gate = "", up = "";
  // Where the config has them.
  std::string_view q_bias = "", k_bias = "", v_bias = "";
  std::string_view q_norm = "", k_norm = "";
  std::string_view attention_post_norm = "", mlp_post_norm = "";
  // The rows of q and k are stored as rotary pairs (TensorView::interleaved_head_dim).
  bool interleaved_qk = false;
  // Norms are stored less 1 (TensorView::added).
  bool norms_less_one = false;
};

struct Architecture {
  std::string_view name;      // config.json's model_type and GGUF's general.architecture
  std::string_view hf_class;  // in config.json's "architectures"
  TensorNames hf, gguf;
  // The architecture that a GGUF file of its models names where it is another; then `gguf` is that
  // one's.
  std::string_view gguf_name = "";
  // Both check everything they read: whoever holds the result may trust it.
  absl::StatusOr<ModelConfig> (*from_json)(const nlohmann::json& config, const std::string& source);
  absl::StatusOr<ModelConfig> (*from_gguf)(const GgufFile& file);  // null: no GGUF file is of it
  // Texts of control tokens that end a turn of this architecture alone, besides those that end one
  // everywhere (tokenizer/end_tokens.h): GGUF has no generation_config to name them.
  absl::Span<const std::string_view> gguf_end_tokens;
};

// The architecture of a config.json (an object, by its model_type, or else by the class of its
// "architectures") or of a GGUF file, and the config it reads there. INVALID_ARGUMENT that lists
// those we know where it is not one of them.
struct ArchitectureAndConfig {
  const Architecture* architecture = nullptr;
  ModelConfig config;
};
absl::StatusOr<ArchitectureAndConfig> ReadConfig(const nlohmann::json& config,
                                                 const std::string& source);
absl::StatusOr<ArchitectureAndConfig> ReadConfig(const GgufFile& file);

// The one that made the config.
const Architecture& ArchitectureOf(const ModelConfig& config);

// What the tensors of a block, or around the blocks, must be called and look like. Of the fused and
// the separate spelling of a projection, one may be empty.
struct BlockSpecs {
  TensorSpec attention_norm, output, mlp_norm, down;
  std::vector<TensorSpec> fused_qkv, separate_qkv;
  std::vector<TensorSpec> fused_gate_up, separate_gate_up;
  std::vector<TensorSpec> qkv_bias;    // of q, k and v, or none
  std::vector<TensorSpec> qk_norms;    // of q and k, or none
  std::vector<TensorSpec> post_norms;  // of attention and MLP, or none
};
BlockSpecs SpecsOfBlock(const ModelConfig& config, const TensorNames& names, int layer);
TensorSpec SpecOfEmbedding(const ModelConfig& config, const TensorNames& names);
TensorSpec SpecOfFinalNorm(const ModelConfig& config, const TensorNames& names);
TensorSpec SpecOfLmHead(const ModelConfig& config, const TensorNames& names);

// Every tensor of a model, fused where there is a choice: what random weights are made of.
std::vector<TensorSpec> AllSpecs(const ModelConfig& config, const TensorNames& names);

}  // namespace catena
