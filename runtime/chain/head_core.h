// The core of a head: which rows it turns into logits together, and the tokens that come of them.
// It holds what sampling is a function of (ids, parameters, seed) and nothing else; a result is
// repeated until the gateway says that it came (DESIGN section 4, rule 6).
//
// Thread rules: see Core.
#pragma once

#include <optional>
#include <vector>

#include "model/sampler/sampler.h"
#include "runtime/chain/receiving_core.h"

namespace catena {

struct HeadCoreOptions {
  int64_t row_bytes = 0;
  int64_t vocab_size = 0;
  int64_t max_positions = 0;
  int64_t max_rows = 64;  // of a batch
};

class HeadCore final : public ReceivingCore {
 public:
  explicit HeadCore(const HeadCoreOptions& options)
      : ReceivingCore(options.row_bytes, options.vocab_size), options_(options) {}

  // The rows of the next batch, or null where none wait. REQUIRES: none is running.
  const std::vector<RowRun>* NextBatch(Instant now);
  // Their logits, (rows, vocab_size).
  void Complete(const float* logits, Instant now);

  std::optional<SequenceView> View(const SequenceKey& key);

 private:
  struct Sequence;

  // Messages.
  void OnOther(Incarnation from, ChainMessage& message, Instant now) override;
  absl::Status CheckOpen(const OpenHead& open) const;
  absl::Status Admit(OpenHead open);
  void OnQueued(ReceivingSequence* s, const Step& step) override;
  void OnRenewed(ReceivingSequence* s, int64_t taken, Instant now) override;
  int64_t Length(const ReceivingSequence& s) const override { return s.inbox.begin(); }
  bool Runnable(const ReceivingSequence& s) const override;
  int64_t Forget(ReceivingSequence* s, int64_t position) override;
  int64_t RunnableRows(const Sequence& s) const;

  // Results.
  absl::Status TakeRow(Sequence* s, int64_t position, const float* logits, Instant now);
  absl::StatusOr<SampledToken> Score(const Sequence& s, int64_t position,
                                     absl::Span<const float> logits) const;
  void Collect(const Token& token);
  void SendTokens();

  HeadCoreOptions options_;
  SamplerScratch scratch_;
  std::vector<RowRun> batch_;
  struct Span {
    int64_t first_position;  // of its rows
    int64_t rows;
  };
  std::vector<Span> spans_;  // of running_
  int64_t batch_rows_ = 0;
  std::vector<int32_t> popped_;                         // scratch
  std::vector<std::pair<Incarnation, Tokens>> tokens_;  // being put together
};

}  // namespace catena
