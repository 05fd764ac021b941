// The core of a shard: which steps it accepts, which it runs together, where the rows go. It knows
// nothing of models: rows are bytes, the KV cache is behind StageMemory.
//
// Thread rules: see Core.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "runtime/chain/inbox.h"
#include "runtime/chain/journal.h"
#include "runtime/chain/muster.h"
#include "runtime/chain/outbox.h"
#include "runtime/chain/prefill_budget.h"
#include "runtime/chain/receiving_core.h"

namespace catena {

// A stage's KV cache as its core needs it. Implemented by Stage and by the simulation's toy.
class StageMemory {
 public:
  virtual ~StageMemory() = default;
  // A new sequence that may come to have `max_length` positions: room for them is set aside.
  // RESOURCE_EXHAUSTED where there is none now, INVALID_ARGUMENT where there never is.
  virtual absl::Status Open(uint64_t id, int rotary, int64_t max_length) = 0;
  // Makes the next positions, up to `length`, ready to be written.
  virtual absl::Status Extend(uint64_t id, int64_t length) = 0;
  // Forgets positions from `length` on. FAILED_PRECONDITION where the sequence must be computed
  // from an earlier position; 0 always works.
  virtual absl::Status Truncate(uint64_t id, int64_t length) = 0;
  virtual void Close(uint64_t id) = 0;
};

// Positions that run together.
struct StageBatch {
  struct Span {
    uint64_t id = 0;  // as StageMemory knows it
    int64_t first_position = 0;
    int64_t rows = 0;
  };
  std::vector<Span> spans;
  std::vector<int32_t> ids;   // of all spans
  std::vector<RowRun> input;  // rows of all spans, in order; none at the first stage
  int64_t rows() const { return static_cast<int64_t>(ids.size()); }
};

struct StageCoreOptions {
  bool first = false;     // takes ids and no rows
  int64_t row_bytes = 0;  // of a residual row
  int64_t vocab_size = 0;
  int64_t max_rows = 512;  // of a batch
  int64_t max_positions = 0;
  int64_t journal_bytes = 0;  // kept; what windows allow to be in flight comes on top
};

class StageCore final : public ReceivingCore {
 public:
  // `memory` outlives this.
  StageCore(const StageCoreOptions& options, StageMemory* memory);
  ~StageCore() override { Clear(); }

  void Disconnected(Incarnation peer, const absl::Status& why, Instant now) override;

  // The next batch to run, or null where there is nothing to do. REQUIRES: none is running.
  const StageBatch* NextBatch(Instant now);
  // The running batch's output, (rows, row_bytes).
  void Complete(const char* rows, Instant now);
  // It could not be run: its sequences end with `why`.
  void Fail(const absl::Status& why, Instant now);

  // The KV pool's figures are the caller's.
  ReplicaLoad load(Instant now) const override;
  std::optional<SequenceView> View(const SequenceKey& key);

 private:
  struct Sequence;
  // Rows to the next stage, those of several sequences in one message.
  struct Collected {
    Incarnation to;
    Lane lane;
    Steps steps;
    std::shared_ptr<std::string> rows;
    int64_t n_positions = 0;
  };

  // A link to a next stage, from which nothing has come since.
  struct Broken {
    Instant until;  // it is waited for
    absl::Status why;
  };

  // Messages.
  void OnOther(Incarnation from, ChainMessage& message, Instant now) override;
  void On(Incarnation from, const OpenStage& open, Instant now);
  void On(Incarnation from, const Lengths& lengths);
  void On(Incarnation from, const NeedFrom& need, Instant now);
  absl::Status CheckOpen(const OpenStage& open) const;

  void OnQueued(ReceivingSequence* s, const Step& step) override;
  void OnTick(Instant now) override;
  void EndBroken(Instant now);
  int64_t Length(const ReceivingSequence& s) const override;
  bool Runnable(const ReceivingSequence& s) const override;
  int64_t Forget(ReceivingSequence* s, int64_t position) override;
  void RollBack(ReceivingSequence* s, int64_t position) override;
  void Free(ReceivingSequence* s) override;
  void SetLength(Sequence* s, int64_t length);

  // Batches.
  std::optional<Instant> Postponed() const override { return held_until_; }
  void HoldDecodes(Instant now);
  void AddDecodes();
  void AddPrefill();
  void AddSpan(Sequence* s, int64_t rows);
  int64_t RunnableRows(const Sequence& s) const;
  bool IsDecode(const Sequence& s) const;
  void AppendRows(Sequence* s, const StageBatch::Span& span, const char* rows);
  void EvictJournals();

  void Flush(Sequence* s);
  Collected* CollectFor(Incarnation to, Lane lane);
  void SendCollected();

  StageCoreOptions options_;
  StageMemory* memory_;
  JournalBudget budget_;
  std::map<Incarnation, Broken> broken_;
  uint64_t next_id_ = 1;
  int64_t decoding_ = 0;  // open sequences past their prompt
  PrefillBudget prefill_;
  std::set<Incarnation> held_;         // next hops whose decodes wait for company,
  std::optional<Instant> held_until_;  // until then at most

  StageBatch batch_;
  std::vector<Refused> starved_;  // of them the batch has no memory
  int64_t decode_rows_ = 0;       // of the batch
  std::vector<Collected> collected_;
};

}  // namespace catena
