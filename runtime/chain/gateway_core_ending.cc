// How sequences end at a gateway before their time: what they need fails, or stands still, or their
// deadline passes.
#include <algorithm>
#include <set>

#include "runtime/chain/error_facts.h"
#include "runtime/chain/gateway_core.h"
#include "runtime/chain/reached.h"

namespace catena {
namespace {

// When what failed for want of a stage is to be sent again at the earliest.
constexpr std::chrono::seconds kLeastRetryAfter{1};

}  // namespace

// --- ending ---

void GatewayCore::LeaveRoute(Sequence* s) {
  for (const ReplicaInfo& stage : s->route.stages) {
    Send(stage.replica.incarnation, Lane::kControl, Close{s->key});
  }
  router_.RemoveSequence(s->route);
  by_number_.erase(s->key.number);
  s->route = {};
}

void GatewayCore::End(Sequence* s, const absl::Status& status, FinishReason reason, Instant now) {
  queue_.Remove(s->ticket);
  if (!s->told) s->started = now;
  if (s->state != State::kWaiting) {
    LeaveRoute(s);
    // Its pages are free by the time an Open that is sent now arrives.
    queue_.MemoryWasFreed(now);
  }
  EndMove(s, now);
  if (s->last_token == 0) s->first_token = now;
  LoopStats stats = s->Stats(now);
  if (absl::IsUnavailable(status) || absl::IsResourceExhausted(status)) {
    stats.retry_after = std::max<Nanoseconds>(kLeastRetryAfter, queue_.ExpectedWait());
  }
  events_.push_back({s->listener, LoopEvent::End{status, reason, stats}});
  by_id_.erase(s->id);
  if (s->request.deadline) deadlines_.erase({*s->request.deadline, s->ticket});
  sequences_.erase(s->ticket);
}

// Replicas that no longer answer, or make no progress, are not among those that are used. What
// needs one gets the time that a link would get.
void GatewayCore::EndAbsent(Instant now) {
  std::set<Incarnation> present, needed;
  for (const ReplicaInfo& r : router_.replicas()) present.insert(r.replica.incarnation);
  for (const auto& [number, s] : by_number_) {
    for (const ReplicaInfo& stage : s->route.stages) needed.insert(stage.replica.incarnation);
  }
  const Nanoseconds limit = options_.detection.no_progress;
  for (const AbsentReplica& a : absences_.Over(limit, needed, present, now)) {
    CATENA_REACHED(kReplicaIsAbsentForLong);
    FailReplica(a.incarnation, absl::UnavailableError(a.why), now);
  }
}

void GatewayCore::Connected(Incarnation peer, Instant now) {
  router_.Connected(peer);
  // It was the connection that failed, and no sequence has killed it.
  for (const auto& [_, s] : sequences_) {
    if (std::erase(s->failed, peer) > 0) CATENA_REACHED(kLivesAfterAll);
  }
  MoveStranded(now);
  Admit(now);
}

void GatewayCore::Disconnected(Incarnation peer, const absl::Status& why, Instant now) {
  router_.Disconnected(peer, why);
  FailReplica(peer, why, now);
}

// All that needs it goes on elsewhere.
void GatewayCore::FailReplica(Incarnation replica, const absl::Status& why, Instant now) {
  std::vector<Sequence*> hit;
  for (const auto& [number, s] : by_number_) {
    if (s->is_on_route() && s->route.Find(replica) != nullptr) hit.push_back(s);
  }
  router_.Pass(now);
  if (!hit.empty()) router_.Failed(*hit[0]->route.Find(replica));
  const bool another = IsAnotherAccused(replica);
  for (Sequence* s : hit) {
    CATENA_REACHED(kReplicaFails);
    Fell(s, replica, another,
         StageError(*s->route.Find(replica), ErrorReason::kStageLost,
                    fmt::format("has failed ({}); send the request again", Message(why))),
         now);
  }
  MoveStranded(now);
  Admit(now);
}

void GatewayCore::EndLate(Instant now) {
  std::vector<Sequence*> late, routeless;
  for (const auto& [ticket, s] : sequences_) {
    if (s->request.deadline && *s->request.deadline <= now) {
      late.push_back(s.get());
    } else if (WaitsInVain(*s, now)) {
      routeless.push_back(s.get());
    }
  }
  for (Sequence* s : late) {
    const bool running = s->is_on_route();
    running ? CATENA_REACHED(kLateWhileRunning) : CATENA_REACHED(kLateWhileWaiting);
    const char* where = running ? "running" : "waiting for a place";
    Fail(s,
         WithReason(
             absl::DeadlineExceededError(fmt::format("the deadline passed while it was {}", where)),
             ErrorReason::kDeadline),
         now);
  }
  for (Sequence* s : routeless) {
    CATENA_REACHED(kRouteIsAwaitedInVain);
    Fail(s, s->why.ok() ? router_.complete() : s->why, now);
  }
}

// Whether no stage has come for so long that none is to be expected.
bool GatewayCore::WaitsInVain(const Sequence& s, Instant now) const {
  const Nanoseconds limit = options_.detection.wait_for_route;
  if (s.state == State::kWaiting && !HasRoute(now)) return true;
  const bool waits = s.state == State::kWaiting || s.state == State::kStranded;
  return waits && s.broken_since && now - *s.broken_since >= limit;
}

// Whether there is one, or was a moment ago.
bool GatewayCore::HasRoute(Instant now) const {
  return router_.complete().ok() ||
         (complete_at_ && now - *complete_at_ < options_.detection.wait_for_route);
}

// --- watching ---

void GatewayCore::Watch(Instant now) {
  std::vector<std::pair<Sequence*, size_t>> stuck;
  for (const auto& [number, s] : by_number_) {
    if (!s->is_on_route() || !watchdog_.StandsStill(s->progress)) continue;
    const size_t stage = s->StandsAt();
    const Incarnation replica = s->route.stages[stage].replica.incarnation;
    if (watchdog_.Works(replica)) {
      CATENA_REACHED(kSlowIsNotStuck);
    } else {
      CATENA_REACHED(kSequenceIsStuck);
      stuck.emplace_back(s, stage);
    }
  }
  for (const auto& [s, stage] : stuck) {
    const ReplicaInfo& at = s->route.stages[stage];
    router_.Failed(at);
    SetBack(
        s,
        StageError(at, ErrorReason::kStageStalled,
                   fmt::format("has made no progress with the request for {:.3g} s; send it again",
                               ToSeconds(watchdog_.limit()))),
        now);
  }
}

}  // namespace catena
