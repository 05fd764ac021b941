// The core of a gateway: admits sequences in order, opens each on all stages of a route or none,
// feeds tokens back to the first stage, takes them to other stages when one fails, ends them.
//
//   kWaiting ─ Open ─▶ kOpening ─ all Opened ─▶ kRunning ─▶ the end
//      ▲                  │                      ▲    │
//      ├── no memory, ────┘                      │    │ a stage is lost, stuck, draining
//      │   or a stage failed             all Opened   ▼
//      └────── no memory ──────────── kMoving ◀─ kStranded ─ no route for too long ─▶ the end
//
// One that may be what makes stages fail is kStranded too while a stage tries another (AwaitTrial).
//
// gateway_core_moving.cc has the way from kRunning back to it (DESIGN section 4, rule 4), and
// gateway_core_ending.cc all ends but the good one.
//
// Thread rules: see Core.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "runtime/chain/absences.h"
#include "runtime/chain/admission_queue.h"
#include "runtime/chain/core.h"
#include "runtime/chain/gateway_sequence.h"
#include "runtime/chain/limits.h"
#include "runtime/chain/loop_event.h"
#include "runtime/chain/router.h"
#include "runtime/chain/step_collector.h"
#include "runtime/chain/token_loop.h"
#include "runtime/chain/token_trail.h"
#include "runtime/chain/watchdog.h"

namespace catena {

struct GatewayCoreOptions {
  Incarnation self = 0;
  int64_t max_waiting = 1024;  // sequences in the queue; past it, RESOURCE_EXHAUSTED
  uint64_t jitter_seed = 1;    // of the pauses after a refusal
  std::function<PublicId()> draw_id = DrawPublicId;
  Nanoseconds unix_epoch{};  // what to add to an Instant for the time since 1970
  int64_t growth_positions = limits::kGrowthPositions;
  limits::DetectionLimits detection = {};
};

class GatewayCore : public Core {
 public:
  explicit GatewayCore(const GatewayCoreOptions& options);

  // All shards and heads that may be used, and those of which is known why they may not.
  void SetReplicas(std::vector<ReplicaInfo> replicas, Instant now,
                   std::vector<AbsentReplica> absent = {});
  // `ticket` is the caller's, unique.
  void Submit(uint64_t ticket, LoopRequest request, std::shared_ptr<LoopListener> listener,
              Instant now);
  void Cancel(uint64_t ticket, Instant now);

  void Receive(Incarnation from, Lane lane, ChainMessage message, Instant now) override;
  void Connected(Incarnation peer, Instant now) override;
  void Disconnected(Incarnation peer, const absl::Status& why, Instant now) override;
  void Tick(Instant now) override;
  std::optional<Instant> WakeAt() const override;

  // To be delivered after TakeOutput was sent: clients wait behind the next step.
  std::vector<LoopEvent> TakeEvents() { return std::exchange(events_, {}); }

  const Router& router() const { return router_; }
  int64_t waiting() const { return queue_.waiting(); }
  // Those of them that ran before: they made place for others.
  int64_t returned() const { return queue_.returned(); }
  int64_t running() const { return static_cast<int64_t>(sequences_.size()) - waiting(); }
  // Of one that is on a route.
  std::optional<SequenceAtGateway> View(PublicId id) const;
  // Those that came first, `most` of them.
  std::vector<SequenceSummary> Sequences(size_t most, Instant now) const;
  const TokenTrail& trail() const { return trail_; }
  // When a replica last said that its work had gone on.
  Instant worked_at() const { return watchdog_.worked_at(); }

 private:
  using Sequence = GatewaySequence;
  using State = GatewaySequence::State;

  void On(Incarnation from, Opened& opened, Instant now);
  void On(Incarnation from, Refused& refused, Instant now);
  void On(Incarnation from, Unknown& unknown, Instant now);
  void On(Incarnation from, Condition& condition, Instant now);
  void On(Incarnation from, Tokens& tokens, Instant now);
  void On(Incarnation from, Lengths& lengths, Instant now);
  void On(Incarnation from, NeedFrom& need, Instant now);
  template <class M>
  void On(Incarnation, M&, Instant) {}

  // Opening.
  absl::Status MayEnter(const LoopRequest& request, Instant now) const;
  void Admit(Instant now);
  void StepAside(Sequence* s, const absl::Status& why, Instant now);
  void Open(Sequence* s, Route route, Instant now);
  void AskStages(Sequence* s, Instant now);
  void AskStage(const Sequence& s, size_t stage);
  void Run(Sequence* s, Instant now);
  using StageOf = std::vector<ReplicaInfo>::const_iterator;
  void Diverged(Sequence* s, StageOf stage, const Refused& refused, Instant now);
  void MadePlace(Sequence* s, const absl::Status& why, Instant now);
  void TryAgain(Sequence* s, AdmissionQueue::Why why, Instant now);

  // Moving.
  void SetBack(Sequence* s, const absl::Status& why, Instant now);
  // From its last token to the next it moves, once or several times.
  void BeginMove(Sequence* s, std::string_view why, Instant now);
  void EndMove(Sequence* s, Instant now);
  bool IsAnotherAccused(Incarnation replica) const;
  void Fell(Sequence* s, Incarnation failed, bool another, const absl::Status& why, Instant now);
  void Strand(Sequence* s, Instant now);
  void AwaitTrial(Sequence* s, const absl::Status& why, Instant now);
  void MoveAt(Sequence* s, Instant at);
  void MoveStranded(Instant now);
  absl::StatusOr<Route> RouteFrom(const Sequence& s) const;
  void MoveTo(Sequence* s, Route route, Instant now);
  void LeaveBadRoutes(Instant now);
  void EvenLoad(Instant now);
  void GoOn(Sequence* s);

  // Running.
  Sequence* Find(const SequenceKey& key);
  void TakeToken(Sequence* s, Token& token, Instant now);
  void Beat(Instant now);
  void CollectSteps(Sequence* s);
  void SendCollected();
  void SendAll(std::vector<Envelope> envelopes);

  // Ending.
  void Take(Sequence* s, Route route, Instant now);
  void LeaveRoute(Sequence* s);
  void End(Sequence* s, const absl::Status& status, FinishReason reason, Instant now);
  void Fail(Sequence* s, const absl::Status& status, Instant now) {
    End(s, status, FinishReason::kLength, now);
  }
  void EndLate(Instant now);
  bool WaitsInVain(const Sequence& s, Instant now) const;
  bool HasRoute(Instant now) const;
  void EndAbsent(Instant now);
  void FailReplica(Incarnation replica, const absl::Status& why, Instant now);

  // Watching (see Watchdog).
  void Watch(Instant now);

  GatewayCoreOptions options_;
  Router router_;
  AdmissionQueue queue_;
  std::map<uint64_t, std::unique_ptr<Sequence>> sequences_;  // by ticket
  std::map<PublicId, Sequence*> by_id_;
  std::map<uint64_t, Sequence*> by_number_;           // those on a route
  std::set<std::pair<Instant, uint64_t>> deadlines_;  // of those that have one, with their tickets
  std::optional<Instant> move_at_;  // of those that are stranded, the first that is due: at least
  uint64_t next_number_ = 1;
  StepCollector collected_;
  std::vector<LoopEvent> events_;
  Instant heartbeat_at_{};
  Watchdog watchdog_;
  Absences absences_;
  std::optional<Instant> complete_at_;  // when there was a route for new sequences, last
  TokenTrail trail_;
};

}  // namespace catena
