// The receiving end of a stage: the sequences that are open, the steps that come for them, in order
// and each once, the questions for what is missing, what upstream is told, and the leases that end
// them. A shard's and a head's core have one each and add what is done with the steps.
//
//   upstream ─ Steps ─▶ Intake::inbox ─▶ BatchQueue ─▶ a batch ─▶ Finished ─▶ Lengths ─▶ upstream
//                          └─ NeedFrom ─▶ upstream
//
// Between a batch's start and its end messages may come (a simulation, later a GPU, computes beside
// them); what they do to a sequence that is running takes effect when the batch is done.
//
// Thread rules: plain state, one thread at a time.
#pragma once

#include <algorithm>
#include <concepts>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "runtime/chain/acknowledgements.h"
#include "runtime/chain/batch_queue.h"
#include "runtime/chain/core.h"
#include "runtime/chain/error_facts.h"
#include "runtime/chain/intake.h"
#include "runtime/chain/limits.h"
#include "runtime/chain/planted.h"
#include "runtime/chain/reached.h"
#include "runtime/chain/replica_info.h"
#include "runtime/chain/sequence_table.h"
#include "runtime/chain/stage_counters.h"

namespace catena {

// A sequence at a stage. Its destructor gives back all that it holds.
template <class S>
concept ReceivingSequence = requires(S s, const S& c, const Step& step, int64_t position) {
  { s.intake } -> std::same_as<Intake&>;
  // Positions whose work is done.
  { c.Length() } -> std::same_as<int64_t>;
  // Whether some of its queue could be run now.
  { c.Runnable() } -> std::same_as<bool>;
  // New positions of `step` were queued.
  {s.Queued(step)};
  // A new round, intake.life's: positions from there on may be others, also those sent on.
  {s.BeginRound(position)};
  // Forgets positions from there on, or from an earlier one where it must, which it returns.
  // REQUIRES: it is not running.
  { s.Forget(position) } -> std::same_as<int64_t>;
};

template <ReceivingSequence S>
class ReceivingEnd {
 public:
  struct Options {
    int64_t row_bytes = 0;
    int64_t vocab_size = 0;
    Nanoseconds lease{};  // of what a gateway opened, from when it last spoke
  };
  // `output` outlives this.
  ReceivingEnd(const Options& options, CoreOutput* output) : options_(options), output_(output) {}
  ReceivingEnd(const ReceivingEnd&) = delete;
  ReceivingEnd& operator=(const ReceivingEnd&) = delete;

  const SequenceTable<S>& table() const { return table_; }
  BatchQueue<S>& queue() { return queue_; }
  const BatchQueue<S>& queue() const { return queue_; }

  // --- which sequences are open ---
  S* Find(const SequenceKey& key) { return table_.Find(key); }
  // Whether one more may be opened. Once nothing new is taken (Drain): UNAVAILABLE.
  absl::Status CheckRoom() const;
  // Whether a sequence that may be what makes stages fail may be here: where another one that may
  // is not, whosever it is, so that it is known which of them does. UNAVAILABLE, kAwaitsTrial.
  // `open`: an OpenStage or OpenHead.
  template <class Open>
  absl::Status CheckTrial(const Open& open) const;
  void Drain() { draining_ = true; }
  bool draining() const { return draining_; }
  // REQUIRES: its key is not open.
  S* Insert(std::unique_ptr<S> s, Instant now) {
    const SequenceKey key = s->intake.key;
    counters_.clock.Set(true, !queue_.running().empty(), now);
    SetTrial(s->intake);
    return table_.Insert(key, std::move(s), now);
  }
  void Renew(Incarnation gateway, Instant now) { table_.Renew(gateway, now); }
  // A newer round of it: positions from `begin` on may be others than those that are here.
  void EnterRound(S* s, uint32_t round, int64_t begin);
  // It is of another route from here on: its steps come from open.upstream. What it has computed
  // stays, what is queued will come again.
  template <class Open>
  void EnterEpoch(S* s, const Open& open);
  // Again, or for one that is not open: does nothing.
  void Close(const SequenceKey& key);
  // Tells the gateway that a sequence cannot be, or not go on so. What is open stays so: whether to
  // close it is the gateway's to say.
  void Refuse(const SequenceKey& key, const Life& life, const absl::Status& why) {
    output_->Send(key.gateway, Lane::kControl, Refused{key, life, why, draining_});
  }
  // Tells it that one is no more.
  void End(const SequenceKey& key, const Life& life, const absl::Status& why) {
    Refuse(key, life, why);
    Close(key);
  }
  // Ends all.
  void EndAll(const absl::Status& why);
  template <class Fn>
  void ForEach(const Fn& fn) {
    table_.ForEach(fn);
  }

