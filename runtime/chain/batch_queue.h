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

namespace catena {

template <class Sequence>
class BatchQueue {
 public:
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

  // The next batch has a part of it. REQUIRES: it is ready; Started is called before anything else.
  void Join(Sequence* s) {
    s->intake.place = Intake::Place::kRunning;
    running_.push_back(s);
  }
  void Started(Instant now) {
    started_ = now;
    std::erase_if(ready_, [](Sequence* s) {
      if (s->intake.running()) return true;
      if (s->Runnable()) return false;
      s->intake.place = Intake::Place::kIdle;
      return true;
    });
  }
  // It is done: those that it had, now idle.
  std::vector<Sequence*> Finished() {
    ++batches_;
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
  std::deque<Sequence*> ready_;
  std::vector<Sequence*> running_;
  Instant started_{};
  int64_t batches_ = 0;
};

}  // namespace catena
