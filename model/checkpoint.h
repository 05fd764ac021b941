// A model on disk (or drawn from a seed), open for reading: its config, its tensors by role, and
// what its files say of tokenizer, chat and generation. Nothing is read until it is asked for.
//
//   Hugging Face folder  config.json, model.safetensors or model.safetensors.index.json with its
//                        shards, generation_config.json, tokenizer.json and what
//                        tokenizer_config.h lists
//   GGUF file            all in one, or the first of several parts (gguf_parts.h);
//                        https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
//   random:SEED          any config.json, its weights generated tensor by tensor
//
// Thread rules: const methods may be called from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/base/status.h"
#include "kernels/base/tensor.h"
#include "model/config.h"
#include "model/generation_config.h"
#include "model/tokenizer/gguf_vocabulary.h"
#include "model/tokenizer/tokenizer_config.h"
#include "model/weights/tensor_source.h"

namespace catena {

// The tensors of one decoder block, shapes checked against the config. q, k, v come fused as one
// view or as three, gate and up as one view (gate's rows first) or as two.
struct BlockTensors {
  TensorView attention_norm;           // (hidden)
  std::vector<TensorView> qkv;         // rows together: qkv_cols; cols: hidden
  TensorView output;                   // (hidden, q_cols)
  TensorView mlp_norm;                 // (hidden)
  std::vector<TensorView> gate_up;     // rows together: 2 * intermediate; cols: hidden
  TensorView down;                     // (hidden, intermediate)
  std::vector<TensorView> qkv_bias;    // where the config has them, of q, k and v: (their cols, 1)
  std::vector<TensorView> qk_norms;    // where it has them, of q and k: (head_dim)
  std::vector<TensorView> post_norms;  // where it has them, of attention and MLP: (hidden)
};

struct CheckpointOptions {
  // "" reads the file's weights; "random:SEED" makes them from the config.
  std::string weights;
  // Of random weights: a DType's name. Norm gains are always f32.
  DType random_format = DType::kBF16;
};

class Checkpoint {
 public:
  // `path`: a GGUF file, a Hugging Face folder or, with random weights, a config.json.
  static absl::StatusOr<std::shared_ptr<const Checkpoint>> Open(const std::string& path,
                                                                const CheckpointOptions& options);
  virtual ~Checkpoint() = default;

  virtual const std::string& path() const = 0;
  virtual const ModelConfig& config() const = 0;
  virtual const GenerationConfig& generation() const = 0;
  virtual const TensorSource& tensors() const = 0;

  // REQUIRES: 0 <= layer < n_layers.
  virtual absl::StatusOr<BlockTensors> Block(int layer) const = 0;
  virtual absl::StatusOr<TensorView> Embedding() const = 0;  // (vocab, hidden)
  virtual absl::StatusOr<TensorView> FinalNorm() const = 0;  // (hidden)
  virtual absl::StatusOr<TensorView> LmHead() const = 0;     // (vocab, hidden), tied or own

  // Where the tokenizer is: a GGUF file's vocabulary, or the folder's tokenizer.json text. Neither
  // where the files are absent (commands that take ids work without).
  virtual const GgufVocabulary* gguf_vocabulary() const = 0;
  virtual std::optional<std::string> tokenizer_json_path() const = 0;
  // The model's own chat template, and the special tokens that its files name beside those.
  virtual const TokenizerConfig& tokenizer_config() const = 0;
  // What is odd in the files and does no harm, a line each that begins with the file: for the user.
  virtual const std::vector<std::string>& warnings() const = 0;
};

}  // namespace catena
