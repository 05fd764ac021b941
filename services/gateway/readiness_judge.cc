#include "services/gateway/readiness_judge.h"

#include <algorithm>

namespace catena {

std::vector<ReadinessJudge::Probe> ReadinessJudge::Look(const Seen& seen) {
  TakeTrail(seen.replicas);
  if (!seen.complete.ok()) {
    Doubt(seen.complete, seen.now);
    return {};
  }
  if (token_at_ > doubted_at_) status_ = absl::OkStatus();
  const Instant long_ago = seen.now - options_.token_timeout;
  if (status_.ok() && through_any_ && through_any_->at <= long_ago &&
      token_at_ <= through_any_->at && seen.worked_at <= long_ago) {
    Doubt(absl::UnavailableError(fmt::format(
              "no token has come through the chain for {:.3g} s, and no stage makes progress",
              std::chrono::duration<double>(seen.now - through_any_->at).count())),
          seen.now);
  }
  std::vector<Probe> probes;
  if (!through_any_ && WantsToken(seen.now)) {
    probes.push_back(Send(&through_any_, std::nullopt, seen.now));
  }
  if (!through_one_ && status_.ok()) {
    if (const auto replica = WantsTokenThrough(seen.now)) {
      probes.push_back(Send(&through_one_, replica, seen.now));
    }
  }
  return probes;
}

void ReadinessJudge::Doubt(const absl::Status& why, Instant now) {
  status_ = why;
  doubted_at_ = now;
}

void ReadinessJudge::TakeTrail(const std::vector<TokenTrail::Entry>& replicas) {
  std::map<Incarnation, Known> before = std::exchange(replicas_, {});
  for (const TokenTrail::Entry& e : replicas) {
    Known& known = replicas_[e.replica];
    if (const auto it = before.find(e.replica); it != before.end()) known = it->second;
    if (e.at > known.tried_at) troubles_.erase(e.replica);
    known.token_at = std::max(known.token_at, e.at);
    token_at_ = std::max(token_at_, e.at);
  }
  std::erase_if(troubles_, [this](const auto& t) { return !replicas_.contains(t.first); });
}

ReadinessJudge::Probe ReadinessJudge::Send(std::optional<Sent>* slot,
                                           std::optional<Incarnation> through, Instant now) {
  *slot = Sent{{.number = next_number_++, .through = through}, now};
  return (*slot)->probe;
}

bool ReadinessJudge::WantsToken(Instant now) const {
  if (now < retry_at_) return false;
  return !status_.ok() || now - token_at_ >= options_.token_every;
}

// Whoever has gone without one for longest.
std::optional<Incarnation> ReadinessJudge::WantsTokenThrough(Instant now) const {
  std::optional<Incarnation> wants;
  Instant longest = Instant::max();
  for (const auto& [replica, known] : replicas_) {
    const bool troubled = troubles_.contains(replica);
    const auto every = troubled ? options_.replica_retry_every : options_.replica_token_every;
    const Instant last = std::max(known.token_at, known.tried_at);
    if (last != Instant() && now - last < every) continue;
    if (last >= longest) continue;
    longest = last;
    wants = replica;
  }
  return wants;
}

void ReadinessJudge::Ended(uint64_t probe, const absl::Status& status, Instant now) {
  // No room is no fault: what runs shows whether tokens come.
  const bool failed = !status.ok() && !absl::IsResourceExhausted(status);
  if (status.ok()) token_at_ = std::max(token_at_, now);
  if (through_any_ && through_any_->probe.number == probe) {
    if (failed && token_at_ <= through_any_->at) {
      Doubt(Annotate(status, "no token came through the chain"), now);
    }
    if (!status.ok()) retry_at_ = now + options_.retry_every;
    through_any_.reset();
  }
  if (through_one_ && through_one_->probe.number == probe) {
    const auto it = replicas_.find(*through_one_->probe.through);
    if (it != replicas_.end()) {
      it->second.tried_at = now;
      if (status.ok()) troubles_.erase(it->first);
      if (failed) {
        troubles_[it->first] = fmt::format("no token came by way of it: {}", Message(status));
      }
    }
    through_one_.reset();
  }
}

}  // namespace catena
