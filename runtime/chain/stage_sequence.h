// A sequence at a shard: what comes for it, what is computed of it, what goes on.
//
//   Intake ─ a batch ─▶ length(), KV in StageMemory ─▶ Journal ─▶ Outbox ─ Steps ─▶ the next stage
//
// Thread rules: plain state, one thread at a time.
#pragma once

#include <algorithm>
#include <optional>
#include <vector>

#include "absl/types/span.h"

#include "model/sampler/sampling_limits.h"
#include "runtime/chain/core.h"
#include "runtime/chain/intake.h"
#include "runtime/chain/journal.h"
#include "runtime/chain/outbox.h"
#include "runtime/chain/round_trip.h"
#include "runtime/chain/stage_memory.h"

namespace catena {

struct StageSequenceOptions {
  bool first = false;     // of the chain: takes ids and no rows
  int64_t row_bytes = 0;  // of a residual row
};

struct StageSequence {
  // Rows of one sequence that still count as a decode: one, and those that speculation proposes.
  static constexpr int64_t kMaxDecodeRows = 1 + kMaxDrafts;

  // `memory_id` is open in `memory`, and closed with this. `memory` and `budget` outlive this.
  StageSequence(const OpenStage& open, uint64_t memory_id, const StageSequenceOptions& options,
                StageMemory* memory, JournalBudget* budget);
  ~StageSequence();
  StageSequence(const StageSequence&) = delete;
  StageSequence& operator=(const StageSequence&) = delete;

  // As ReceivingSequence (receiving_end.h) says.
  int64_t Length() const { return length_; }
  bool Runnable() const { return RunnableRows() > 0; }
  void Queued(const Step& step);
  void BeginRound(int64_t position) {
    outbox.BeginRound(intake.life.round, position);
    once_ = std::min(once_, position);
  }
  int64_t Forget(int64_t position);
  // Of another route from here on, which `again` names. Nothing goes on until Go.
  void EnterEpoch(const OpenStage& again);
  void Go(const catena::Go& go);

  Incarnation next() const { return open.next.incarnation; }
  uint64_t memory_id() const { return memory_id_; }
  const std::vector<int32_t>& ids() const { return ids_; }

  // Its prompt is done.
  bool decodes() const { return length_ >= open.prompt_length; }
  // What is queued is its next token and guesses.
  bool HasDecodeQueued() const;
  // What is queued was computed before.
  bool HasReplayQueued() const { return intake.inbox.begin() < once_; }
  // It decodes, and what it sent has not come round yet.
  bool is_away() const { return decodes() && intake.inbox.empty() && !intake.running(); }
  // Positions that may be sent on: those that are computed, and of this round.
  int64_t sendable_end() const { return std::min(length_, intake.rewind.value_or(length_)); }
  // The first position whose row the next stage is to be sent and the journal lacks, or has not
  // kept as it was, if any: from there on they must be made again.
  std::optional<int64_t> MissingRow() const;
  // Queued rows that the next stage has room for.
  int64_t RunnableRows() const;
  // The next positions are computed: their ids, and their rows one after another. How many of them
  // had been computed before.
  int64_t Append(absl::Span<const int32_t> ids, const char* rows, Instant now);
  // Forgets some of the oldest rows; false where all are needed: the next stage has yet to receive
  // them. One that lags behind by more than its window is made again, and gets them made again.
  bool DropOldestRows() {
    const int64_t received = std::min(outbox.peer_length(), outbox.cursor());
    return journal.DropOldest(std::max(received, length_ - open.window_rows));
  }
  SequenceView View() const;

  Intake intake;
  OpenStage open;           // next and decode_groups are those of its route now
  const int64_t rows_from;  // first position whose row the next stage wants
  Outbox outbox;
  Journal journal;         // from rows_from on
  bool announced = false;  // its gateway was told that it is open
  Instant left{};          // when its last positions were computed
  RoundTrip round_trip;

 private:
  const uint64_t memory_id_;
  const int64_t row_bytes_;
  StageMemory* const memory_;
  int64_t length_ = 0;        // positions computed
  int64_t once_ = 0;          // positions of this round that ever were, here or elsewhere
  std::vector<int32_t> ids_;  // of them
};

}  // namespace catena
