// The part of GatewayCore that admits: the queue, and the opening of a sequence on all stages of a
// route or none.
#include <algorithm>

#include "runtime/chain/gateway_core.h"
#include "runtime/generate.h"

namespace catena {
namespace {

// A pause after a refusal, times a random share, so that gateways that collided do not collide
// again.
constexpr std::chrono::milliseconds kRefusalPause{100};
// After so many refusals stages are asked one by one in layer order: whoever got the first one will
// get the others, and two gateways cannot hold half a route each for ever.
constexpr int kRefusalsBeforeTickets = 3;
// Sequences that stages are asked for at a time.
constexpr int64_t kMaxOpening = 32;

}  // namespace

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
  s->lookup = PromptLookup(s->request.params.speculate);
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
  // Stop strings are text, and guesses are made here.
  open.params.stop.clear();
  open.params.speculate = 0;
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
  // A stage may be a round behind.
  if (s == nullptr || refused.life.epoch != s->life.epoch) return;
  if (s->route.Find(from) == nullptr) return;
  if (s->state == State::kOpening && absl::IsResourceExhausted(refused.status)) {
    return Requeue(s, now);
  }
  const absl::Status why = Annotate(refused.status, StageName(*s->route.Find(from)));
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

}  // namespace catena