  // --- what comes ---
  void Receive(Incarnation from, const catena::Close& close) {
    if (close.sequence.gateway == from) Close(close.sequence);
  }
  // Closes what it does not name, and calls `named` for each entry whose sequence is open, which it
  // says of those that are not.
  template <class Fn>
  void Receive(Incarnation from, const Heartbeat& heartbeat, Instant now, const Fn& named);
  void Receive(Incarnation from, Lane lane, const Steps& steps, Instant now);
  void Receive(Incarnation from, const SentLengths& sent, Instant now);
  // Once a heartbeat: asks again, ends leases.
  void Tick(Instant now);

  // --- work ---
  // The sequence goes back to `position`, now or once it has run, and upstream is asked for it.
  void RewindTo(S* s, int64_t position, Instant now);
  // The batch of queue().running() is done. What waited for its end is done now.
  void Finished(int64_t rows, Instant now);

  // Sequences, queue and batches.
  ReplicaLoad load(Instant now) const;
  StageCounters& counters() { return counters_; }
  const StageCounters& counters() const { return counters_; }

 private:
  void ReceiveStep(Incarnation from, Lane lane, const Step& step, const Steps& steps, size_t offset,
                   Instant now);
  static RowFault FaultOf(RowFault::Kind kind, const Intake& intake, const Step& step) {
    return {.kind = kind,
            .sequence = intake.public_id,
            .key = intake.key,
            .from = intake.upstream,
            .begin = step.position,
            .end = step.end()};
  }
  void SetTrial(const Intake& intake);
  bool EnterLife(S* s, const Step& step);
  bool HasKnownIds(const Step& step) const;
  void GoBack(S* s, int64_t position);
  void Ask(S* s, Instant now);
  void Acknowledge(S* s) { acknowledgements_.Add(&s->intake, s->Length()); }

