#include "runtime/chain/gateway_core.h"

#include <algorithm>
#include <set>

#include "runtime/chain/open_messages.h"

namespace catena {
namespace {

// Of links, while a request is opened: one that finds no stage which stays is ended.
constexpr int kMaxBreaks = 5;

}  // namespace

void Deliver(const LoopEvent& event) {
  LoopListener& listener = *event.listener;
  if (auto* start = std::get_if<LoopEvent::Start>(&event.what)) listener.OnStart(start->sequence);
  if (auto* token = std::get_if<Token>(&event.what)) listener.OnToken(*token);
  if (auto* end = std::get_if<LoopEvent::End>(&event.what)) {
    listener.OnEnd(end->status, end->reason, end->stats);
  }
}

GatewayCore::GatewayCore(const GatewayCoreOptions& options)
    : options_(options),
      queue_({.max_waiting = options.max_waiting, .jitter_seed = options.jitter_seed}) {}

void GatewayCore::SetReplicas(std::vector<ReplicaInfo> replicas, Instant now) {
  router_.Update(std::move(replicas));
  EndMissing(now);
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
    return absl::DeadlineExceededError("the deadline passed before the request came");
  }
  CATENA_RETURN_IF_ERROR(router_.complete());
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
  do {
    s->id = options_.draw_id();
  } while (!by_id_.emplace(s->id, s).second);
  sequences_[ticket] = std::move(owned);
  if (!status.ok()) return Fail(s, status, now);
  queue_.Add(ticket, now);
  Admit(now);
}

void GatewayCore::Cancel(uint64_t ticket, Instant now) {
  auto it = sequences_.find(ticket);
  if (it == sequences_.end()) return;
  Fail(it->second.get(), absl::CancelledError("cancelled"), now);
  Admit(now);
}

void GatewayCore::Admit(Instant now) {
  while (const std::optional<uint64_t> ticket = queue_.Next(now)) {
    Sequence* s = sequences_.at(*ticket).get();
    absl::StatusOr<Route> route = router_.Choose();
    if (route.ok()) {
      Open(s, *std::move(route), now);
    } else {
      Fail(s, route.status(), now);
    }
  }
}

void GatewayCore::Open(Sequence* s, Route route, Instant now) {
  const int64_t context = router_.model().context_length;
  if (s->prompt_length() > context) {  // the replicas are others than when it was accepted
    return Fail(s,
                absl::InvalidArgumentError(
                    fmt::format("the prompt has {} tokens and the context {}: shorten it",
                                s->prompt_length(), context)),
                now);
  }
  queue_.Take(s->ticket);
  s->state = State::kOpening;
  s->key = {.gateway = options_.self, .number = next_number_++};
  by_number_[s->key.number] = s;
  router_.Took(route);
  s->route = std::move(route);
  s->opened.assign(s->route.stages.size(), false);
  s->max_length = MaxLength(s->request, context);
  const int64_t speculate = s->request.score ? 0 : s->request.params.speculate;
  s->ids.emplace(s->key, s->request.prompt, speculate, s->max_length,
                 s->route.stages[0].model.rotary_switch);
  for (const ReplicaInfo& stage : s->route.stages) Connect(stage.replica);
  AskStages(s, now);
}

void GatewayCore::AskStages(Sequence* s, Instant now) {
  const Life& life = s->ids->life();
  s->asked_at = now;
  for (size_t i = 0; i < s->opened.size(); ++i) {
    if (s->opened[i]) continue;
    const Incarnation to = s->route.stages[i].replica.incarnation;
    if (i < s->route.shards()) {
      Send(to, Lane::kControl, MakeOpenStage(s->key, life, s->request, s->max_length, s->route, i));
    } else {
      Send(to, Lane::kControl, MakeOpenHead(s->key, life, s->request, s->max_length, s->route));
    }
    if (queue_.OneByOne(s->ticket)) return;
  }
}

void GatewayCore::On(Incarnation from, Opened& opened, Instant now) {
  Sequence* s = Find(opened.sequence);
  if (s == nullptr || s->state != State::kOpening || opened.life != s->ids->life()) return;
  for (size_t i = 0; i < s->opened.size(); ++i) {
    if (s->route.stages[i].replica.incarnation == from) s->opened[i] = true;
  }
  if (!std::all_of(s->opened.begin(), s->opened.end(), [](bool o) { return o; })) {
    if (queue_.OneByOne(s->ticket)) AskStages(s, now);
    return;
  }
  s->state = State::kRunning;
  queue_.Opened(s->ticket, now);
  s->started = now;
  events_.push_back({s->listener, LoopEvent::Start{s->id}});
  CollectSteps(s);
  SendCollected();
  Admit(now);
}

