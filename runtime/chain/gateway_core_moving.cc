// How sequences go on elsewhere (Move, DESIGN section 4, rule 4): when a stage of their route is
// lost, stands still or is about to stop, and when its edge to the next one is broken.
//
// A Move has two phases. Every stage of the new route is taken into a newer epoch (OpenStage,
// OpenHead) and says how far it has come; those that were on the old route keep what they have.
// When all have said so, each shard hears where the next stage stands (Go) and sends from there on,
// out of its journal, or makes again what that lacks. So what is lost is computed again, and no
// more.
#include <algorithm>
#include <map>
#include <set>

#include "runtime/chain/error_facts.h"
#include "runtime/chain/gateway_core.h"
#include "runtime/chain/planted.h"
#include "runtime/chain/reached.h"

namespace catena {
namespace {

// Sequences that leave a stage which still works, at a time: a storm of them would stop the rest.
constexpr int64_t kMaxLeaving = 16;

// The same where nothing is wrong, of so many that this gateway runs: each pause is one more that
// somebody sees, and the longer the more there are at a time.
int64_t MaxEvening(int64_t running) {
  constexpr int64_t kShare = 8;
  return std::clamp<int64_t>(running / kShare, 1, kMaxLeaving);
}

// Before the next Move of a sequence that has been set back so often without a new token.
Nanoseconds PauseAfter(int setbacks) {
  constexpr std::chrono::milliseconds kFirst{50}, kMost{2'000};
  constexpr int kFree = 3;  // several stages may fail at once
  if (setbacks <= kFree) return Nanoseconds(0);
  return std::min<Nanoseconds>(kMost, kFirst * (1 << std::min(setbacks - kFree, 10)));
}

}  // namespace

// It cannot go on where it is.
void GatewayCore::SetBack(Sequence* s, const absl::Status& why, Instant now) {
  if (s->request.through) return Fail(s, why, now);  // what it was to show is shown
  s->why = why;
  if (!s->broken_since) s->broken_since = now;
  if (s->state == State::kOpening) {
    CATENA_REACHED(kBreaksWhileOpening);
    return TryAgain(s, AdmissionQueue::Why::kBroken, now);
  }
  CATENA_REACHED(kMoves);
  if (++s->setbacks > limits::kMaxSetbacks) return Fail(s, why, now);
  BeginMove(s, Message(why), now);
  Strand(s, now);
}

void GatewayCore::BeginMove(Sequence* s, std::string_view why, Instant now) {
  if (!s->move) {
    s->move = Moved{.sequence = s->id, .why = std::string(why), .moves = {}};
    s->move->moves.noticed = now - s->token_at;
  }
  ++s->move->moves.count;
}

void GatewayCore::EndMove(Sequence* s, Instant now) {
  if (!s->move) return;
  s->move->moves.paused = now - s->token_at;
  s->moves.Add(s->move->moves);
  events_.push_back({s->listener, *std::exchange(s->move, std::nullopt)});
}

// Whether one runs there that has failed before and is not suspected yet. If it is what makes
// stages fail it will be, after a few more: until then those that are suspected are not at fault.
bool GatewayCore::IsAnotherAccused(Incarnation replica) const {
  return std::any_of(by_number_.begin(), by_number_.end(), [replica](const auto& entry) {
    const Sequence& s = *entry.second;
    return s.state == State::kRunning && !s.failed.empty() && !s.suspected() &&
           s.route.Find(replica) != nullptr;
  });
}

// It cannot go on where it is, and may be what made a stage fail. Before Go, and while it waits,
// stages compute at most the rest of a batch of its last epoch, and will again if that is what
// kills them.
void GatewayCore::Fell(Sequence* s, Incarnation failed, bool another, const absl::Status& why,
                       Instant now) {
  const bool counts = s->state == State::kRunning && !CATENA_PLANTED(kDeathsAreNotCounted);
  // Not for ever: where requests come and come, others beside it have always failed before.
  if (counts && s->suspected() && another && s->excused < limits::kMaxFailures) {
    ++s->excused;
  } else if (counts) {
    s->failed.push_back(failed);
  }
  if (s->failed.size() <= limits::kMaxFailures) return SetBack(s, why, now);
  CATENA_REACHED(kFailsEverywhere);
  Fail(s,
       WithReason(absl::InternalError(fmt::format(
                      "{} stages failed in a row while they computed it, the last one so: {}",
                      s->failed.size(), Message(why))),
                  ErrorReason::kStageLost),
       now);
}

// A stage tries another that may be what makes stages fail. What it holds of other stages may be
// what that one waits for: it leaves them all. It waits for its turn, and for no stage, and asks
// the less often the more do so.
void GatewayCore::AwaitTrial(Sequence* s, const absl::Status& why, Instant now) {
  CATENA_REACHED(kSuspectWaits);
  queue_.Remove(s->ticket);
  LeaveRoute(s);
  s->why = why;
  s->broken_since = now;
  s->state = State::kStranded;
  const int64_t wait = std::count_if(sequences_.begin(), sequences_.end(), [](const auto& entry) {
    return entry.second->state == State::kStranded && entry.second->suspected();
  });
  MoveAt(s, now + queue_.Pause() * std::min(wait, kMaxLeaving));
}

// One of the two stages computes other bits than it did, and which is not known: both are passed by
// for a while, and all of it is computed anew from its ids.
void GatewayCore::Diverged(Sequence* s, StageOf stage, const Refused& refused, Instant now) {
  router_.Failed(*stage);
  std::string who = StageName(*stage);
  if (stage != s->route.stages.begin()) {
    router_.Failed(*(stage - 1));
    who = fmt::format("{} and {}", StageName(*(stage - 1)), who);
  }
  s->why = WithStage(Annotate(refused.status, "between " + who), who);
  s->failed.push_back(0);
  // (One through named replicas has shown what it was to show.)
  if (s->request.through || s->failed.size() > limits::kMaxFailures) return Fail(s, s->why, now);
  BeginMove(s, Message(s->why), now);
  if (!s->broken_since) s->broken_since = now;
  TryAgain(s, AdmissionQueue::Why::kBroken, now);
}

// Where it ran it will want more pages at once, so that it does not come and go with each page that
// is free.
void GatewayCore::MadePlace(Sequence* s, const absl::Status& why, Instant now) {
  CATENA_REACHED(kMakesPlace);
  if (s->state == State::kRunning) s->growth = std::min(2 * s->growth, s->max_length);
  BeginMove(s, Message(why), now);
}

// Back to its place in the queue: whoever came first is served first. What it has of a text stays.
void GatewayCore::TryAgain(Sequence* s, AdmissionQueue::Why why, Instant now) {
  LeaveRoute(s);
  queue_.PutBack(s->ticket, why, now);
  s->state = State::kWaiting;
}

void GatewayCore::Strand(Sequence* s, Instant now) {
  s->state = State::kStranded;
  MoveAt(s, now + PauseAfter(s->setbacks));
}

void GatewayCore::MoveAt(Sequence* s, Instant at) {
  s->move_at = at;
  move_at_ = std::min(at, move_at_.value_or(at));
}

// Where they find a route, in the order in which they came.
void GatewayCore::MoveStranded(Instant now) {
  router_.Pass(now);
  move_at_.reset();
  // What there is no other route from: the same for all that are on it. One that is on none goes by
  // the stage that it began at.
  std::map<std::pair<std::vector<Incarnation>, bool>, absl::Status> hopeless;
  for (const auto& [ticket, owned] : sequences_) {
    Sequence* s = owned.get();
    if (s->state != State::kStranded) continue;
    if (s->move_at && now < *s->move_at) {
      MoveAt(s, *s->move_at);
      continue;
    }
    if (CATENA_PLANTED(kStrandedForGood) && !s->move_at) continue;
    s->move_at.reset();
    std::pair from(s->route.Incarnations(), s->turned_away);
    if (from.first.empty()) from.first = {s->like->replica.incarnation};
    const auto known = hopeless.find(from);
    absl::StatusOr<Route> route = known != hopeless.end() ? known->second : RouteFrom(*s);
    if (route.ok()) {
      MoveTo(s, *std::move(route), now);
    } else {
      CATENA_REACHED(kStrandedWithoutRoute);
      s->why = route.status();
      hopeless.emplace(from, s->why);
      if (s->suspected() && !s->route.stages.empty()) {
        CATENA_REACHED(kSuspectGivesItsTrialUp);  // others are not to wait until there is a route
        LeaveRoute(s);
      }
    }
  }
}

absl::StatusOr<Route> GatewayCore::RouteFrom(const Sequence& s) const {
  if (s.route.stages.empty()) return router_.ChooseLike(*s.like);
  absl::StatusOr<Route> route = router_.ChooseAgain(s.route, false);
  // Where it is it may stay until the end.
  if (!route.ok() && !s.turned_away) route = router_.ChooseAgain(s.route, true);
  return route;
}

void GatewayCore::MoveTo(Sequence* s, Route route, Instant now) {
  for (const ReplicaInfo& stage : s->route.stages) {
    const Incarnation left = stage.replica.incarnation;
    if (route.Find(left) == nullptr) Send(left, Lane::kControl, Close{s->key});
  }
  router_.RemoveSequence(s->route);
  s->state = State::kMoving;
  s->ids->BeginEpoch();
  Take(s, std::move(route), now);
}

// What drains, or does not reach the next stage, is left while it still works; where there is no
// other way the sequence stays.
void GatewayCore::LeaveBadRoutes(Instant now) {
  int64_t leaving = 0;
  std::vector<Sequence*> bad;
  for (const auto& [number, s] : by_number_) {
    if (s->state == State::kMoving) ++leaving;
    if (s->state != State::kRunning || s->request.through) continue;
    if (router_.HasDraining(s->route) || router_.HasBrokenEdge(s->route)) bad.push_back(s);
  }
  for (Sequence* s : bad) {
    if (leaving >= kMaxLeaving) return;
    absl::StatusOr<Route> route = router_.ChooseAgain(s->route, false);
    if (!route.ok()) continue;
    ++leaving;
    CATENA_REACHED(kLeavesInTime);
    BeginMove(s,
              router_.HasDraining(s->route) ? "a stage of its route drains"
                                            : "a stage of its route does not reach the next one",
              now);
    MoveTo(s, *std::move(route), now);
  }
}

// Where a replica has come, or others have gone, those that have come least far even the load.
void GatewayCore::EvenLoad(Instant now) {
  std::vector<Sequence*> running;
  int64_t moving = 0;
  for (const auto& [number, s] : by_number_) {
    if (s->state == State::kMoving) ++moving;
    // (One that is tried would lose its turn, and all that it has, where another one is tried.)
    const bool may = s->state == State::kRunning && !s->request.through && !s->suspected();
    if (may) running.push_back(s);
  }
  std::sort(running.begin(), running.end(), [](const Sequence* a, const Sequence* b) {
    return std::pair(a->ids->known(), a->ticket) < std::pair(b->ids->known(), b->ticket);
  });
  const int64_t most = MaxEvening(std::ssize(running));
  std::set<std::vector<Incarnation>> even;  // routes that no Move is worth it from
  for (Sequence* s : running) {
    if (moving >= most) return;
    if (even.contains(s->route.Incarnations())) continue;
    std::optional<Route> route = router_.MoreEven(s->route);
    if (!route) {
      even.insert(s->route.Incarnations());
      continue;
    }
    even.clear();
    CATENA_REACHED(kMovesToEvenTheLoad);
    ++moving;
    BeginMove(s, "it evens the load", now);
    MoveTo(s, *std::move(route), now);
  }
}

// All stages are in the epoch.
void GatewayCore::GoOn(Sequence* s) {
  s->SetLengths();
  int64_t shortest = s->ids->known();
  for (size_t i = 0; i < s->route.shards(); ++i) {
    shortest = std::min(shortest, s->lengths[i]);
    Send(s->route.stages[i].replica.incarnation, Lane::kControl, s->MakeGo(i));
  }
  if (s->move) s->move->moves.replayed += s->ids->known() - shortest;
  s->ids->Start(s->lengths[0]);
}

}  // namespace catena
