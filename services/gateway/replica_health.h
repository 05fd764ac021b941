// What probes of one replica show: whether it may be used, and since when it has not been well.
//
//   - One that refuses the connection is gone at once; one that does not answer, after so many
//     probes: a busy machine may miss one.
//   - One that answers, but has had work all the while and has not come further with it for the
//     limit, has failed.
//
// Thread rules: plain state, one thread at a time.
#pragma once

#include <string>
#include <utility>

#include "runtime/chain/instant.h"
#include "runtime/chain/limits.h"
#include "runtime/chain/replica_info.h"

namespace catena {

class ReplicaHealth {
 public:
  explicit ReplicaHealth(const limits::DetectionLimits& detection) : detection_(detection) {}

  void Answered(Incarnation incarnation, const ReplicaLoad& load, Instant now) {
    missed_ = 0;
    const bool same =
        incarnation == incarnation_ && load.progress == progress_ && load.batches == batches_;
    if (!same || load.oldest_step_ns == 0) well_at_ = now;
    incarnation_ = incarnation;
    progress_ = load.progress;
    batches_ = load.batches;
    answers_ = now - well_at_ < detection_.no_progress;
    problem_ = answers_ ? "" : "answers, but its work stands still; restart it";
  }
  // It answered what makes no sense.
  void Misspoke(std::string problem) {
    missed_ = 0;
    answers_ = false;
    problem_ = std::move(problem);
  }
  void Refused(const std::string& why) { Lose(why); }
  void Missed(const std::string& why) {
    if (++missed_ >= detection_.probes_to_lose) Lose(why);
  }

  bool answers() const { return answers_; }
  const std::string& problem() const { return problem_; }  // where it does not
  Instant well_at() const { return well_at_; }             // for the last time

 private:
  void Lose(const std::string& why) {
    answers_ = false;
    problem_ = "does not answer: " + why;
  }

  limits::DetectionLimits detection_;
  bool answers_ = false;
  std::string problem_ = "has not answered yet";
  int missed_ = 0;  // probes in a row
  Incarnation incarnation_ = 0;
  int64_t progress_ = 0, batches_ = 0;
  Instant well_at_{};
};

}  // namespace catena
