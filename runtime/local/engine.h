// A whole model in one process: a backend, stages that tile its blocks, a head. One stage or one a
// block gives the same bits.
//
// Thread rules: one thread at a time.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/backends.h"
#include "runtime/stage/head.h"
#include "runtime/stage/stage.h"

namespace catena {

struct EngineOptions {
  std::string backend = "auto";
  int threads = 1;
  int device = 0;  // see BackendOptions
  Activations activations = Activations::kInt8;
  DType kv_dtype = DType::kF16;
  std::vector<LayerRange> layers;  // empty: one stage of all blocks
  int max_rows = 512;              // of a batch
  int max_logit_rows = 64;         // of a batch, that want logits
  int64_t max_positions = 0;       // of a sequence; 0: the model's context
  int64_t max_sequences = 1;       // that may all reach max_positions; sizes the KV pools
};

class Engine {
 public:
  static absl::StatusOr<std::unique_ptr<Engine>> Load(const Checkpoint& checkpoint,
                                                      const EngineOptions& options,
                                                      const LoadProgress& progress = nullptr);
  // On this backend instead of the options' one.
  static absl::StatusOr<std::unique_ptr<Engine>> Load(const Checkpoint& checkpoint,
                                                      const EngineOptions& options,
                                                      std::unique_ptr<Backend> backend,
                                                      const LoadProgress& progress = nullptr);

  const ModelConfig& config() const { return config_; }
  const EngineOptions& options() const { return options_; }  // max_positions resolved
  int64_t kv_bytes_in_use() const;

  // A new sequence. `rotary`: see ChooseRotaryTable.
  absl::StatusOr<SequenceId> Open(int rotary);
  void Close(SequenceId id);
  int rotary(SequenceId id) const;  // REQUIRES: it is open
  // Forgets all positions; those to come are computed with another table. REQUIRES: it is open.
  absl::Status StartAnew(SequenceId id, int rotary);
  // Forgets positions from `length` on, in every stage.
  absl::Status Truncate(SequenceId id, int64_t length);

  // Runs the spans through all stages, reserving pages as they need. The last stage's hidden states
  // in span order, on the device, valid until the next call. Errors as Stage::Start, and
  // RESOURCE_EXHAUSTED before anything ran.
  absl::StatusOr<StageRows> Forward(absl::Span<const StageSpan> spans);

  // The same for a sampler, until the next call.
  LogitSource& LogitsToSample(const StageRows& hidden, absl::Span<const int32_t> rows) {
    head_->Start(hidden, rows);
    head_->Wait();
    return *head_;
  }
  // Logits of chosen rows of what Forward returned.
  HostRows Logits(const StageRows& hidden, absl::Span<const int32_t> rows) {
    head_->Start(hidden, rows);
    return head_->Finish();
  }
  // What the last Forward returned, in host memory until the next call.
  HostRows Fetch() { return stages_.back()->Finish(); }

  ~Engine();

 private:
  explicit Engine(const ModelConfig& config, const EngineOptions& options)
      : config_(config), options_(options) {}

  ModelConfig config_;
  EngineOptions options_;
  std::unique_ptr<Backend> backend_;
  std::vector<std::unique_ptr<Stage>> stages_;
  std::unique_ptr<Head> head_;
  SequenceId next_id_ = 1;
};

}  // namespace catena
