// A stage: decoder blocks [begin, end) with their own KV cache. Ids or hidden states of a ragged
// batch go in, hidden states come out. A model is only ever run as stages, then a head.
//
// The bits of a row do not depend on the cut, the chunking, the batch or the threads (the exactness
// contract of docs/ARCHITECTURE.md). Thread rules: one thread at a time.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "model/decoder_block.h"
#include "model/rope_frequencies.h"
#include "runtime/stage/kv_cache.h"
#include "runtime/stage/layer_range.h"

namespace catena {

struct StageOptions {
  LayerRange layers;
  // Rows a batch may have; the workspace is sized by it.
  int max_rows = 512;
  // Positions a sequence may have, at most the model's context.
  int64_t max_positions = 0;
  // Pages of the KV pool. Memory is taken as pages are used.
  int kv_pages = 0;
  DType kv_dtype = DType::kF16;
};

KvShape KvShapeOf(const ModelConfig& config, const StageOptions& options);

// Consecutive positions of one sequence.
struct StageSpan {
  SequenceId sequence = 0;
  int64_t first_position = 0;
  absl::Span<const int32_t> ids;  // one a row; their embeddings are the input where begin == 0
};

// Residual rows (rows, hidden) on the device, there when `done` is.
struct StageRows {
  Rows rows;
  Event* done = nullptr;
};

// What a stage's rows are made of: rows in host memory, in pieces one after another, which stay as
// they are until the output is done; or those of another stage.
struct StageInput {
  absl::Span<const HostRows> host;
  StageRows device;
};

struct StageRunOptions {
  // Whether the output goes to the host: it is on its way as soon as it is made.
  bool to_host = false;
  // Whoever reads the rows of the Start before: they are kept until this is done.
  Event* after = nullptr;
  // Called as soon as a block is issued; on the CPU it is done then.
  std::function<void()> after_block = nullptr;
  // Whether Start is about to be called again (Backend::EndStep).
  bool another_soon = true;
};

// Called after each piece of a load with the fraction done, in [0, 1].
using LoadProgress = std::function<void(double)>;

class Stage {
 public:
  static absl::StatusOr<std::unique_ptr<Stage>> Load(const Checkpoint& checkpoint,
                                                     const StageOptions& options, Backend* backend,
                                                     const LoadProgress& progress = nullptr);

  int64_t hidden_size() const { return config_.hidden_size; }
  int64_t kv_page_bytes() const { return pool_->page_bytes(); }
  KvCache& cache() { return *cache_; }

  // A new sequence. INVALID_ARGUMENT where the model has no such rotary table (ChooseRotaryTable).
  // `max_length`, `reserve`: see KvCache::Open.
  absl::Status Open(SequenceId id, int rotary, int64_t max_length = 0, int64_t reserve = 0);
  // Whether Open would find pages if those were closed.
  bool Fits(int64_t reserve, absl::Span<const SequenceId> without) const;
  // Another table for a sequence that is computed anew. The same error, and NOT_FOUND where the id
  // is not open. REQUIRES: the sequence has no positions (KvCache::Truncate to 0).
  absl::Status ChooseRotary(SequenceId id, int rotary);

  // Begins to run the spans' rows through the blocks. `input`: their residual rows from the stage
  // before, in span order; ignored by the first stage. Returns this stage's residual rows in the
  // same order, valid until the next Start. Each span must start at its sequence's length, have
  // its pages reserved, and appear once: FAILED_PRECONDITION. INVALID_ARGUMENT for an id outside
  // the vocabulary, a position past max_positions or more than max_rows rows.
  absl::StatusOr<StageRows> Start(absl::Span<const StageSpan> spans, const StageInput& input,
                                  const StageRunOptions& options = {});
  // Whether what Start began is done; Finish would not wait.
  bool Ready() { return done_->Ready(); }
  // The rows of the last Start in host memory, valid until the next one. Waits for them.
  HostRows Finish();
  // Done when the last Start is.
  Event* done() { return done_.get(); }
  ~Stage();

 private:
  Stage(const ModelConfig& config, const StageOptions& options, Backend* backend)
      : config_(config), options_(options), backend_(backend) {}
  absl::Status LoadWeights(const Checkpoint& checkpoint, const LoadProgress& progress);
  absl::Status CheckRoom() const;
  absl::StatusOr<std::unique_ptr<Weight>> PackFrequencies(const RopeFrequencies& rope) const;
  absl::Status LoadFrequencies();
  absl::Status AllocateMemory();
  absl::Status CheckRotary(SequenceId id, int rotary) const;
  absl::Status CheckDistinct(absl::Span<const StageSpan> spans);
  absl::Status AddToBatch(const StageSpan& span);
  void TakeInput(const StageInput& input, const Rows& x);
  void Fetch();
  void RunBlocks(const Rows& x, const StageRunOptions& options);
  bool is_first() const { return options_.layers.begin == 0; }

  ModelConfig config_;
  StageOptions options_;
  Backend* backend_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<Event> taken_;  // input and batch are on the device
  std::unique_ptr<Event> done_;
  std::unique_ptr<Weight> embedding_;          // the first stage's
  std::unique_ptr<Weight> frequencies_;        // (rotary tables, rotary_dim / 2)
  std::unique_ptr<Weight> local_frequencies_;  // of local blocks; null: as of the others
  float rotary_scale_ = 1.0f;
  std::vector<DecoderBlock> blocks_;
  DecoderWorkspace workspace_;
  DeviceBuffer residual_;  // (padded max_rows, hidden)
  Rows output_;            // of the last Start
  std::optional<HostRows> fetched_rows_;
  HostBuffer fetched_;  // (max_rows, hidden)
  std::unique_ptr<KvPool> pool_;
  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<Batch> batch_;
  std::vector<SequenceId> sequences_;  // of the batch, sorted
};

}  // namespace catena
