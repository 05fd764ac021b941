#include "services/cli/model_sizes.h"

namespace catena::cli {
namespace {

void Add(const TensorView& t, PartSize* part) {
  part->parameters += t.rows * t.cols;
  part->stored += t.rows * RowBytes(t.dtype, t.cols);
  const std::string name(Name(t.dtype));
  if (part->dtypes.find(name) != std::string::npos) return;
  if (!part->dtypes.empty()) part->dtypes += ", ";
  part->dtypes += name;
}

}  // namespace

int64_t KvBytesPerToken(const ModelConfig& config) { return int64_t{2} * config.kv_cols() * 2; }

absl::StatusOr<ModelSizes> MeasureModel(const Checkpoint& checkpoint) {
  const ModelConfig& c = checkpoint.config();
  ModelSizes sizes;
  CATENA_ASSIGN_OR_RETURN(const BlockTensors block, checkpoint.Block(0));
  for (const TensorView& t : block.qkv) Add(t, &sizes.block);
  for (const TensorView& t : block.qkv_bias) Add(t, &sizes.block);
  for (const TensorView& t : block.qk_norms) Add(t, &sizes.block);
  for (const TensorView& t : block.post_norms) Add(t, &sizes.block);
  Add(block.output, &sizes.block);
  for (const TensorView& t : block.gate_up) Add(t, &sizes.block);
  Add(block.down, &sizes.block);
  Add(block.attention_norm, &sizes.block);
  Add(block.mlp_norm, &sizes.block);
  sizes.fused = block.qkv.size() == 1;
  CATENA_ASSIGN_OR_RETURN(const TensorView embedding, checkpoint.Embedding());
  Add(embedding, &sizes.embedding);
  CATENA_ASSIGN_OR_RETURN(const TensorView head, checkpoint.LmHead());
  CATENA_ASSIGN_OR_RETURN(const TensorView norm, checkpoint.FinalNorm());
  Add(head, &sizes.head);
  Add(norm, &sizes.head);
  sizes.kv_bytes_per_token = c.n_layers * KvBytesPerToken(c);
  return sizes;
}

}  // namespace catena::cli
