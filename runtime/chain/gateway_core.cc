#include "runtime/chain/gateway_core.h"

#include <algorithm>
#include <set>

#include "runtime/generate.h"

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
    : options_(options), jitter_(static_cast<uint32_t>(options.jitter_seed)) {}

void GatewayCore::SetReplicas(std::vector<ReplicaInfo> replicas, Instant now) {
  router_.Update(std::move(replicas));
  EndMissing(now);
  Admit(now);
}

// --- running ---

GatewayCore::Sequence* GatewayCore::Find(const SequenceKey& key) {
  if (key.gateway != options_.self) return nullptr;
  auto it = by_number_.find(key.number);
  return it == by_number_.end() ? nullptr : it->second;
}

void GatewayCore::On(Incarnation from, Unknown& unknown, Instant now) {
  Sequence* s = Find(unknown.sequence);
  if (s == nullptr || s->state != State::kRunning) return;
  const ReplicaInfo* stage = s->route.Find(from);
  if (stage == nullptr) return;
  End(s,
      absl::UnavailableError(
          fmt::format("{} no longer has the request; send it again", StageName(*stage))),
      FinishReason::kLength, now);
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
  const int64_t expected = s->request.score ? s->taken + 1 : s->known();
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
    Append(s, token.token.id);
    finish = FinishAfter(s->request.params, expected + 1 - s->prompt_length(), token.token.id);
    // The new token's position must exist before it can be computed.
    if (!finish && expected + 1 > s->max_length) finish = FinishReason::kLength;
  }
  if (!finish) {
    Draft(s);
    Flush(s);
  }
  events_.push_back({s->listener, std::move(token)});
  if (finish) End(s, absl::OkStatus(), *finish, now);
}

// The next token. Where another was guessed, it and what was guessed after it are rolled back.
void GatewayCore::Append(Sequence* s, int32_t id) {
  const int64_t position = s->known();
  if (s->drafts > 0 && s->ids[position] == id) {
    --s->drafts;
    ++s->accepted;
    return;
  }
  if (s->proposed > 0) s->lookup.Judge(s->proposed, s->proposed - s->drafts);
  s->proposed = 0;
  if (s->drafts > 0) {
    s->drafts = 0;
    s->ids.resize(static_cast<size_t>(position));
    ++s->life.round;
    s->outbox.RollBack(position);
  }
  s->ids.push_back(id);
}

// Guesses what follows, to be computed together with the token that came last.
void GatewayCore::Draft(Sequence* s) {
  if (s->request.score || s->drafts > 0) return;
  const int64_t room = s->max_length - static_cast<int64_t>(s->ids.size());
  s->lookup.Propose(s->ids, room, &drafts_);
  s->ids.insert(s->ids.end(), drafts_.begin(), drafts_.end());
  s->drafts = s->proposed = static_cast<int64_t>(drafts_.size());
  s->drafted += s->drafts;
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
    if (s == nullptr || s->state != State::kRunning) continue;
    if (s->route.stages[0].replica.incarnation != from) continue;
    if (!s->outbox.Heard(l, s->life, static_cast<int64_t>(s->ids.size()))) continue;
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
  const LoopStats stats{.queue = s->started - s->submitted,
                        .prefill = s->first_token - s->started,
                        .decode = now - s->first_token,
                        .drafted = s->drafted,
                        .accepted = s->accepted};
  events_.push_back({s->listener, LoopEvent::End{status, reason, stats}});
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
      Requeue(s, now);
      continue;
    }
    const std::string stage = StageName(*s->route.Find(peer));
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
                      .length = s.known(),
                      .queued_end = static_cast<int64_t>(s.ids.size()),
                      .cursor = s.outbox.cursor(),
                      .journal_begin = 0,
                      .window_end = s.outbox.window_end()};
}

}  // namespace catena
