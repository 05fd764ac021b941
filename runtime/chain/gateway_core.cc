#include "runtime/chain/gateway_core.h"

#include <algorithm>
#include <set>

#include "runtime/generate.h"

namespace catena {
namespace {

// A pause after a refusal, times a random share, so that gateways that collided do not collide
// again.
constexpr std::chrono::milliseconds kRefusalPause{100};
// After so many refusals stages are asked one by one in layer order: whoever got the first one will
// get the others, and two gateways cannot hold half a route each for ever.
constexpr int kRefusalsBeforeTickets = 3;
// A request that finds no stage which stays is ended.
constexpr int kMaxBreaks = 5;
// Sequences that stages are asked for at a time.
constexpr int64_t kMaxOpening = 32;

std::string Describe(const ReplicaInfo& stage) {
  if (stage.role == Role::kHead) return fmt::format("the head at {}", stage.replica.address);
  return fmt::format("the shard of blocks [{}, {}) at {}", stage.layers.begin, stage.layers.end,
                     stage.replica.address);
}

const ReplicaInfo* StageOf(const Route& route, Incarnation peer) {
  for (const ReplicaInfo& stage : route.stages) {
    if (stage.replica.incarnation == peer) return &stage;
  }
  return nullptr;
}

}  // namespace

void Deliver(const LoopEvent& event) {
  LoopListener& listener = *event.listener;
  if (auto* start = std::get_if<LoopEvent::Start>(&event.what)) listener.OnStart(start->sequence);
  if (auto* token = std::get_if<Token>(&event.what)) listener.OnToken(*token);
  if (auto* end = std::get_if<LoopEvent::End>(&event.what)) {
    listener.OnEnd(end->status, end->reason, end->times);
  }
}

GatewayCore::GatewayCore(const GatewayCoreOptions& options)
    : options_(options), jitter_(static_cast<uint32_t>(options.jitter_seed)) {}

void GatewayCore::SetReplicas(std::vector<ReplicaInfo> replicas, Instant now) {
  router_.Update(std::move(replicas));
  EndMissing(now);
  Admit(now);
}

// --- admission ---

absl::Status GatewayCore::CheckQueue(const LoopRequest& request, Instant now) const {
  if (request.deadline && *request.deadline <= now) {
    return absl::DeadlineExceededError("the deadline passed before the request came");
  }
  CATENA_RETURN_IF_ERROR(router_.complete());
  if (waiting() >= options_.max_waiting) {
    return absl::ResourceExhaustedError(
        fmt::format("{} requests wait already; try again later", waiting()));
  }
  const Nanoseconds wait = admit_interval_ * waiting();
  if (request.deadline && wait > Nanoseconds(0) && now + wait > *request.deadline) {
    return absl::ResourceExhaustedError(
        fmt::format("the wait for a place, about {:.1f} s, is longer than the request's deadline; "
                    "try again later",
                    std::chrono::duration<double>(wait).count()));
  }
  return absl::OkStatus();
}

void GatewayCore::Submit(uint64_t ticket, LoopRequest request,
                         std::shared_ptr<LoopListener> listener, Instant now) {
  auto owned = std::make_unique<Sequence>();
  Sequence* s = owned.get();
  s->ticket = ticket;
  s->request = std::move(request);
  s->listener = std::move(listener);
  s->submitted = s->started = s->first_token = s->not_before = now;
  sequences_[ticket] = std::move(owned);
  if (absl::Status status = CheckQueue(s->request, now); !status.ok()) {
    return End(s, status, FinishReason::kLength, now);
  }
  waiting_.push_back(s);
  Admit(now);
}

void GatewayCore::Cancel(uint64_t ticket, Instant now) {
  auto it = sequences_.find(ticket);
  if (it == sequences_.end()) return;
  End(it->second.get(), absl::CancelledError("cancelled"), FinishReason::kLength, now);
  Admit(now);
}

void GatewayCore::Admit(Instant now) {
  while (!waiting_.empty() && waiting_.front()->not_before <= now && MayOpen()) {
    Sequence* s = waiting_.front();
    absl::StatusOr<Route> route = router_.Choose();
    if (!route.ok()) {
      End(s, route.status(), FinishReason::kLength, now);
      continue;
    }
    waiting_.pop_front();
    OpenOn(s, *std::move(route), now);
  }
}

// Whether the front of the queue may be opened. What was refused is opened alone: others would take
// the pages that it waits for, and it would starve.
bool GatewayCore::MayOpen() const {
  if (waiting_.front()->refusals > 0) return opening_ == 0;
  return opening_ < kMaxOpening && !opening_alone_;
}

void GatewayCore::OpenOn(Sequence* s, Route route, Instant now) {
  const int64_t context = router_.model().context_length;
  if (s->prompt_length() > context) {  // the replicas are others than when it was accepted
    return End(s,
               absl::InvalidArgumentError(
                   fmt::format("the prompt has {} tokens and the context {}: shorten it",
                               s->prompt_length(), context)),
               FinishReason::kLength, now);
  }
  s->state = State::kOpening;
  ++opening_;
  opening_alone_ = s->refusals > 0;
  s->key = {.gateway = options_.self, .number = next_number_++};
  by_number_[s->key.number] = s;
  router_.Took(route);
  s->route = std::move(route);
  s->opened.assign(s->route.stages.size(), false);
  s->max_length = s->request.score
                      ? s->prompt_length()
                      : PositionsNeeded(s->prompt_length(), s->request.params, context);
  s->ids = s->request.prompt;
  s->outbox = Outbox(s->max_length);
  for (const ReplicaInfo& stage : s->route.stages) Connect(stage.replica);
  AskStages(s, now);
}

// All stages at once, or where that failed too often, one after another.
void GatewayCore::AskStages(Sequence* s, Instant now) {
  const bool one_by_one = s->refusals >= kRefusalsBeforeTickets;
  s->asked_at = now;
  for (size_t i = 0; i < s->opened.size(); ++i) {
    if (s->opened[i]) continue;
    const Incarnation to = s->route.stages[i].replica.incarnation;
    if (i < s->route.shards()) {
      Send(to, Lane::kControl, StageOpen(*s, i));
    } else {
      Send(to, Lane::kControl, HeadOpen(*s));
    }
    if (one_by_one) return;
  }
}

OpenStage GatewayCore::StageOpen(const Sequence& s, size_t stage) const {
  const ModelInfo& model = s.route.stages[stage].model;
  const int64_t may_grow_to =
      s.prompt_length() + (s.request.score ? 0 : s.request.params.max_tokens);
  std::vector<std::string_view> hosts;
  for (const ReplicaInfo& r : s.route.stages) {
    if (r.role == Role::kShard) hosts.push_back(r.host);
  }
  std::sort(hosts.begin(), hosts.end());
  const auto devices = std::unique(hosts.begin(), hosts.end()) - hosts.begin();
  return {.sequence = s.key,
          .life = s.life,
          .next = s.route.stages[stage + 1].replica,
          .next_is_head = stage + 1 == s.route.shards(),
          .prompt_length = s.prompt_length(),
          .max_length = s.max_length,
          .first_wanted = s.request.score ? 0 : s.prompt_length() - 1,
          .window_rows = limits::kDefaultWindowRows,
          .rotary = model.rotary_switch > 0 && may_grow_to > model.rotary_switch ? 1 : 0,
          .decode_groups = static_cast<int32_t>(devices)};
}

OpenHead GatewayCore::HeadOpen(const Sequence& s) const {
  OpenHead open{.sequence = s.key,
                .life = s.life,
                .ids = {},
                .prompt_length = s.prompt_length(),
                .max_length = s.max_length,
                .first_wanted = s.request.score ? 0 : s.prompt_length() - 1,
                .first_token = 0,
                .window_rows = limits::kDefaultWindowRows,
                .score_top = s.request.score ? s.request.score_top : 0,
                .sequence_index = s.request.sequence_index,
                .params = s.request.params};
  open.params.stop.clear();  // stop strings are text, which is not the head's
  return open;
}

void GatewayCore::On(Incarnation from, Opened& opened, Instant now) {
  Sequence* s = Find(opened.sequence);
  if (s == nullptr || s->state != State::kOpening || opened.life != s->life) return;
  for (size_t i = 0; i < s->opened.size(); ++i) {
    if (s->route.stages[i].replica.incarnation == from) s->opened[i] = true;
  }
  if (!std::all_of(s->opened.begin(), s->opened.end(), [](bool o) { return o; })) {
    if (s->refusals >= kRefusalsBeforeTickets) AskStages(s, now);
    return;
  }
  s->state = State::kRunning;
  --opening_;
  opening_alone_ = false;
  s->started = now;
  Admitted(now);
  events_.push_back({s->listener, LoopEvent::Start{s->key}});
  Flush(s);
  SendCollected();
  Admit(now);
}

// How long one waits for the next: only while there is a queue does that say anything.
void GatewayCore::Admitted(Instant now) {
  if (waiting() == 0) {
    admitted_at_.reset();
    admit_interval_ = Nanoseconds(0);
    return;
  }
  if (admitted_at_) admit_interval_ += (now - *admitted_at_ - admit_interval_) / 8;
  admitted_at_ = now;
}

void GatewayCore::On(Incarnation from, Refused& refused, Instant now) {
  Sequence* s = Find(refused.sequence);
  if (s == nullptr || refused.life != s->life || StageOf(s->route, from) == nullptr) return;
  if (s->state == State::kOpening && absl::IsResourceExhausted(refused.status)) {
    return Requeue(s, now);
  }
  const absl::Status why = Annotate(refused.status, Describe(*StageOf(s->route, from)));
  End(s, why, FinishReason::kLength, now);
  Admit(now);
}

// Back to the front of the queue: whoever came first is served first.
void GatewayCore::Requeue(Sequence* s, Instant now) {
  Release(s);
  s->state = State::kWaiting;
  ++s->refusals;
  const double share = 0.5 + 0.5 * static_cast<double>(jitter_() % 1024) / 1024;
  s->not_before = now + std::chrono::duration_cast<Nanoseconds>(kRefusalPause * share);
  const auto at = std::find_if(waiting_.begin(), waiting_.end(),
                               [&](Sequence* w) { return w->ticket > s->ticket; });
  waiting_.insert(at, s);
}

void GatewayCore::Release(Sequence* s) {
  if (s->state == State::kOpening) {
    --opening_;
    opening_alone_ = false;
  }
  for (const ReplicaInfo& stage : s->route.stages) {
    Send(stage.replica.incarnation, Lane::kControl, Close{s->key});
  }
  router_.Released(s->route);
  by_number_.erase(s->key.number);
  s->route = {};
}

void GatewayCore::On(Incarnation from, Unknown& unknown, Instant now) {
  Sequence* s = Find(unknown.sequence);
  if (s == nullptr || s->state != State::kRunning) return;
  const ReplicaInfo* stage = StageOf(s->route, from);
  if (stage == nullptr) return;
  End(s,
      absl::UnavailableError(
          fmt::format("{} no longer has the request; send it again", Describe(*stage))),
      FinishReason::kLength, now);
}

// --- running ---

GatewayCore::Sequence* GatewayCore::Find(const SequenceKey& key) {
  if (key.gateway != options_.self) return nullptr;
  auto it = by_number_.find(key.number);
  return it == by_number_.end() ? nullptr : it->second;
}

void GatewayCore::Receive(Incarnation from, Lane, ChainMessage message, Instant now) {
  std::visit([&](auto& m) { On(from, m, now); }, message);
}

void GatewayCore::On(Incarnation from, Tokens& tokens, Instant now) {
  for (Token& token : tokens.tokens) {
    Sequence* s = Find(token.sequence);
    const bool ours = s != nullptr && s->state == State::kRunning && token.life == s->life &&
                      s->route.head().replica.incarnation == from;
    if (ours) TakeToken(s, token, now);
  }
  SendCollected();
  Admit(now);
}

void GatewayCore::TakeToken(Sequence* s, Token& token, Instant now) {
  const int64_t expected = s->request.score ? s->taken + 1 : static_cast<int64_t>(s->ids.size());
  if (!s->request.score && token.position < expected && token.position >= s->prompt_length() &&
      token.token.id != s->ids[token.position]) {
    return End(s,
               absl::InternalError(fmt::format("the head at {} gave two tokens for position {}",
                                               s->route.head().replica.address, token.position)),
               FinishReason::kLength, now);
  }
  if (token.position != expected) return;  // a repetition, or one was lost and will be repeated
  if (expected == (s->request.score ? 1 : s->prompt_length())) s->first_token = now;
  s->taken = expected;
  std::optional<FinishReason> finish;
  if (s->request.score) {
    if (expected == s->prompt_length()) finish = FinishReason::kLength;
  } else {
    s->ids.push_back(token.token.id);
    finish = FinishAfter(s->request.params, expected + 1 - s->prompt_length(), token.token.id);
    // The new token's position must exist before it can be computed.
    if (!finish && expected + 1 > s->max_length) finish = FinishReason::kLength;
  }
  if (!finish) Flush(s);
  events_.push_back({s->listener, std::move(token)});
  if (finish) End(s, absl::OkStatus(), *finish, now);
}

// What the first stage has not been sent yet, together with other sequences'.
void GatewayCore::Flush(Sequence* s) {
  const auto available = static_cast<int64_t>(s->ids.size());
  while (const int64_t sendable = s->outbox.Sendable(available)) {
    const int64_t from = s->outbox.cursor();
    const int64_t n = std::min(sendable, limits::kMaxMessageRows);
    const Lane lane = s->outbox.LaneFor(from >= s->prompt_length());
    const std::pair to(s->route.stages[0].replica.incarnation, lane);
    auto it = std::find_if(collected_.begin(), collected_.end(), [&](auto& c) {
      return c.first == to && c.second.steps.size() < limits::kMaxMessageSteps;
    });
    if (it == collected_.end()) it = collected_.insert(it, {to, {}});
    it->second.steps.push_back({.sequence = s->key,
                                .life = s->life,
                                .position = from,
                                .ids = {s->ids.begin() + from, s->ids.begin() + from + n},
                                .row_hashes = {}});
    s->outbox.Sent(from + n, lane);
  }
}

void GatewayCore::SendCollected() {
  for (auto& [to, steps] : collected_) Send(to.first, to.second, std::move(steps));
  collected_.clear();
}

void GatewayCore::On(Incarnation from, Lengths& lengths, Instant) {
  for (const Length& l : lengths.lengths) {
    Sequence* s = Find(l.sequence);
    if (s == nullptr || s->state != State::kRunning || l.life != s->life) continue;
    if (s->route.stages[0].replica.incarnation != from) continue;
    s->outbox.PeerComputed(std::min(l.length, static_cast<int64_t>(s->ids.size())));
    Flush(s);
  }
  SendCollected();
}

void GatewayCore::On(Incarnation from, NeedFrom& need, Instant) {
  Sequence* s = Find(need.sequence);
  if (s == nullptr || s->state != State::kRunning || need.life != s->life) return;
  if (s->route.stages[0].replica.incarnation != from || need.position < 0) return;
  if (!s->outbox.Rewind(need)) return;
  Flush(s);
  SendCollected();
}

void GatewayCore::End(Sequence* s, const absl::Status& status, FinishReason reason, Instant now) {
  if (s->state == State::kWaiting) {
    std::erase(waiting_, s);
    s->started = s->first_token = now;
  } else {
    Release(s);
    // Its pages are free by the time an Open that is sent now arrives.
    if (!waiting_.empty()) waiting_.front()->not_before = now;
  }
  if (s->taken == 0) s->first_token = now;
  const LoopTimes times{.queue = s->started - s->submitted,
                        .prefill = s->first_token - s->started,
                        .decode = now - s->first_token};
  events_.push_back({s->listener, LoopEvent::End{status, reason, times}});
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
    if (StageOf(s->route, peer) != nullptr) hit.push_back(s);
  }
  for (Sequence* s : hit) {
    if (s->state == State::kOpening && ++s->breaks <= kMaxBreaks) {
      Requeue(s, now);
      continue;
    }
    const std::string stage = Describe(*StageOf(s->route, peer));
    End(s,
        absl::UnavailableError(
            fmt::format("{} is gone ({}); send the request again", stage, Message(why))),
        FinishReason::kLength, now);
  }
  Admit(now);
}

