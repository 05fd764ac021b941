#include "runtime/chain/gateway_core.h"

#include <algorithm>

#include "runtime/chain/error_facts.h"
#include "runtime/chain/open_messages.h"
#include "runtime/chain/planted.h"
#include "runtime/chain/reached.h"

namespace catena {
namespace {

// Whether the stage itself is to blame for ending a request so.
bool IsFailure(const absl::Status& refused) {
  return absl::IsInternal(refused) || absl::IsUnknown(refused) || absl::IsDataLoss(refused);
}

// Of a text that had ended when its gateway was lost, and its client did not hear of it.
std::optional<FinishReason> FinishOfGiven(const LoopRequest& request, int64_t context) {
  if (request.output.empty()) return std::nullopt;
  const int64_t given = std::ssize(request.prompt) + std::ssize(request.output);
  if (context > 0 && given > context) return FinishReason::kLength;
  return FinishAfter(request.params, std::ssize(request.output), request.output.back());
}

}  // namespace

GatewayCore::GatewayCore(const GatewayCoreOptions& options)
    : options_(options),
      queue_({.max_waiting = options.max_waiting, .jitter_seed = options.jitter_seed}),
      watchdog_(options.detection.no_progress) {}

void GatewayCore::SetReplicas(std::vector<ReplicaInfo> replicas, Instant now,
                              std::vector<AbsentReplica> absent) {
  if (router_.complete().ok()) complete_at_ = now;
  router_.Pass(now);
  watchdog_.Pass(now);
  watchdog_.SetReplicas(replicas);
  trail_.SetReplicas(replicas);
  router_.Update(std::move(replicas));
  // Whom we could not reach we try to reach again: a link that stayed down is forgotten.
  for (const Replica& replica : router_.Unreachable()) {
    CATENA_REACHED(kLinkIsTriedAgain);
    Connect(replica);
  }
  absences_.Set(std::move(absent));
  EndAbsent(now);
  MoveStranded(now);
  LeaveBadRoutes(now);
  EvenLoad(now);
  Admit(now);
}

void GatewayCore::Receive(Incarnation from, Lane, ChainMessage message, Instant now) {
  std::visit([&](auto& m) { On(from, m, now); }, message);
}

GatewayCore::Sequence* GatewayCore::Find(const SequenceKey& key) {
  if (key.gateway != options_.self) return nullptr;
  auto it = by_number_.find(key.number);
  return it == by_number_.end() ? nullptr : it->second;
}

// --- opening ---

absl::Status GatewayCore::MayEnter(const LoopRequest& request, Instant now) const {
  if (request.deadline && *request.deadline <= now) {
    CATENA_REACHED(kDeadlinePassedBefore);
    return WithReason(absl::DeadlineExceededError("the deadline passed before the request came"),
                      ErrorReason::kDeadline);
  }
  // What is gone for a moment is waited for.
  if (!HasRoute(now)) {
    CATENA_REACHED(kNoRouteWhenItComes);
    return router_.complete();
  }
  return queue_.MayWait(request.deadline, now);
}

void GatewayCore::Submit(uint64_t ticket, LoopRequest request,
                         std::shared_ptr<LoopListener> listener, Instant now) {
  const absl::Status status = MayEnter(request, now);
  auto owned = std::make_unique<Sequence>();
  Sequence* s = owned.get();
  s->ticket = ticket;
  s->request = std::move(request);
  s->listener = std::move(listener);
  s->submitted = s->started = s->first_token = now;
  s->came = (now.time_since_epoch() + options_.unix_epoch).count();
  s->growth = options_.growth_positions;
  do {
    s->id = options_.draw_id();
  } while (!by_id_.emplace(s->id, s).second);
  if (s->request.deadline) deadlines_.emplace(*s->request.deadline, ticket);
  sequences_[ticket] = std::move(owned);
  if (!status.ok()) return Fail(s, status, now);
  if (const auto finish = FinishOfGiven(s->request, router_.model().context_length)) {
    return End(s, absl::OkStatus(), *finish, now);
  }
  queue_.Add(ticket, now);
  Admit(now);
}

void GatewayCore::Cancel(uint64_t ticket, Instant now) {
  auto it = sequences_.find(ticket);
  if (it == sequences_.end()) return;
  CATENA_REACHED(kCancelled);
  Fail(it->second.get(), WithReason(absl::CancelledError("cancelled"), ErrorReason::kCancelled),
       now);
  Admit(now);
}

void GatewayCore::Admit(Instant now) {
  router_.Pass(now);
  while (const std::optional<uint64_t> ticket = queue_.Next(now)) {
    Sequence* s = sequences_.at(*ticket).get();
    absl::StatusOr<Route> route =
        s->like ? router_.ChooseLike(*s->like) : router_.Choose(s->request.through);
    if (route.ok()) {
      Open(s, *std::move(route), now);
    } else if (s->like && router_.complete().ok()) {
      CATENA_REACHED(kOfAnotherModelWaitsAside);
      StepAside(s, route.status(), now);
    } else if (s->request.through) {
      CATENA_REACHED(kNoRouteWhenItsTurnComes);
      Fail(s, route.status(), now);
    } else {
      CATENA_REACHED(kWaitsForARoute);
      return;
    }
  }
}

// What it began with is served no more, and others are not to wait behind it.
void GatewayCore::StepAside(Sequence* s, const absl::Status& why, Instant now) {
  queue_.Take(s->ticket);
  queue_.Remove(s->ticket);
  s->why = why;
  if (!s->broken_since) s->broken_since = now;
  s->state = State::kStranded;
}

void GatewayCore::Open(Sequence* s, Route route, Instant now) {
  const int64_t context = router_.model().context_length;
  if (!s->told && s->given() > context) {  // the replicas are others than when it was accepted
    return Fail(s,
                WithReason(absl::InvalidArgumentError(fmt::format(
                               "the prompt has {} tokens and the context {}: shorten it",
                               s->given(), context)),
                           ErrorReason::kPromptTooLong),
                now);
  }
  queue_.Take(s->ticket);
  s->state = State::kOpening;
  if (s->ids) {  // it was on a route before
    CATENA_REACHED(kOpensAnew);
    s->ids->BeginEpoch();
  } else {
    s->like = route.stages[0];
    s->key = {.gateway = options_.self, .number = next_number_++};
    s->max_length = MaxLength(s->request, context);
    const int64_t speculate = s->request.score ? 0 : s->request.params.speculate;
    std::vector<int32_t> known = s->request.prompt;
    known.insert(known.end(), s->request.output.begin(), s->request.output.end());
    s->ids.emplace(s->key, std::move(known), s->prompt_length(), speculate, s->max_length,
                   route.stages[0].model.rotary_switch);
  }
  Take(s, std::move(route), now);
}

// It is on this route from here on, as soon as all stages say so.
void GatewayCore::Take(Sequence* s, Route route, Instant now) {
  by_number_[s->key.number] = s;
  router_.AddSequence(route);
  s->route = std::move(route);
  s->opened.assign(s->route.stages.size(), std::nullopt);
  s->in_turn = queue_.OneByOne(s->ticket) || s->suspected();
  watchdog_.Pass(now);
  s->progress = SequenceProgress(s->route.stages.size(), watchdog_.now());
  for (const ReplicaInfo& stage : s->route.stages) Connect(stage.replica);
  AskStages(s, now);
}

// Those that have not opened it yet: the next of them, or all.
void GatewayCore::AskStages(Sequence* s, Instant now) {
  s->asked_at = now;
  if (s->in_turn) {
    CATENA_REACHED(kStagesAreAskedInTurn);
    return AskStage(*s, s->StandsAt());
  }
  for (size_t i = 0; i < s->opened.size(); ++i) {
    if (!s->opened[i]) AskStage(*s, i);
  }
}

void GatewayCore::AskStage(const Sequence& s, size_t stage) {
  Send(s.route.stages[stage].replica.incarnation, Lane::kControl, s.MakeOpen(stage));
}

void GatewayCore::On(Incarnation from, Opened& opened, Instant now) {
  Sequence* s = Find(opened.sequence);
  if (s == nullptr || opened.life.epoch != s->ids->life().epoch) return;
  // A stage that it waited for has failed meanwhile: there will be another epoch.
  if (!s->is_on_route() && !CATENA_PLANTED(kStrandedGoesOn)) {
    CATENA_REACHED(kOpenedTooLate);
    return;
  }
  watchdog_.Pass(now);
  for (size_t i = 0; i < s->opened.size(); ++i) {
    if (s->route.stages[i].replica.incarnation != from) continue;
    if (s->state == State::kRunning) {
      CATENA_REACHED(kStageSaysHowFarItIs);
      if (opened.waits && i < s->route.shards() && s->ids->life().epoch > 0) {
        CATENA_REACHED(kGoIsSaidAgain);
        s->SetLengths();  // a round may have begun since
        Send(from, Lane::kControl, s->MakeGo(i));
      }
      // One that has not seen this round has nothing of it, whatever it had of another.
      const bool of_this_round = opened.life == s->ids->life();
      s->progress.OnAnswer(i, of_this_round ? opened.length : 0, watchdog_.now());
    } else {
      if (!s->opened[i]) s->progress.Moved(watchdog_.now());
      s->opened[i] = {opened.life.round, opened.length};
    }
  }
  if (s->state == State::kRunning) return;
  if (s->is_open() || CATENA_PLANTED(kGoBeforeAllAnswered)) {
    Run(s, now);
  } else if (s->in_turn) {
    AskStages(s, now);
  }
}

void GatewayCore::Run(Sequence* s, Instant now) {
  if (s->state == State::kOpening) queue_.Opened(s->ticket, now);
  s->state = State::kRunning;
  s->broken_since.reset();
  s->turned_away = false;
  if (!std::exchange(s->told, true)) {
    s->started = s->token_at = now;
    events_.push_back({s->listener, LoopEvent::Start{s->id}});
  }
  if (s->ids->life().epoch > 0) GoOn(s);
  CollectSteps(s);
  SendCollected();
  Admit(now);
}

void GatewayCore::On(Incarnation from, Refused& refused, Instant now) {
  Sequence* s = Find(refused.sequence);
  // A stage may be a round behind.
  if (s == nullptr || !s->is_on_route() || refused.life.epoch != s->ids->life().epoch) return;
  const auto& stages = s->route.stages;
  const auto stage = std::find_if(stages.begin(), stages.end(), [from](const ReplicaInfo& r) {
    return r.replica.incarnation == from;
  });
  if (stage == stages.end()) return;
  router_.Pass(now);
  if (absl::IsResourceExhausted(refused.status) && !s->request.through) {
    s->broken_since.reset();  // it waits for memory, and for no stage
    if (s->state != State::kOpening) MadePlace(s, refused.status, now);
    return TryAgain(s, AdmissionQueue::Why::kNoMemory, now);
  }
  const std::optional<ErrorReason> reason = ReasonOf(refused.status);
  if (reason == ErrorReason::kDiverged) return Diverged(s, stage, refused, now);
  if (reason == ErrorReason::kAwaitsTrial) {
    if (s->suspected()) return AwaitTrial(s, refused.status, now);
    // A token that was on its way has cleared it.
    return AskStage(*s, static_cast<size_t>(stage - stages.begin()));
  }
  if (refused.draining) {
    CATENA_REACHED(kRefusedByDraining);
    router_.Drains(from);
    s->turned_away = true;
  } else if (IsFailure(refused.status)) {
    router_.Failed(*stage);
  } else if (absl::IsUnavailable(refused.status) && stage + 1 != stages.end()) {
    CATENA_REACHED(kRefusedForItsEdge);
    router_.EdgeFailed(*stage, *(stage + 1));
  }
  const std::string name = StageName(*stage);
  const absl::Status why = WithStage(Annotate(refused.status, name), name);
  if (IsFailure(refused.status)) {
    Fell(s, 0, IsAnotherAccused(from), why, now);
  } else if (absl::IsUnavailable(refused.status)) {
    SetBack(s, why, now);
  } else if (s->told) {  // others took it
    CATENA_REACHED(kOneThatStartedIsRefused);
    router_.Failed(*stage);
    SetBack(s, why, now);
  } else {
    Fail(s, why, now);
  }
  Admit(now);
}

void GatewayCore::On(Incarnation from, Condition& condition, Instant now) {
  router_.SetBrokenEdges(from, std::move(condition.broken));
  if (condition.draining) router_.Drains(from);
  // What is only being opened need not wait for an edge to heal.
  std::vector<Sequence*> hit;
  for (const auto& [number, s] : by_number_) {
    if (s->state == State::kOpening && router_.HasBrokenEdge(s->route)) hit.push_back(s);
  }
  for (Sequence* s : hit) {
    CATENA_REACHED(kEdgeBreaksWhileOpening);
    SetBack(s,
            absl::UnavailableError("two stages of its route cannot reach each other; `catena "
                                   "status` says which"),
            now);
  }
  MoveStranded(now);
  if (condition.draining) LeaveBadRoutes(now);
  Admit(now);
}

// --- running ---

void GatewayCore::On(Incarnation from, Unknown& unknown, Instant now) {
  Sequence* s = Find(unknown.sequence);
  if (s == nullptr || !s->is_on_route() || unknown.life.epoch != s->ids->life().epoch) return;
  const auto& stages = s->route.stages;
  for (size_t i = 0; i < stages.size(); ++i) {
    if (stages[i].replica.incarnation != from || !s->opened[i]) continue;
    CATENA_REACHED(kStageHasLostIt);
    return SetBack(s, StageError(stages[i], ErrorReason::kStageLost, "no longer has the request"),
                   now);
  }
}

// What a head has sampled is a function of what came before it: it is the same in any life.
void GatewayCore::On(Incarnation from, Tokens& tokens, Instant now) {
  watchdog_.Pass(now);
  for (Token& token : tokens.tokens) {
    Sequence* s = Find(token.sequence);
    const bool of_life = !CATENA_PLANTED(kTokensOfOneLifeOnly) ||
                         (s != nullptr && s->ids && token.life == s->ids->life());
    const bool ours = s != nullptr && s->state != State::kOpening && of_life &&
                      s->route.head().replica.incarnation == from;
    if (!ours) {
      CATENA_REACHED(kTokenOfAnotherHead);
      continue;
    }
    if (s->state != State::kRunning) CATENA_REACHED(kTokenWhileMoving);
    TakeToken(s, token, now);
  }
  SendCollected();
  Admit(now);
}

void GatewayCore::TakeToken(Sequence* s, Token& token, Instant now) {
  const bool score = s->request.score;
  const int64_t expected = s->next_token();
  if (!score && token.position < expected && token.position >= s->prompt_length() &&
      token.token.id != s->ids->at(token.position)) {
    return Fail(s,
                WithReason(absl::InternalError(
                               fmt::format("the head at {} gave two tokens for position {}",
                                           s->route.head().replica.address, token.position)),
                           ErrorReason::kDiverged),
                now);
  }
  if (token.position < expected) CATENA_REACHED(kTokenIsRepeated);
  if (token.position > expected) CATENA_REACHED(kTokenBeforeItWasLost);  // and will be repeated
  if (token.position != expected) return;
  if (expected == (score ? 1 : s->given())) s->first_token = now;
  s->last_token = expected;
  s->setbacks = 0;
  s->failed.clear();
  s->excused = 0;
  if (s->state == State::kRunning) {
    EndMove(s, now);
  } else if (s->move) {
    // It was sampled before: the pause begins behind it, and what is wrong is known already.
    s->move->moves.noticed = Nanoseconds(0);
  }
  s->token_at = now;
  s->progress.Moved(watchdog_.now());
  trail_.Add(s->route, now);
  std::optional<FinishReason> finish;
  if (score) {
    if (expected == s->prompt_length()) finish = FinishReason::kLength;
  } else {
    s->ids->Append(token.token.id);
    finish = FinishAfter(s->request.params, expected + 1 - s->prompt_length(), token.token.id);
    // The new token's position must exist before it can be computed.
    if (!finish && expected + 1 > s->max_length) {
      CATENA_REACHED(kTextFillsTheContext);
      finish = FinishReason::kLength;
    }
  }
  if (!finish) {
    s->ids->Draft();
    CollectSteps(s);
  }
  events_.push_back({s->listener, std::move(token)});
  if (!finish) return;
  router_.Worked(s->route);
  End(s, absl::OkStatus(), *finish, now);
}

// What the first stage has not been sent yet, together with other sequences'.
void GatewayCore::CollectSteps(Sequence* s) {
  const Incarnation to = s->route.stages[0].replica.incarnation;
  while (std::optional<std::pair<Lane, Step>> step = s->ids->NextStep()) {
    collected_.Add(to, step->first, std::move(step->second));
  }
}

void GatewayCore::SendCollected() { SendAll(collected_.Take()); }

void GatewayCore::SendAll(std::vector<Envelope> envelopes) {
  for (Envelope& e : envelopes) Send(e.to, e.lane, std::move(e.message));
}

void GatewayCore::On(Incarnation from, Lengths& lengths, Instant now) {
  watchdog_.Pass(now);
  for (const Length& l : lengths.lengths) {
    Sequence* s = Find(l.sequence);
    if (s == nullptr || s->state != State::kRunning) continue;
    if (s->route.stages[0].replica.incarnation != from) continue;
    s->progress.OnFirstLength(l.life.round, l.length, watchdog_.now());
    if (s->ids->OnLength(l)) CollectSteps(s);
  }
  SendCollected();
}

void GatewayCore::On(Incarnation from, NeedFrom& need, Instant) {
  Sequence* s = Find(need.sequence);
  if (s == nullptr || s->state != State::kRunning) return;
  CATENA_REACHED(kIdsAreAskedFor);
  if (need.life != s->ids->life()) {
    CATENA_REACHED(kQuestionOfAnotherLife);
    return;
  }
  if (s->route.stages[0].replica.incarnation != from || need.position < 0) return;
  if (!s->ids->OnNeedFrom(need)) return;
  CollectSteps(s);
  SendCollected();
}

// --- time ---

void GatewayCore::Tick(Instant now) {
  router_.Pass(now);
  watchdog_.Pass(now);
  if (router_.complete().ok()) complete_at_ = now;
  EndLate(now);
  if (now >= heartbeat_at_) Beat(now);
  MoveStranded(now);
  Admit(now);
}

void GatewayCore::Beat(Instant now) {
  heartbeat_at_ = now + options_.detection.heartbeat;
  for (const auto& [number, s] : by_number_) {
    const bool asks = s->state == State::kOpening || s->state == State::kMoving;
    if (!asks || now - s->asked_at < limits::kRetry) continue;
    CATENA_REACHED(kOpenIsSentAgain);
    AskStages(s, now);
  }
  Watch(now);
  EndAbsent(now);
  LeaveBadRoutes(now);
  SendAll(
      MakeHeartbeats(by_number_, next_number_ - 1, router_.replicas(), [this](const Sequence& s) {
        return s.state == State::kRunning && watchdog_.InDoubt(s.progress);
      }));
  SendAll(MakeSentLengths(by_number_));
}

// It is asked after each message: what it costs may not grow with the sequences.
std::optional<Instant> GatewayCore::WakeAt() const {
  if (sequences_.empty()) return std::nullopt;
  Instant wake = heartbeat_at_;
  // Without a route nobody's turn comes.
  if (router_.complete().ok()) wake = std::min(wake, queue_.NextAt().value_or(wake));
  if (!deadlines_.empty()) wake = std::min(wake, deadlines_.begin()->first);
  return std::min(wake, move_at_.value_or(wake));
}

// --- what it tells of itself ---

std::vector<SequenceSummary> GatewayCore::Sequences(size_t most, Instant now) const {
  std::vector<SequenceSummary> all;
  for (const auto& [ticket, s] : sequences_) {
    if (all.size() == most) break;
    all.push_back(s->Summary(now, watchdog_.now()));
  }
  return all;
}

std::optional<SequenceAtGateway> GatewayCore::View(PublicId id) const {
  const auto it = by_id_.find(id);
  if (it == by_id_.end() || !it->second->ids) return std::nullopt;
  return SequenceAtGateway{it->second->key, it->second->ids->View()};
}

}  // namespace catena
