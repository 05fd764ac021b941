#include "runtime/chain/stage_sequence.h"

#include <algorithm>

#include "runtime/chain/planted.h"
#include "runtime/chain/reached.h"

namespace catena {

StageSequence::StageSequence(const OpenStage& o, uint64_t memory_id,
                             const StageSequenceOptions& options, StageMemory* memory,
                             JournalBudget* budget)
    : intake(o, {.rows_from = options.first ? o.max_length : 0,
                 .row_bytes = options.row_bytes,
                 .max_length = o.max_length,
                 .window = options.first ? o.max_length : o.window_rows}),
      open(o),
      rows_from(o.next_is_head ? o.first_wanted : 0),
      outbox(o.window_rows),
      journal(rows_from, options.row_bytes, budget),
      memory_id_(memory_id),
      row_bytes_(options.row_bytes),
      memory_(memory) {
  if (open.life.epoch > 0) outbox.Stop();
}

StageSequence::~StageSequence() {
  if (CATENA_PLANTED(kMemoryIsKept) && intake.closed) return;
  memory_->Close(memory_id_);
}

void StageSequence::Queued(const Step&) {
  const Inbox& inbox = intake.inbox;
  if (decodes() && inbox.begin() == length_) round_trip.Returned(left, inbox.since());
}

int64_t StageSequence::Forget(int64_t position) {
  int64_t to = std::min(position, length_);
  if (!memory_->Truncate(memory_id_, to).ok()) {
    CATENA_REACHED(kTruncatedPastTheWindow);
    to = 0;  // what earlier positions see has slid out of the window
    CATENA_CHECK(memory_->Truncate(memory_id_, 0).ok());
  }
  length_ = to;
  ids_.resize(static_cast<size_t>(to));
  const bool kept = journal.begin() <= to && to <= journal.end();
  if (CATENA_PLANTED(kJournalOutlivesItsRows) && kept) return to;
  kept ? journal.Truncate(to) : journal.Restart(std::max(to, rows_from));
  return to;
}

// The request is the same, and whether a head is next follows from the stage's layers.
void StageSequence::EnterEpoch(const OpenStage& again) {
  if (!CATENA_PLANTED(kOldRouteStays)) open.next = again.next;
  open.decode_groups = again.decode_groups;
  announced = false;
  outbox.Stop();
}

void StageSequence::Go(const catena::Go& go) {
  outbox.Start(intake.life.round, std::clamp<int64_t>(go.next_length, 0, open.max_length));
  once_ = std::max(once_, std::min(go.replay_end, open.max_length));
}

bool StageSequence::HasDecodeQueued() const {
  return intake.inbox.begin() >= open.prompt_length && intake.inbox.queued() <= kMaxDecodeRows;
}

std::optional<int64_t> StageSequence::MissingRow() const {
  const int64_t row = std::max(outbox.cursor(), rows_from);
  if (row >= sendable_end()) return std::nullopt;
  if (row < journal.begin()) return row;
  // What is sent for the first time is looked at by the next stage.
  const int64_t again = std::min({outbox.sent(), sendable_end(), outbox.window_end()});
  return row < again ? journal.FirstCorrupt(row, again) : std::nullopt;
}

int64_t StageSequence::RunnableRows() const {
  const int64_t room = outbox.window_end() - intake.inbox.begin();
  if (room < intake.inbox.queued()) CATENA_REACHED(kWindowHoldsRowsBack);
  return std::min(intake.inbox.queued(), room);
}

int64_t StageSequence::Append(absl::Span<const int32_t> ids, const char* rows, Instant now) {
  const int64_t replayed = std::clamp<int64_t>(once_ - length_, 0, std::ssize(ids));
  ids_.insert(ids_.end(), ids.begin(), ids.end());
  for (size_t i = 0; i < ids.size(); ++i, ++length_, rows += row_bytes_) {
    if (length_ >= rows_from) journal.Append(rows);
  }
  left = now;
  once_ = std::max(once_, length_);
  return replayed;
}

SequenceView StageSequence::View() const {
  return {.life = intake.life,
          .length = length_,
          .queued_end = intake.inbox.end(),
          .cursor = outbox.cursor(),
          .journal_begin = journal.begin(),
          .window_end = outbox.window_end()};
}

}  // namespace catena
