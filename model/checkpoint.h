// A model on disk (or drawn from a seed), open for reading: its config, its tensors by role, and
// what its files say of tokenizer, chat and generation. Nothing is read until it is asked for.
//
//   Hugging Face folder  config.json, model.safetensors or model.safetensors.index.json with its
//                        shards, tokenizer.json, tokenizer_config.json, generation_config.json
//   GGUF file            all in one; https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
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
#include "model/weights/tensor_source.h"

namespace catena {

// The tensors of one decoder block, shapes checked against the config. q, k, v come fused as one
// view or as three, gate and up as one view (gate's rows first) or as two.
struct BlockTensors {
  TensorView attention_norm;        // (hidden)
  std::vector<TensorView> qkv;      // rows together: qkv_cols; cols: hidden
  TensorView output;                // (hidden, q_cols)
  TensorView mlp_norm;              // (hidden)
  std::vector<TensorView> gate_up;  // rows together: 2 * intermediate; cols: hidden
  TensorView down;                  // (hidden, intermediate)
};

// generation_config.json (or its place in GGUF); absent fields stay empty.
struct GenerationConfig {
  bool do_sample = false;
  std::optional<double> temperature, top_p, min_p, typical_p, repetition_penalty;
  std::optional<int64_t> top_k;
  std::vector<int32_t> eos_ids;  // joined with the config's, without duplicates
};

// A GGUF file's vocabulary, copied out and checked: what model/tokenizer/ builds from.
struct GgufVocabulary {
  std::string model;                // tokenizer.ggml.model: "llama" (SentencePiece) or "gpt2"
  std::string pre;                  // tokenizer.ggml.pre, "" where absent
  std::vector<std::string> tokens;  // by id
  std::vector<float> scores;        // by id, or empty
  // By id, or empty: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.
  std::vector<int32_t> types;
  std::vector<std::string> merges;  // "left right", best first; empty for "llama"
  int32_t bos_id = -1, eos_id = -1, unk_id = -1;
  std::optional<bool> add_bos, add_space_prefix;
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
  // The model's own chat template (Jinja text), and the special tokens it may name; "" if absent.
  virtual const std::string& chat_template() const = 0;
  virtual const std::string& bos_token() const = 0;
  virtual const std::string& eos_token() const = 0;
};

}  // namespace catena