void GatewayCore::On(Incarnation from, Refused& refused, Instant now) {
  Sequence* s = Find(refused.sequence);
  // A stage may be a round behind.
  if (s == nullptr || refused.life.epoch != s->ids->life().epoch) return;
  const ReplicaInfo* stage = s->route.Find(from);
  if (stage == nullptr) return;
  if (s->state == State::kOpening && absl::IsResourceExhausted(refused.status)) {
    return TryAgain(s, AdmissionQueue::Why::kNoMemory, now);
  }
  Fail(s, Annotate(refused.status, StageName(*stage)), now);
  Admit(now);
}

// Back to its place in the queue: whoever came first is served first.
void GatewayCore::TryAgain(Sequence* s, AdmissionQueue::Why why, Instant now) {
  LeaveRoute(s);
  s->state = State::kWaiting;
  queue_.PutBack(s->ticket, why, now);
}

// --- running ---

void GatewayCore::On(Incarnation from, Unknown& unknown, Instant now) {
  Sequence* s = Find(unknown.sequence);
  if (s == nullptr || s->state != State::kRunning) return;
  const ReplicaInfo* stage = s->route.Find(from);
  if (stage == nullptr) return;
  Fail(s,
       absl::UnavailableError(
           fmt::format("{} no longer has the request; send it again", StageName(*stage))),
       now);
}

void GatewayCore::On(Incarnation from, Tokens& tokens, Instant now) {
  for (Token& token : tokens.tokens) {
    Sequence* s = Find(token.sequence);
    const bool ours = s != nullptr && s->state == State::kRunning && token.life == s->ids->life() &&
                      s->route.head().replica.incarnation == from;
    if (ours) TakeToken(s, token, now);
  }
  SendCollected();
  Admit(now);
}

void GatewayCore::TakeToken(Sequence* s, Token& token, Instant now) {
  const bool score = s->request.score;
  const int64_t expected = score ? s->taken + 1 : s->ids->known();
  if (!score && token.position < expected && token.position >= s->prompt_length() &&
      token.token.id != s->ids->at(token.position)) {
    return Fail(s,
                absl::InternalError(fmt::format("the head at {} gave two tokens for position {}",
                                                s->route.head().replica.address, token.position)),
                now);
  }
  if (token.position != expected) return;  // a repetition, or one was lost and will be repeated
  if (expected == (score ? 1 : s->prompt_length())) s->first_token = now;
  s->taken = expected;
  std::optional<FinishReason> finish;
  if (score) {
    if (expected == s->prompt_length()) finish = FinishReason::kLength;
  } else {
    s->ids->Append(token.token.id);
    finish = FinishAfter(s->request.params, expected + 1 - s->prompt_length(), token.token.id);
    // The new token's position must exist before it can be computed.
    if (!finish && expected + 1 > s->max_length) finish = FinishReason::kLength;
  }
  if (!finish) {
    s->ids->Draft();
    CollectSteps(s);
  }
  events_.push_back({s->listener, std::move(token)});
  if (finish) End(s, absl::OkStatus(), *finish, now);
}

// What the first stage has not been sent yet, together with other sequences'.
void GatewayCore::CollectSteps(Sequence* s) {
  while (std::optional<std::pair<Lane, Step>> step = s->ids->NextStep()) {
    const std::pair to(s->route.stages[0].replica.incarnation, step->first);
    auto it = std::find_if(collected_.begin(), collected_.end(), [&](auto& c) {
      return c.first == to && c.second.steps.size() < limits::kMaxMessageSteps;
    });
    if (it == collected_.end()) it = collected_.insert(it, {to, {}});
    it->second.steps.push_back(std::move(step->second));
  }
}

void GatewayCore::SendCollected() {
  for (auto& [to, steps] : collected_) Send(to.first, to.second, std::move(steps));
  collected_.clear();
}

void GatewayCore::On(Incarnation from, Lengths& lengths, Instant) {
  for (const Length& l : lengths.lengths) {
    Sequence* s = Find(l.sequence);
    if (s == nullptr || s->state != State::kRunning) continue;
    if (s->route.stages[0].replica.incarnation != from) continue;
    if (s->ids->OnLength(l)) CollectSteps(s);
  }
  SendCollected();
}

void GatewayCore::On(Incarnation from, NeedFrom& need, Instant) {
  Sequence* s = Find(need.sequence);
  if (s == nullptr || s->state != State::kRunning || need.life != s->ids->life()) return;
  if (s->route.stages[0].replica.incarnation != from || need.position < 0) return;
  if (!s->ids->OnNeedFrom(need)) return;
  CollectSteps(s);
  SendCollected();
}

// --- ending ---

