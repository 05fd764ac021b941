// Decides whether a cluster can serve, and when a token has to be sent through it to find out. What
// counts is tokens that come, whoever asked for them: while some come none needs to be sent, and a
// request that runs without giving any shows nothing.
//
//   - The cluster is ready where it is complete and a token has come since anything last spoke
//     against it.
//   - Where none has come for a while one is sent through any route. What fails then, or does not
//     come in time while no stage makes progress either, speaks against the cluster.
//   - Where none has come by way of some replica for a longer while one is sent through that one.
//     What fails then is a trouble of the replica.
//
// Thread rules: plain state, one thread at a time.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "runtime/chain/token_trail.h"

namespace catena {

struct ReadinessOptions {
  std::chrono::milliseconds look_every{100};
  std::chrono::milliseconds token_every{5'000};  // through the cluster, where no other comes
  std::chrono::milliseconds token_timeout{10'000};
  std::chrono::milliseconds retry_every{500};             // after a token that failed
  std::chrono::milliseconds replica_token_every{30'000};  // through each replica
  std::chrono::milliseconds replica_retry_every{5'000};
};

class ReadinessJudge {
 public:
  struct Seen {
    Instant now;
    absl::Status complete;                    // OK: there are a route and a tokenizer
    std::vector<TokenTrail::Entry> replicas;  // that are used
    Instant worked_at;                        // when a stage was last seen to make progress
  };
  struct Probe {
    uint64_t number = 0;
    std::optional<Incarnation> through;  // nullopt: any route will do
  };

  explicit ReadinessJudge(const ReadinessOptions& options) : options_(options) {}

  // What is to be sent now. Each ends with a call of Ended.
  std::vector<Probe> Look(const Seen& seen);
  void Ended(uint64_t probe, const absl::Status& status, Instant now);

  // OK where ready, else why not.
  const absl::Status& status() const { return status_; }
  // Replicas by which no token came when one was sent, and why.
  const std::map<Incarnation, std::string>& troubles() const { return troubles_; }

 private:
  struct Sent {
    Probe probe;
    Instant at;
  };
  struct Known {
    Instant token_at;  // the newest that came by
    Instant tried_at;  // when the last one that was sent ended
  };

  void Doubt(const absl::Status& why, Instant now);
  void TakeTrail(const std::vector<TokenTrail::Entry>& replicas);
  Probe Send(std::optional<Sent>* slot, std::optional<Incarnation> through, Instant now);
  bool WantsToken(Instant now) const;
  std::optional<Incarnation> WantsTokenThrough(Instant now) const;

  const ReadinessOptions options_;
  absl::Status status_ = absl::UnavailableError("it is starting");
  Instant token_at_{};    // the newest that came
  Instant doubted_at_{};  // only what came later shows that the cluster serves
  Instant retry_at_{};
  std::map<Incarnation, Known> replicas_;
  std::map<Incarnation, std::string> troubles_;
  uint64_t next_number_ = 1;
  std::optional<Sent> through_any_, through_one_;
};

}  // namespace catena