// --- time ---

void GatewayCore::Tick(Instant now) {
  std::vector<Sequence*> late;
  for (const auto& [ticket, s] : sequences_) {
    if (s->request.deadline && *s->request.deadline <= now) late.push_back(s.get());
  }
  for (Sequence* s : late) {
    const char* where = s->state == State::kRunning ? "running" : "waiting for a place";
    End(s, absl::DeadlineExceededError(fmt::format("the deadline passed while it was {}", where)),
        FinishReason::kLength, now);
  }
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
  Instant wake = heartbeat_at_;
  for (const auto& [ticket, s] : sequences_) {
    if (s->request.deadline) wake = std::min(wake, *s->request.deadline);
  }
  if (!waiting_.empty() && MayOpen()) wake = std::min(wake, waiting_.front()->not_before);
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
    if (s->state != State::kRunning || s->outbox.cursor() <= s->outbox.peer_length()) continue;
    const std::pair to(s->route.stages[0].replica.incarnation, s->outbox.LaneFor(true));
    sent[to].lengths.push_back({s->key, s->life, s->outbox.cursor()});
  }
  for (auto& [to, message] : sent) Send(to.first, to.second, std::move(message));
}

std::optional<SequenceView> GatewayCore::View(const SequenceKey& key) const {
  auto it = key.gateway == options_.self ? by_number_.find(key.number) : by_number_.end();
  if (it == by_number_.end()) return std::nullopt;
  const Sequence& s = *it->second;
  return SequenceView{.life = s.life,
                      .length = static_cast<int64_t>(s.ids.size()),
                      .queued_end = static_cast<int64_t>(s.ids.size()),
                      .cursor = s.outbox.cursor(),
                      .journal_begin = 0,
                      .window_end = s.outbox.window_end()};
}

}  // namespace catena
