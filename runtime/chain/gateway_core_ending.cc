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

// Of a request that ends for want of a stage; `what` follows the stage's name.
absl::Status Lost(const ReplicaInfo& stage, ErrorReason reason, std::string_view what) {
  const std::string name = StageName(stage);
  const absl::Status status = absl::UnavailableError(fmt::format("{} {}", name, what));
  return WithStage(WithReason(status, reason), name);
}

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
  if (s->state == State::kWaiting) {
    s->started = s->first_token = now;
  } else {
    LeaveRoute(s);
    // Its pages are free by the time an Open that is sent now arrives.
    queue_.MemoryWasFreed(now);
  }
  if (s->last_token == 0) s->first_token = now;
  LoopStats stats = s->Stats(now);
  if (absl::IsUnavailable(status) || absl::IsResourceExhausted(status)) {
    stats.retry_after = std::max<Nanoseconds>(kLeastRetryAfter, queue_.ExpectedWait());
  }
  events_.push_back({s->listener, LoopEvent::End{status, reason, stats}});
  by_id_.erase(s->id);
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
  Admit(now);
}

void GatewayCore::Disconnected(Incarnation peer, const absl::Status& why, Instant now) {
  router_.Disconnected(peer, why);
  FailReplica(peer, why, now);
}

// All that needs it ends, or tries elsewhere where it was only being opened: what runs may be what
// made it fail.
void GatewayCore::FailReplica(Incarnation replica, const absl::Status& why, Instant now) {
  std::vector<Sequence*> hit;
  for (const auto& [number, s] : by_number_) {
    if (s->route.Find(replica) != nullptr) hit.push_back(s);
  }
  router_.Pass(now);
  if (!hit.empty()) router_.Failed(*hit[0]->route.Find(replica));
  for (Sequence* s : hit) {
    if (s->state == State::kOpening && s->MayTryAgain()) {
      CATENA_REACHED(kReplicaFailsWhileOpening);
      TryAgain(s, AdmissionQueue::Why::kBroken, now);
      continue;
    }
    CATENA_REACHED(kReplicaFails);
    Fail(s,
         Lost(*s->route.Find(replica), ErrorReason::kStageLost,
              fmt::format("has failed ({}); send the request again", Message(why))),
         now);
  }
  Admit(now);
}

void GatewayCore::EndLate(Instant now) {
  std::vector<Sequence*> late;
  for (const auto& [ticket, s] : sequences_) {
    if (s->request.deadline && *s->request.deadline <= now) late.push_back(s.get());
  }
  for (Sequence* s : late) {
    const bool running = s->state == State::kRunning;
    running ? CATENA_REACHED(kLateWhileRunning) : CATENA_REACHED(kLateWhileWaiting);
    const char* where = running ? "running" : "waiting for a place";
    Fail(s,
         WithReason(
             absl::DeadlineExceededError(fmt::format("the deadline passed while it was {}", where)),
             ErrorReason::kDeadline),
         now);
  }
}

// --- watching ---

void GatewayCore::Watch(Instant now) {
  std::vector<std::pair<Sequence*, size_t>> stuck;
  for (const auto& [number, s] : by_number_) {
    if (s->state == State::kRunning && watchdog_.InDoubt(s->progress) &&
        now - s->asked_at >= limits::kRetry) {
      CATENA_REACHED(kSequenceIsInDoubt);
      s->asked_at = now;
      for (size_t i = 0; i < s->route.stages.size(); ++i) AskStage(*s, i);
    }
    if (!watchdog_.StandsStill(s->progress)) continue;
    const size_t stage = s->StandsAt();
    const Incarnation replica = s->route.stages[stage].replica.incarnation;
    if (watchdog_.Works(replica)) {
      CATENA_REACHED(kSlowIsNotStuck);
    } else {
      CATENA_REACHED(kSequenceIsStuck);
      stuck.emplace_back(s, stage);
    }
  }
  for (const auto& [s, stage] : stuck) EndStuck(s, stage, now);
}

void GatewayCore::EndStuck(Sequence* s, size_t stage, Instant now) {
  const ReplicaInfo& at = s->route.stages[stage];
  router_.Failed(at);
  if (s->state == State::kOpening && TryElsewhere(s, now)) return;
  Fail(s,
       Lost(at, ErrorReason::kStageStalled,
            fmt::format("has made no progress with the request for {:.3g} s; send it again",
                        ToSeconds(watchdog_.limit()))),
       now);
}

}  // namespace catena
