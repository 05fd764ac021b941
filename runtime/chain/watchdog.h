// Notices sequences that stand still, and tells those that are stuck from those that are only slow.
// What is done about one is the gateway's.
//
// A sequence moves where a token comes for it, or the first stage has computed more of it. Where
// neither happens for half the limit it is in doubt: all stages are then asked how far they have
// come with it, which shows where it stands. Where that stage's work goes on, with whatever, the
// sequence is slow; where it does not, for the whole limit, it is stuck.
//
// Thread rules: plain state, one thread at a time.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "runtime/chain/instant.h"
#include "runtime/chain/replica_info.h"

namespace catena {

// Time that passed while we watched: a gateway that was stopped for a minute has seen nobody stand
// still for that minute.
using WatchTime = Nanoseconds;

// How far one sequence has come on its route.
class SequenceProgress {
 public:
  SequenceProgress() = default;
  SequenceProgress(size_t stages, WatchTime now) : moved_at_(now), heard_(stages) {}

  WatchTime moved_at() const { return moved_at_; }
  void Moved(WatchTime now) {
    moved_at_ = now;
    heard_.assign(heard_.size(), std::nullopt);
  }
  // The first stage has computed so many positions in this round.
  void OnFirstLength(uint32_t round, int64_t length, WatchTime now) {
    if (round == round_ && length > first_length_) Moved(now);
    first_length_ = round == round_ ? std::max(first_length_, length) : length;
    round_ = round;
  }
  // A stage answers how many positions it has computed.
  void OnAnswer(size_t stage, int64_t length, WatchTime now) {
    std::optional<int64_t>& heard = heard_[stage];
    if (heard && length > *heard) return Moved(now);
    heard = length;
  }
  // The first stage that has not answered; where all have, the last one that has less than the one
  // before it, which may wait for its window; else the last. `available` positions exist.
  size_t StandsAt(int64_t available) const {
    size_t at = heard_.size() - 1;
    int64_t before = available;
    for (size_t i = 0; i < heard_.size(); ++i) {
      if (!heard_[i]) return i;
      if (*heard_[i] < before) at = i;
      before = *heard_[i];
    }
    return at;
  }

 private:
  WatchTime moved_at_{};
  uint32_t round_ = 0;
  int64_t first_length_ = 0;
  std::vector<std::optional<int64_t>> heard_;  // by stage, since it last moved
};

class Watchdog {
 public:
  explicit Watchdog(Nanoseconds limit) : limit_(limit) {}

  Nanoseconds limit() const { return limit_; }
  WatchTime now() const { return now_; }
  void Pass(Instant now) {
    if (last_) now_ += std::clamp<Nanoseconds>(now - *last_, Nanoseconds(0), kMostAtATime);
    last_ = now;
  }

  // What replicas say of their work. Those that are not among them are forgotten.
  void SetReplicas(const std::vector<ReplicaInfo>& replicas) {
    std::map<Incarnation, Work> before = std::exchange(work_, {});
    for (const ReplicaInfo& r : replicas) {
      const int64_t done = r.load.progress + r.load.batches;
      const auto known = before.find(r.replica.incarnation);
      const bool same = known != before.end() && known->second.done == done;
      if (known != before.end() && !same && last_) worked_at_ = *last_;
      work_[r.replica.incarnation] = {done, same ? known->second.moved_at : now_};
    }
  }
  // Whether its work has gone on within the limit.
  bool Works(Incarnation replica) const {
    const auto it = work_.find(replica);
    return it != work_.end() && now_ - it->second.moved_at < limit_;
  }

  // When any replica's work was seen to have gone on.
  Instant worked_at() const { return worked_at_; }

  bool InDoubt(const SequenceProgress& p) const { return now_ - p.moved_at() >= limit_ / 2; }
  bool StandsStill(const SequenceProgress& p) const { return now_ - p.moved_at() >= limit_; }

 private:
  struct Work {
    int64_t done = 0;
    WatchTime moved_at{};
  };
  // Between two looks: what is longer was no time in which we watched.
  static constexpr std::chrono::milliseconds kMostAtATime{1'000};

  const Nanoseconds limit_;
  WatchTime now_{};
  std::optional<Instant> last_;
  std::map<Incarnation, Work> work_;
  Instant worked_at_{};
};

}  // namespace catena