void GatewayCore::LeaveRoute(Sequence* s) {
  for (const ReplicaInfo& stage : s->route.stages) {
    Send(stage.replica.incarnation, Lane::kControl, Close{s->key});
  }
  router_.Released(s->route);
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
  if (s->taken == 0) s->first_token = now;
  LoopStats stats{.queue = s->started - s->submitted,
                  .prefill = s->first_token - s->started,
                  .decode = now - s->first_token};
  if (s->ids) {
    stats.drafted = s->ids->drafted();
    stats.accepted = s->ids->accepted();
  }
  events_.push_back({s->listener, LoopEvent::End{status, reason, stats}});
  by_id_.erase(s->id);
  sequences_.erase(s->ticket);
}

// Replicas that no longer answer, or make no progress, are not among those of SetReplicas.
// Sequences that need one get the time that a link would get.
void GatewayCore::EndMissing(Instant now) {
  std::set<Incarnation> present;
  for (const ReplicaInfo& r : router_.replicas()) present.insert(r.replica.incarnation);
  std::set<Incarnation> needed;
  for (const auto& [number, s] : by_number_) {
    for (const ReplicaInfo& stage : s->route.stages) needed.insert(stage.replica.incarnation);
  }
  std::erase_if(missing_, [&](const auto& m) {
    return present.contains(m.first) || !needed.contains(m.first);
  });
  std::vector<Incarnation> gone;
  for (const Incarnation peer : needed) {
    if (present.contains(peer)) continue;
    const Instant since = missing_.try_emplace(peer, now).first->second;
    if (now - since >= limits::kNoProgress) gone.push_back(peer);
  }
  for (const Incarnation peer : gone) {
    Disconnected(peer, absl::UnavailableError("it does not answer"), now);
  }
}

void GatewayCore::Disconnected(Incarnation peer, const absl::Status& why, Instant now) {
  router_.Lost(peer);
  std::vector<Sequence*> hit;
  for (const auto& [number, s] : by_number_) {
    if (s->route.Find(peer) != nullptr) hit.push_back(s);
  }
  for (Sequence* s : hit) {
    if (s->state == State::kOpening && ++s->breaks <= kMaxBreaks) {
      TryAgain(s, AdmissionQueue::Why::kBroken, now);
      continue;
    }
    const std::string stage = StageName(*s->route.Find(peer));
    Fail(s,
         absl::UnavailableError(
             fmt::format("{} is gone ({}); send the request again", stage, Message(why))),
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
    const char* where = s->state == State::kRunning ? "running" : "waiting for a place";
    Fail(s, absl::DeadlineExceededError(fmt::format("the deadline passed while it was {}", where)),
         now);
  }
}

// --- time ---

void GatewayCore::Tick(Instant now) {
  EndLate(now);
  if (now >= heartbeat_at_) {
    heartbeat_at_ = now + limits::kHeartbeat;
    for (const auto& [number, s] : by_number_) {
      if (s->state == State::kOpening && now - s->asked_at >= limits::kRetry) AskStages(s, now);
    }
    EndMissing(now);
    SendHeartbeats();
    SendSentLengths();
  }
  Admit(now);
}

std::optional<Instant> GatewayCore::WakeAt() const {
  if (sequences_.empty()) return std::nullopt;
  Instant wake = std::min(heartbeat_at_, queue_.NextAt().value_or(heartbeat_at_));
  for (const auto& [ticket, s] : sequences_) {
    if (s->request.deadline) wake = std::min(wake, *s->request.deadline);
  }
  return wake;
}

void GatewayCore::SendHeartbeats() {
  std::map<Incarnation, Heartbeat> heartbeats;
  for (const auto& [number, s] : by_number_) {
    for (const ReplicaInfo& stage : s->route.stages) {
      heartbeats[stage.replica.incarnation].open.push_back({s->key, s->taken + 1});
    }
  }
  for (auto& [to, heartbeat] : heartbeats) {
    heartbeat.newest = next_number_ - 1;
    Send(to, Lane::kControl, std::move(heartbeat));
  }
}

void GatewayCore::SendSentLengths() {
  std::map<std::pair<Incarnation, Lane>, SentLengths> sent;
  for (const auto& [number, s] : by_number_) {
    if (s->state != State::kRunning) continue;
    if (auto length = s->ids->Unacknowledged()) {
      sent[{s->route.stages[0].replica.incarnation, length->first}].lengths.push_back(
          length->second);
    }
  }
  for (auto& [to, message] : sent) Send(to.first, to.second, std::move(message));
}

std::optional<SequenceAtGateway> GatewayCore::View(PublicId id) const {
  const auto it = by_id_.find(id);
  if (it == by_id_.end() || it->second->state == State::kWaiting) return std::nullopt;
  return SequenceAtGateway{it->second->key, it->second->ids->View()};
}

}  // namespace catena
