// The head: the last norm and the matrix that turns hidden states into logits.
// Thread rules: one thread at a time.
#pragma once

#include <memory>
#include <vector>

#include "model/decoder_block.h"
#include "model/sampler/logit_source.h"
#include "runtime/stage/stage.h"

namespace catena {

// Its rows' logits are those of the last Start, once that is done.
class Head final : public LogitSource {
 public:
  // max_rows: rows that may want logits at a time.
  static absl::StatusOr<std::unique_ptr<Head>> Load(const Checkpoint& checkpoint, int max_rows,
                                                    Backend* backend);

  // Begins to make logits of the chosen rows of `hidden`. `another_soon`: see Backend::EndStep.
  // REQUIRES: 0 < rows.size() <= max_rows.
  void Start(const StageRows& hidden, absl::Span<const int32_t> rows, bool another_soon = true);
  // The same of rows in host memory, in pieces one after another, all of them. They stay as they
  // are until the logits are done.
  void Start(absl::Span<const HostRows> hidden, bool another_soon);
  // Whether what Start began is done; Finish would not wait.
  bool Ready() { return done_->Ready(); }
  void Wait() { done_->Wait(); }
  // Where the host does not share the device's memory, only the largest have come by then, and All
  // fetches a row. REQUIRES: Start is done.
  const TopLogits* Top(int64_t row) override;
  absl::Span<const float> All(int64_t row) override;
  // The logits (rows, vocab), valid until the next Start. Waits for them.
  HostRows Finish();
  ~Head() override;

 private:
  Head(const ModelConfig& config, int max_rows, Backend* backend)
      : config_(config), max_rows_(max_rows), backend_(backend) {}

  HostRows Fetch(const Rows& logits);
  void Run(const Rows& hidden, absl::Span<const int32_t> rows, bool another_soon);

  ModelConfig config_;
  int max_rows_;
  Backend* backend_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<Event> done_;
  HeadWeights weights_;
  std::vector<int32_t> all_;  // row numbers from 0 on
  std::unique_ptr<Batch> wanted_;
  DeviceBuffer input_;   // (max_rows, hidden)
  DeviceBuffer logits_;  // (padded max_rows, vocab)
  HostBuffer fetched_;   // (max_rows, vocab)
  Rows result_;          // the logits of the last Start
  // Where the host does not share the device's memory.
  DeviceBuffer top_;        // (padded max_rows, kTopLogitsWords)
  HostBuffer fetched_top_;  // (max_rows, kTopLogitsWords)
};

}  // namespace catena
