#include "model/decoder_block.h"

#include <algorithm>
#include <cmath>

#include "kernels/base/dequantise.h"

namespace catena {
namespace {

absl::StatusOr<std::unique_ptr<Weight>> PackAndRelease(const Checkpoint& checkpoint,
                                                       absl::Span<const TensorView> tensors,
                                                       WeightRole role, Backend* backend) {
  auto weight = backend->Pack(tensors, role);
  for (const TensorView& t : tensors) checkpoint.tensors().Release(t);
  if (!weight.ok()) return Annotate(weight.status(), checkpoint.path());
  return weight;
}

// Of a block that is rotated.
AttentionShape AttentionShapeOf(const ModelConfig& config) {
  const double scale =
      config.attention_scale.value_or(1.0 / std::sqrt(static_cast<double>(config.head_dim)));
  return {.heads = config.n_heads,
          .kv_heads = config.n_kv_heads,
          .head_dim = config.head_dim,
          .rotary_dim = config.rotary_dim,
          .scale = static_cast<float>(scale),
          .window = config.sliding_window,
          .softcap = static_cast<float>(config.attention_softcap)};
}

// The values of a tensor of one row, each divided.
std::vector<float> Divided(const TensorView& row, double divisor) {
  std::vector<float> values(row.cols);
  WidenRow(row, 0, values.data());
  for (float& v : values) v = static_cast<float>(v / divisor);
  return values;
}

}  // namespace

float EmbeddingScale(const ModelConfig& config) {
  return static_cast<float>(config.embedding_multiplier / config.residual_multiplier);
}

float StreamNormEps(const ModelConfig& config) {
  const double m = config.residual_multiplier;
  return static_cast<float>(config.rms_norm_eps / (m * m));
}

int64_t WeightBytes(const DecoderBlock& block) {
  int64_t bytes = 0;
  for (const auto* weight : {&block.attention_norm, &block.qkv, &block.qkv_bias, &block.q_norm,
                             &block.k_norm, &block.output, &block.mlp_norm, &block.gate_up,
                             &block.down, &block.attention_post_norm, &block.mlp_post_norm}) {
    if (*weight != nullptr) bytes += (*weight)->bytes();
  }
  return bytes;
}

absl::StatusOr<DecoderBlock> LoadBlock(const Checkpoint& checkpoint, int layer, Backend* backend) {
  CATENA_ASSIGN_OR_RETURN(BlockTensors t, checkpoint.Block(layer));
  DecoderBlock block;
  const ModelConfig& config = checkpoint.config();
  block.attention = AttentionShapeOf(config);
  block.attention.window = config.window(layer);
  if (!config.rotates(layer)) block.attention.rotary_dim = 0;
  block.local = config.local_rope_theta.has_value() && config.local(layer);
  auto pack = [&](absl::Span<const TensorView> tensors, WeightRole role,
                  std::unique_ptr<Weight>* out) -> absl::Status {
    CATENA_ASSIGN_OR_RETURN(*out, PackAndRelease(checkpoint, tensors, role, backend));
    return absl::OkStatus();
  };
  CATENA_RETURN_IF_ERROR(pack({t.attention_norm}, WeightRole::kTable, &block.attention_norm));
  CATENA_RETURN_IF_ERROR(pack(t.qkv, WeightRole::kLinear, &block.qkv));
  if (!t.qkv_bias.empty()) {
    CATENA_RETURN_IF_ERROR(pack(t.qkv_bias, WeightRole::kTable, &block.qkv_bias));
  }
  if (!t.qk_norms.empty()) {
    CATENA_RETURN_IF_ERROR(pack({t.qk_norms[0]}, WeightRole::kTable, &block.q_norm));
    CATENA_RETURN_IF_ERROR(pack({t.qk_norms[1]}, WeightRole::kTable, &block.k_norm));
  }
  CATENA_RETURN_IF_ERROR(pack({t.output}, WeightRole::kLinear, &block.output));
  CATENA_RETURN_IF_ERROR(pack({t.mlp_norm}, WeightRole::kTable, &block.mlp_norm));
  CATENA_RETURN_IF_ERROR(pack(t.gate_up, WeightRole::kLinear, &block.gate_up));
  CATENA_RETURN_IF_ERROR(pack({t.down}, WeightRole::kLinear, &block.down));
  if (!t.post_norms.empty()) {
    CATENA_RETURN_IF_ERROR(pack({t.post_norms[0]}, WeightRole::kTable, &block.attention_post_norm));
    CATENA_RETURN_IF_ERROR(pack({t.post_norms[1]}, WeightRole::kTable, &block.mlp_post_norm));
  }
  return block;
}

absl::StatusOr<HeadWeights> LoadHead(const Checkpoint& checkpoint, Backend* backend) {
  HeadWeights head;
  CATENA_ASSIGN_OR_RETURN(const TensorView norm, checkpoint.FinalNorm());
  const std::vector<float> gains = Divided(norm, checkpoint.config().logits_divisor);
  checkpoint.tensors().Release(norm);
  const TensorView divided{
      .name = norm.name,
      .rows = 1,
      .cols = norm.cols,
      .bytes = {reinterpret_cast<const uint8_t*>(gains.data()), gains.size() * sizeof(float)},
      .owner = nullptr};
  CATENA_ASSIGN_OR_RETURN(head.norm, backend->Pack({divided}, WeightRole::kTable));
  CATENA_ASSIGN_OR_RETURN(const TensorView matrix, checkpoint.LmHead());
  CATENA_ASSIGN_OR_RETURN(head.lm_head,
                          PackAndRelease(checkpoint, {matrix}, WeightRole::kLinear, backend));
  return head;
}

absl::StatusOr<std::unique_ptr<Weight>> LoadEmbedding(const Checkpoint& checkpoint,
                                                      Backend* backend) {
  CATENA_ASSIGN_OR_RETURN(const TensorView table, checkpoint.Embedding());
  return PackAndRelease(checkpoint, {table}, WeightRole::kEmbedding, backend);
}

StepLimits StepLimitsOf(const ModelConfig& config, int rows) {
  return {.rows = rows,
          .inputs = std::max({config.hidden_size, config.q_cols(), config.intermediate_size}),
          .attention = AttentionShapeOf(config)};
}

absl::StatusOr<DecoderWorkspace> DecoderWorkspace::Make(const ModelConfig& config, int max_rows,
                                                        Backend* backend) {
  DecoderWorkspace w;
  auto rows = [&](int64_t cols) {
    return backend->AllocateDevice(max_rows * RowBytes(backend->residual_dtype(), cols));
  };
  const size_t rotary_bytes = max_rows * RowBytes(DType::kF32, config.rotary_dim);
  CATENA_ASSIGN_OR_RETURN(w.rotary, backend->AllocateDevice(rotary_bytes));
  if (config.local_rope_theta.has_value()) {
    CATENA_ASSIGN_OR_RETURN(w.local_rotary, backend->AllocateDevice(rotary_bytes));
  }
  CATENA_ASSIGN_OR_RETURN(w.qkv, rows(config.qkv_cols()));
  CATENA_ASSIGN_OR_RETURN(w.gate_up, rows(2 * config.intermediate_size));
  if (config.post_norms) {
    CATENA_ASSIGN_OR_RETURN(w.branch, rows(config.hidden_size));
  }
  return w;
}

void RunBlock(const DecoderPass& pass, const DecoderBlock& block, int cache_layer, const Rows& x) {
  Backend& b = *pass.backend;
  Stream& s = *pass.stream;
  const Rows qkv = pass.workspace->qkv.As(x.rows, block.qkv->rows(), x.dtype);
  const Rows gate_up = pass.workspace->gate_up.As(x.rows, block.gate_up->rows(), x.dtype);
  const float eps = StreamNormEps(*pass.config);

  const auto norm_eps = static_cast<float>(pass.config->rms_norm_eps);
  // Where attention and MLP write: x itself, or rows that are normed and then added to it.
  const bool normed = block.attention_post_norm != nullptr;
  const Rows out = normed ? pass.workspace->branch.As(x.rows, x.cols, x.dtype) : x;
  const LinearEnd end = normed ? LinearEnd::kSet : LinearEnd::kAdd;

  // x += attention(norm(x))
  b.NormLinear(s, x, nullptr, *block.attention_norm, eps, *block.qkv, qkv);
  if (block.qkv_bias != nullptr || block.q_norm != nullptr) {
    b.AdjustQkv(s, qkv, block.attention,
                {block.qkv_bias.get(), block.q_norm.get(), block.k_norm.get(), norm_eps});
  }
  b.RotaryAppend(s, qkv, block.attention, block.local ? pass.local_rotary : pass.rotary,
                 *pass.batch, cache_layer, pass.cache);
  b.AttentionLinear(s, qkv, block.attention, *pass.batch, cache_layer, *pass.cache, *block.output,
                    end, out);
  if (normed) b.AddNorm(s, out, *block.attention_post_norm, norm_eps, x);

  // x += down(act(gate(norm(x))) * up(norm(x)))
  b.NormLinear(s, x, nullptr, *block.mlp_norm, eps, *block.gate_up, gate_up);
  b.GateLinear(s, gate_up, pass.config->gate, *block.down, end, out);
  if (normed) b.AddNorm(s, out, *block.mlp_post_norm, norm_eps, x);
}

}  // namespace catena
