// Which sequences of a stage have work, and which are in the batch that runs.
//
// `Sequence` has an Intake `intake` and a method Runnable(): whether some of its queue could be run
// now. Thread rules: plain state, one thread at a time.
#pragma once

#include <algorithm>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "runtime/chain/instant.h"
#include "runtime/chain/intake.h"
#include "runtime/chain/stage_counters.h"

namespace catena {

template <class Sequence>
class BatchQueue {
 public:
  // `counters` outlives this.
  explicit BatchQueue(StageCounters* counters) : counters_(counters) {}

  // Those that wait for a batch, oldest first.
  const std::deque<Sequence*>& ready() const { return ready_; }
  // Those of the batch that runs, in its order.
  const std::vector<Sequence*>& running() const { return running_; }
  bool idle() const { return ready_.empty(); }
  Instant started() const { return started_; }
  int64_t batches() const { return batches_; }

  // It may have become runnable.
  void Add(Sequence* s) {
    if (s->intake.place != Intake::Place::kIdle || !s->Runnable()) return;
    s->intake.place = Intake::Place::kReady;
    ready_.push_back(s);
  }
  // It is not to be run for now. REQUIRES: it is not running.
  void Remove(Sequence* s) {
    std::erase(ready_, s);
    s->intake.place = Intake::Place::kIdle;
  }

  // The next batch has a part of it, to be consumed next. REQUIRES: it is ready and has rows
  // queued; Started is called before anything else.
  void Join(Sequence* s) {
    s->intake.place = Intake::Place::kRunning;
    running_.push_back(s);
    waiting_since_.push_back(s->intake.inbox.since());
  }
  void Started(Instant now) {
    started_ = now;
    for (const Instant since : waiting_since_) counters_->queue_wait.Add(now - since);
    waiting_since_.clear();
    if (!running_.empty()) counters_->clock.Set(true, true, now);
    std::erase_if(ready_, [](Sequence* s) {
      if (s->intake.running()) return true;
      if (s->Runnable()) return false;
      s->intake.place = Intake::Place::kIdle;
      return true;
    });
  }
  // It is done, with so many rows: the sequences that it had, now idle.
  std::vector<Sequence*> Finished(int64_t rows, Instant now) {
    ++batches_;
    counters_->forward.Add(now - started_);
    counters_->batch_rows.Add(static_cast<double>(rows));
    counters_->batch_sequences.Add(static_cast<double>(running_.size()));
    for (Sequence* s : running_) s->intake.place = Intake::Place::kIdle;
    return std::exchange(running_, {});
  }

  int64_t QueuedRows() const {
    int64_t rows = 0;
    for (const Sequence* s : ready_) rows += s->intake.inbox.queued();
    return rows;
  }
  // Since when the oldest step that is running, or could run, has waited. What waits for the next
  // stage does not wait for this one.
  std::optional<Instant> OldestStep() const {
    std::optional<Instant> oldest;
    if (!running_.empty()) oldest = started_;
    for (const Sequence* s : ready_) {
      if (!s->Runnable()) continue;
      oldest = std::min(oldest.value_or(Instant::max()), s->intake.inbox.since());
    }
    return oldest;
  }

 private:
  StageCounters* const counters_;
  std::deque<Sequence*> ready_;
  std::vector<Sequence*> running_;
  std::vector<Instant> waiting_since_;  // of those that join the next batch
  Instant started_{};
  int64_t batches_ = 0;
};

}  // namespace catena