  const Options options_;
  CoreOutput* const output_;
  SequenceTable<S> table_;
  StageCounters counters_;
  BatchQueue<S> queue_{&counters_};
  std::vector<std::unique_ptr<S>> closing_;  // closed while they run
  Acknowledgements acknowledgements_;
  std::optional<SequenceKey> trial_;  // who is here, and may be what makes stages fail
  bool draining_ = false;
  int64_t rows_done_ = 0;
};

// --- which sequences are open ---

template <ReceivingSequence S>
void ReceivingEnd<S>::Close(const SequenceKey& key) {
  S* s = table_.Find(key);
  if (s == nullptr) return;
  std::unique_ptr<S> owned = table_.Extract(key);
  s->intake.closed = true;
  if (table_.size() == 0) counters_.clock.Emptied();
  if (s->intake.running()) {
    CATENA_REACHED(kClosedWhileRunning);
    closing_.push_back(std::move(owned));  // it may yet be what kills this stage
  } else {
    queue_.Remove(s);
    if (trial_ == key) trial_.reset();
  }
}

template <ReceivingSequence S>
absl::Status ReceivingEnd<S>::CheckRoom() const {
  if (draining_) {
    return WithReason(absl::UnavailableError("it is draining and takes no new requests"),
                      ErrorReason::kDraining);
  }
  if (table_.size() >= limits::kMaxOpenSequences) {
    return WithReason(absl::ResourceExhaustedError(
                          fmt::format("it has {} open sequences, its limit", table_.size())),
                      ErrorReason::kTooManyCalls);
  }
  return absl::OkStatus();
}

template <ReceivingSequence S>
template <class Open>
absl::Status ReceivingEnd<S>::CheckTrial(const Open& open) const {
  const bool may = open.trial_end == 0 || !trial_ || *trial_ == open.sequence;
  if (may || CATENA_PLANTED(kSuspectsRunTogether)) return absl::OkStatus();
  return WithReason(
      absl::UnavailableError("stages failed again and again while they computed it, "
                             "and another request of which that is so is tried first"),
      ErrorReason::kAwaitsTrial);
}

template <ReceivingSequence S>
void ReceivingEnd<S>::SetTrial(const Intake& intake) {
  if (intake.trial_end > 0) {
    trial_ = intake.key;
  } else if (trial_ == intake.key) {
    CATENA_REACHED(kTrialIsOver);
    trial_.reset();
  }
}

template <ReceivingSequence S>
void ReceivingEnd<S>::EndAll(const absl::Status& why) {
  std::vector<std::pair<SequenceKey, Life>> all;
  table_.ForEach([&](const S* s) { all.emplace_back(s->intake.key, s->intake.life); });
  for (const auto& [key, life] : all) End(key, life, why);
}

template <ReceivingSequence S>
template <class Open>
void ReceivingEnd<S>::EnterEpoch(S* s, const Open& open) {
  Intake& intake = s->intake;
  intake.life.epoch = open.life.epoch;
  intake.upstream = open.upstream;
  intake.trial_end = open.trial_end;
  SetTrial(intake);
  // Whoever sends from here on is to hear soon which round was seen, and how far it came.
  intake.told = ToldLength(s->Length(), intake.told.window());
  intake.told.OweNews();
  if (intake.running()) CATENA_REACHED(kEpochWhileRunning);
  GoBack(s, intake.inbox.begin());
}

template <ReceivingSequence S>
template <class Fn>
void ReceivingEnd<S>::Receive(Incarnation from, const Heartbeat& heartbeat, Instant now,
                              const Fn& named) {
  table_.Renew(from, now);
  for (const SequenceKey& key : table_.Unnamed(from, heartbeat)) {
    CATENA_REACHED(kHeartbeatForgets);
    Close(key);
  }
  for (const Heartbeat::Entry& entry : heartbeat.open) {
    if (entry.sequence.gateway != from) continue;
    if (S* s = table_.Find(entry.sequence)) {
      named(s, entry);
    } else {
      CATENA_REACHED(kHeartbeatOfUnknown);
      output_->Send(from, Lane::kControl, Unknown{entry.sequence, entry.life});
    }
  }
}

template <ReceivingSequence S>
void ReceivingEnd<S>::Tick(Instant now) {
  // A question, or its answer, may have been lost.
  table_.ForEach([&](S* s) {
    if (!s->intake.inbox.asking()) return;
    CATENA_REACHED(kQuestionIsOpenAtTick);
    Ask(s, now);
  });
  for (const SequenceKey& key : table_.Expired(now, options_.lease)) {
    if (CATENA_PLANTED(kLeaseNeverEnds)) continue;
    CATENA_REACHED(kLeaseExpires);
    Close(key);
  }
}

// --- steps ---

template <ReceivingSequence S>
void ReceivingEnd<S>::Receive(Incarnation from, Lane lane, const Steps& steps, Instant now) {
  int64_t rows = 0;
  for (const Step& step : steps.steps) rows += step.rows();
  const size_t bytes = steps.rows == nullptr ? 0 : steps.rows->size();
  if (bytes != static_cast<size_t>(rows * options_.row_bytes)) return;  // a broken peer
  size_t offset = 0;
  for (const Step& step : steps.steps) {
    ReceiveStep(from, lane, step, steps, offset, now);
    offset += static_cast<size_t>(step.rows() * options_.row_bytes);
  }
  acknowledgements_.SendTo(output_);
}

template <ReceivingSequence S>
void ReceivingEnd<S>::ReceiveStep(Incarnation from, Lane lane, const Step& step, const Steps& steps,
                                  size_t offset, Instant now) {
  S* s = table_.Find(step.sequence);
  if (s == nullptr) {
    CATENA_REACHED(kStepOfUnknown);
    return output_->Send(step.sequence.gateway, Lane::kControl, Unknown{step.sequence, step.life});
  }
  Intake& intake = s->intake;
  if (from != intake.upstream || !HasKnownIds(step) || !EnterLife(s, step)) return;
  if (intake.rewind) {  // the running batch's end asks for what it needs
    CATENA_REACHED(kStepWhileGoingBack);
    return;
  }
  switch (intake.inbox.Take(step, steps.rows, offset, steps.batch, lane, now)) {
    case Inbox::Result::kQueued:
      if (lane == Lane::kBulk) intake.told.OweNews();
      // It holds a token that was sampled since: no stage failed for it.
      if (intake.trial_end > 0 && step.end() > intake.trial_end) {
        intake.trial_end = 0;
        SetTrial(intake);
      }
      s->Queued(step);
      queue_.Add(s);
      Acknowledge(s);
      break;
    case Inbox::Result::kGap:
      CATENA_REACHED(kStepLeavesGap);
      Ask(s, now);
      break;
    case Inbox::Result::kDiverged:
      counters_.row_faults.Add(FaultOf(RowFault::Kind::kCameTwice, intake, step));
      Refuse(intake.key, intake.life,
             WithReason(absl::DataLossError(fmt::format(
                            "the rows of positions {} to {} came twice, with other bits",
                            step.position, step.end())),
                        ErrorReason::kDiverged));
      break;
    case Inbox::Result::kCorrupt:
      CATENA_REACHED(kRowsAreCorrupt);
      counters_.row_faults.Add(FaultOf(RowFault::Kind::kCameCorrupt, intake, step));
      Ask(s, now);
      break;
    case Inbox::Result::kDuplicate:
      CATENA_REACHED(kStepIsDuplicate);
      break;
    case Inbox::Result::kMalformed:
      break;
  }
}

template <ReceivingSequence S>
bool ReceivingEnd<S>::HasKnownIds(const Step& step) const {
  return std::all_of(step.ids.begin(), step.ids.end(),
                     [this](int32_t id) { return 0 <= id && id < options_.vocab_size; });
}

// Whether a step is of the sequence as it is; one of a newer round makes it so.
template <ReceivingSequence S>
bool ReceivingEnd<S>::EnterLife(S* s, const Step& step) {
  Intake& intake = s->intake;
  const bool old_round =
      step.life.round < intake.life.round && !CATENA_PLANTED(kStepsOfOldRoundsCount);
  if (step.life.epoch != intake.life.epoch || old_round) {
    CATENA_REACHED(kStepOfOldRound);
    return false;
  }
  const bool newer = step.life.round > intake.life.round;
  const int64_t begin = std::max<int64_t>(step.round_begin, 0);
  const bool other_rotary = intake.rotary && *intake.rotary != step.rotary;
  if (other_rotary && !(newer && begin == 0)) return false;  // a broken peer
  intake.rotary = step.rotary;
  if (!newer) return true;
  if (other_rotary) CATENA_REACHED(kRoundOfOtherRotary);
  if (begin < step.position) CATENA_REACHED(kRoundBeginsBeforeItsStep);
  EnterRound(s, step.life.round, begin);
  return true;
}

template <ReceivingSequence S>
void ReceivingEnd<S>::EnterRound(S* s, uint32_t round, int64_t begin) {
  Intake& intake = s->intake;
  intake.life.round = round;
  // Until upstream hears that this round was seen, the next ones go back to its beginning.
  intake.told.OweNews();
  s->BeginRound(begin);
  GoBack(s, begin);
}

template <ReceivingSequence S>
void ReceivingEnd<S>::Receive(Incarnation from, const SentLengths& sent, Instant now) {
  for (const auto& [key, life, length] : sent.lengths) {
    S* s = table_.Find(key);
    if (s == nullptr) {
      CATENA_REACHED(kLengthOfUnknown);
      output_->Send(key.gateway, Lane::kControl, Unknown{key, life});
      continue;
    }
    Intake& intake = s->intake;
    if (from != intake.upstream) continue;
    if (life < intake.life || life.epoch > intake.life.epoch) continue;
    // The steps that would have begun a newer round were lost: the answer says so.
    if (life > intake.life) CATENA_REACHED(kLengthOfNewerRound);
    if (life == intake.life && intake.inbox.end() < length) {
      CATENA_REACHED(kLengthShowsLoss);
      Ask(s, now);
    }
    intake.told.Told(s->Length(), false);
    acknowledgements_.Add(from, {key, intake.life, s->Length()});
  }
  acknowledgements_.SendTo(output_);
}

template <ReceivingSequence S>
void ReceivingEnd<S>::Ask(S* s, Instant now) {
  Intake& intake = s->intake;
  auto need = intake.inbox.Ask(intake.key, intake.life, now, limits::kRetry);
  if (need) output_->Send(intake.upstream, kReplyLane, *need);
}

template <ReceivingSequence S>
void ReceivingEnd<S>::RewindTo(S* s, int64_t position, Instant now) {
  GoBack(s, position);
  if (!s->intake.rewind) Ask(s, now);
}

template <ReceivingSequence S>
void ReceivingEnd<S>::GoBack(S* s, int64_t position) {
  Intake& intake = s->intake;
  if (intake.running()) {
    CATENA_REACHED(kGoesBackAfterTheBatch);
    intake.rewind = std::min(position, intake.rewind.value_or(position));
    return;
  }
  const int64_t to = s->Forget(std::min(position, intake.inbox.begin()));
  intake.inbox.Rewind(to);
  intake.told.Rewind(to);
  queue_.Remove(s);
}

// --- work ---

template <ReceivingSequence S>
void ReceivingEnd<S>::Finished(int64_t rows, Instant now) {
  rows_done_ += rows;
  for (S* s : queue_.Finished(rows, now)) {
    if (s->intake.closed) {
      const bool back = table_.Find(s->intake.key) != nullptr;
      if (trial_ == s->intake.key && !back) trial_.reset();
      continue;
    }
    if (s->intake.rewind) RewindTo(s, *std::exchange(s->intake.rewind, std::nullopt), now);
    queue_.Add(s);
    Acknowledge(s);
  }
  acknowledgements_.SendTo(output_);
  closing_.clear();
  counters_.clock.Set(table_.size() > 0, false, now);
}

template <ReceivingSequence S>
ReplicaLoad ReceivingEnd<S>::load(Instant now) const {
  ReplicaLoad load;
  load.sequences = table_.size();
  load.queued_rows = queue_.QueuedRows();
  load.batches = queue_.batches();
  load.rows = rows_done_;
  load.progress = rows_done_;
  if (const std::optional<Instant> oldest = queue_.OldestStep()) {
    load.oldest_step_ns = std::max<int64_t>((now - *oldest).count(), 1);
  }
  load.divergences = counters_.row_faults.came_twice;
  load.corrupt = counters_.row_faults.came_corrupt + counters_.row_faults.kept_corrupt;
  return load;
}

}  // namespace catena
