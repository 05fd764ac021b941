// The core of a shard: which steps it accepts, which it runs together, where the rows go. It knows
// nothing of models: rows are bytes, the KV cache is behind StageMemory.
//
//   ReceivingEnd ─▶ BatchPlanner ─▶ StageBatch ─▶ (the stage) ─▶ Complete ─▶ StepSender ─▶ next
//
// Thread rules: see Core.
#pragma once

#include <optional>
#include <set>
#include <vector>

#include "runtime/chain/batch_planner.h"
#include "runtime/chain/edge_watch.h"
#include "runtime/chain/journal.h"
#include "runtime/chain/receiving_end.h"
#include "runtime/chain/stage_memory.h"
#include "runtime/chain/stage_sequence.h"
#include "runtime/chain/step_sender.h"

namespace catena {

// Positions that run together.
struct StageBatch {
  struct Span {
    uint64_t id = 0;  // as StageMemory knows it
    int64_t first_position = 0;
    int64_t rows = 0;
  };
  std::vector<Span> spans;
  std::vector<int32_t> ids;  // of all spans
  // Rows of all spans, in order; none at the first stage. Theirs until the batch is done.
  std::vector<RowRun> input;
  int64_t rows() const { return static_cast<int64_t>(ids.size()); }
};

struct StageCoreOptions {
  bool first = false;     // takes ids and no rows
  int64_t row_bytes = 0;  // of a residual row
  int64_t vocab_size = 0;
  int64_t max_rows = 512;  // of a batch
  int64_t max_positions = 0;
  int64_t journal_bytes = 0;  // kept; what windows allow to be in flight comes on top
  limits::DetectionLimits detection{};
};

class StageCore final : public Core {
 public:
  // `memory` outlives this.
  StageCore(const StageCoreOptions& options, StageMemory* memory);

  void Receive(Incarnation from, Lane lane, ChainMessage message, Instant now) override;
  void Connected(Incarnation peer, Instant now) override;
  void Disconnected(Incarnation peer, const absl::Status& why, Instant now) override;
  void Tick(Instant now) override;
  std::optional<Instant> WakeAt() const override;

  // The next batch to run, or null where there is nothing to do. REQUIRES: none is running.
  const StageBatch* NextBatch(Instant now);
  // The running batch's output, (rows, row_bytes). Messages may have come meanwhile.
  void Complete(const char* rows, Instant now);
  // It could not be run: its sequences end with `why`.
  void Fail(const absl::Status& why, Instant now);

  // From here on no new sequences are taken, and those that are here had better leave.
  void Drain();
  bool draining() const { return receiving_.draining(); }
  // Ends all sequences, telling their gateways why.
  void EndAll(const absl::Status& why) { receiving_.EndAll(why); }
  // The links to next stages that are broken now.
  std::vector<Edge> broken_edges() const { return edges_.Broken(); }

  int64_t row_bytes() const { return options_.row_bytes; }
  // Nothing that has come could be run now.
  bool idle() const { return receiving_.queue().idle(); }
  // The KV pool's figures are the caller's.
  ReplicaLoad load(Instant now) const;
  // Since when the oldest step that could run has waited.
  std::optional<Instant> oldest_step() const { return receiving_.queue().OldestStep(); }
  const StageCounters& counters() const { return receiving_.counters(); }
  std::optional<SequenceView> View(const SequenceKey& key);

 private:
  // Messages.
  void On(Incarnation from, const OpenStage& open, Instant now);
  void On(Incarnation from, const Go& go, Instant now);
  void On(Incarnation from, const Lengths& lengths, Instant now);
  void On(Incarnation from, const NeedFrom& need, Instant now);
  absl::Status CheckOpen(const OpenStage& open) const;
  absl::Status OpenMemory(const OpenStage& open, uint64_t id);
  absl::Status Admit(const OpenStage& open, Instant now);
  absl::Status Install(StageSequence* s, const OpenStage& open, Instant now);
  void Answer(StageSequence* s, const Heartbeat::Entry& entry);
  // What the next stage may be sent; what the journal lacks of it is made again first.
  void CollectSteps(StageSequence* s, Instant now);

  // Edges.
  absl::Status CheckEdge(const Replica& next, Instant now);
  void Announce(StageSequence* s);
  void SendCondition();

  // Time.
  void SendSentLengths();

  // Batches.
  void AddSpan(const BatchPlanner::Part& part, std::vector<Refused>* failed);
  absl::Status Extend(StageSequence* s, int64_t length);
  StageSequence* NewestBehind(const OpenStage& open);
  void MakePlace(StageSequence* s);
  void EvictJournals();
  void SendSteps() { steps_.SendTo(output(), static_cast<uint64_t>(receiving_.queue().batches())); }

  StageCoreOptions options_;
  StageMemory* memory_;
  uint64_t next_memory_id_ = 1;
  JournalBudget journals_;
  ReceivingEnd<StageSequence> receiving_;  // its sequences use what is above
  BatchPlanner planner_;
  StepSender steps_;
  EdgeWatch edges_;
  Instant tick_at_{};
  int64_t decode_rows_ = 0, prefill_rows_ = 0;  // of the batch
  std::vector<BatchPlanner::Part> parts_;       // planned for it,
  std::set<const StageSequence*> gone_;         // and those of them that made place
  StageBatch batch_;
};

}  // namespace catena
