// A decoder block, and the model's two ends, as weights in a backend and passes over rows.
// Behaviour comes from the ModelConfig alone; no architecture is named here.
//
// Thread rules: one thread at a time, that of the stage which owns the weights.
#pragma once

#include <memory>

#include "kernels/kernels.h"
#include "model/checkpoint.h"

namespace catena {

struct DecoderBlock {
  AttentionShape attention;                // rotary_dim 0: q and k are not rotated
  bool local = false;                      // rotated by the factors of local blocks
  std::unique_ptr<Weight> attention_norm;  // (hidden)
  std::unique_ptr<Weight> qkv;             // (qkv_cols, hidden)
  std::unique_ptr<Weight> qkv_bias;        // (qkv_cols, 1), or null
  std::unique_ptr<Weight> q_norm, k_norm;  // (head_dim), or null
  std::unique_ptr<Weight> output;          // (hidden, q_cols)
  std::unique_ptr<Weight> mlp_norm;        // (hidden)
  std::unique_ptr<Weight> gate_up;         // (2 * intermediate, hidden)
  std::unique_ptr<Weight> down;            // (hidden, intermediate)
  std::unique_ptr<Weight> attention_post_norm, mlp_post_norm;  // (hidden), or null
};

// What its weights hold in memory.
int64_t WeightBytes(const DecoderBlock& block);

// The residual stream is kept divided by the model's residual_multiplier, so that what a block adds
// to it needs none: embeddings enter times this …
float EmbeddingScale(const ModelConfig& config);
// … and the stream's norms add this to its mean square.
float StreamNormEps(const ModelConfig& config);

// Reads one block's tensors and packs them, giving mapped pages back as it goes.
absl::StatusOr<DecoderBlock> LoadBlock(const Checkpoint& checkpoint, int layer, Backend* backend);

// The last norm, whose gains hold what divides the logits, and the matrix that gives them.
struct HeadWeights {
  std::unique_ptr<Weight> norm;     // (hidden)
  std::unique_ptr<Weight> lm_head;  // (vocab, hidden)
};
absl::StatusOr<HeadWeights> LoadHead(const Checkpoint& checkpoint, Backend* backend);

absl::StatusOr<std::unique_ptr<Weight>> LoadEmbedding(const Checkpoint& checkpoint,
                                                      Backend* backend);

// What the ops of a model's blocks and head may come to. `rows`: of a batch, with the padding.
StepLimits StepLimitsOf(const ModelConfig& config, int rows);

// Memory that a stage's blocks share, for up to max_rows padded rows a batch.
struct DecoderWorkspace {
  DeviceBuffer rotary;        // (max_rows, rotary_dim), of RotaryFactors
  DeviceBuffer local_rotary;  // the same of local blocks, where they have a base of their own
  DeviceBuffer qkv;           // (max_rows, qkv_cols)
  DeviceBuffer gate_up;       // (max_rows, 2 * intermediate)
  DeviceBuffer branch;        // (max_rows, hidden), of models that norm what attention and MLP give

  static absl::StatusOr<DecoderWorkspace> Make(const ModelConfig& config, int max_rows,
                                               Backend* backend);
};

// What a batch needs in every block.
struct DecoderPass {
  Backend* backend;
  Stream* stream;
  const ModelConfig* config;
  Rows rotary, local_rotary;  // (padded rows, rotary_dim)
  const Batch* batch;
  KvPool* cache;
  DecoderWorkspace* workspace;
};

// x: (padded rows, hidden), the residual stream (see EmbeddingScale), in and out. `cache_layer`
// counts from 0 in `cache`.
void RunBlock(const DecoderPass& pass, const DecoderBlock& block, int cache_layer, const Rows& x);

}  // namespace catena
