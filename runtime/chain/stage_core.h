// The core of a shard: which steps it accepts, which it runs together, where the rows go. It knows
// nothing of models: rows are bytes, the KV cache is behind StageMemory.
//
// Between NextBatch and Complete messages may come (a simulation, later a GPU, computes beside
// them); what they do to a sequence that is running takes effect at Complete.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "runtime/chain/core.h"
#include "runtime/chain/inbox.h"
#include "runtime/chain/journal.h"
#include "runtime/chain/limits.h"
#include "runtime/chain/outbox.h"
#include "runtime/chain/prefill_budget.h"
#include "runtime/chain/replica_info.h"
#include "runtime/chain/sequence_table.h"

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

class StageCore : public Core {
 public:
  // `memory` outlives this.
  StageCore(const StageCoreOptions& options, StageMemory* memory);

  void Receive(Incarnation from, Lane lane, ChainMessage message, Instant now) override;
  void Disconnected(Incarnation, const absl::Status&, Instant) override {}
  void Tick(Instant now) override;
  std::optional<Instant> WakeAt() const override;

  // The next batch to run, or null where there is nothing to do. REQUIRES: none is running.
  const StageBatch* NextBatch(Instant now);
  // The running batch's output, (rows, row_bytes).
  void Complete(const char* rows, Instant now);
  // It could not be run: its sequences end with `why`.
  void Fail(const absl::Status& why, Instant now);

  int64_t row_bytes() const { return options_.row_bytes; }
  // Sequences, queue, journal, batches; the KV pool's figures are the caller's.
  ReplicaLoad load(Instant now) const;
  std::optional<SequenceView> View(const SequenceKey& key);

 private:
  struct Sequence {
    Sequence(const OpenStage& open, uint64_t memory_id, const StageCoreOptions& options,
             JournalBudget* budget);
    OpenStage open;
    uint64_t id;  // in StageMemory
    Inbox inbox;  // begin(): positions given to a batch
    Outbox outbox;
    Journal journal;           // from rows_from on
    int64_t rows_from;         // first position whose row the next stage wants
    int64_t length = 0;        // positions computed
    std::vector<int32_t> ids;  // of [0, length)
    int64_t acknowledged = 0;  // length as last told upstream
    Incarnation upstream = 0;
    bool owes_lengths = false;  // bulk rows came: upstream waits for their end
    bool running = false;
    bool closed = false;            // while it ran
    std::optional<int64_t> rewind;  // to there, once it has run
    bool ready = false;             // in ready_
    bool decodes() const { return length >= open.prompt_length; }
  };

  // Messages.
  void On(Incarnation from, Lane lane, OpenStage& open, Instant now);
  void On(Incarnation from, Lane lane, Close& close, Instant now);
  void On(Incarnation from, Lane lane, Heartbeat& heartbeat, Instant now);
  void On(Incarnation from, Lane lane, Steps& steps, Instant now);
  void On(Incarnation from, Lane lane, SentLengths& sent, Instant now);
  void On(Incarnation from, Lane lane, Lengths& lengths, Instant now);
  void On(Incarnation from, Lane lane, NeedFrom& need, Instant now);
  // What only a gateway receives.
  template <class M>
  void On(Incarnation, Lane, M&, Instant) {}

  absl::Status CheckOpen(const OpenStage& open) const;
  void TakeStep(Incarnation from, Lane lane, Step& step, const Steps& steps, size_t offset,
                Instant now);
  // Whether a message about `life` is of the sequence as it is; a newer round rolls it back first.
  bool IsCurrent(Sequence* s, const Life& life, int64_t position);
  void CloseSequence(const SequenceKey& key);
  void RewindTo(Sequence* s, int64_t position);
  void SetLength(Sequence* s, int64_t length);
  void MarkReady(Sequence* s);
  void AskUpstream(Sequence* s, Instant now);

  // Batches.
  void AddDecodes();
  void AddPrefill();
  void AddSpan(Sequence* s, int64_t rows);
  int64_t RunnableRows(const Sequence& s) const;
  bool IsDecode(const Sequence& s) const;

  // After a batch.
  void AppendRows(Sequence* s, const StageBatch::Span& span, const char* rows);
  void FinishRun();
  void Acknowledge(Sequence* s);
  void EvictJournals();

  // Rows to the next stage, those of several sequences in one message.
  struct Collected {
    Incarnation to;
    Lane lane;
    Steps steps;
    std::shared_ptr<std::string> rows;
    int64_t n_positions = 0;
  };
  void Flush(Sequence* s);
  Collected* CollectFor(Incarnation to, Lane lane);
  void SendCollected();

  StageCoreOptions options_;
  StageMemory* memory_;
  JournalBudget budget_;
  SequenceTable<Sequence> table_;
  Instant tick_at_{};
  std::deque<Sequence*> ready_;  // have queued rows, oldest first
  uint64_t next_id_ = 1;
  int64_t decoding_ = 0;  // open sequences past their prompt
  PrefillBudget prefill_;

  StageBatch batch_;
  std::vector<Sequence*> running_;                  // whose the spans are
  std::vector<std::unique_ptr<Sequence>> closing_;  // closed while they run
  std::vector<Refused> starved_;                    // of them the batch has no memory
  int64_t decode_rows_ = 0;                         // of the batch
  Instant started_{};

  std::vector<Collected> collected_;
  std::vector<std::pair<Incarnation, Lengths>> acknowledgements_;
  uint64_t batches_ = 0;
  int64_t rows_done_ = 0;
  int64_t divergences_ = 0;
};

}  // namespace catena
