#include "runtime/chain/gateway_sequence.h"

#include "runtime/chain/limits.h"
#include "runtime/chain/open_messages.h"
#include "runtime/chain/planted.h"

namespace catena {

ChainMessage GatewaySequence::MakeOpen(size_t stage) const {
  const Life& life = ids->life();
  if (stage < route.shards()) {
    OpenStage open = MakeOpenStage(key, life, request, max_length, route, stage);
    open.public_id = id;
    open.reserve = std::min(max_length, ids->known() + growth);
    open.came = came;
    open.started = told;
    open.trial_end = TrialEnd();
    return open;
  }
  OpenHead open = MakeOpenHead(key, life, request, max_length, route);
  open.public_id = id;
  open.trial_end = TrialEnd();
  // A head that has lost the sequence goes on where it was: what it sampled before was perhaps of
  // another round, with other rotary factors. At first all ids come with the steps.
  open.first_token = next_token();
  if (last_token == 0) return open;
  open.ids = ids->First(open.first_token - (CATENA_PLANTED(kHeadGetsOneIdMore) ? 0 : 1));
  return open;
}

size_t GatewaySequence::StandsAt() const {
  if (state == State::kRunning) return progress.StandsAt(ids->size());
  if (in_turn && !opened.back()) return opened.size() - 1;
  const auto unopened = std::find(opened.begin(), opened.end(), std::nullopt);
  return static_cast<size_t>(unopened - opened.begin());
}

void GatewaySequence::SetLengths() {
  lengths.clear();
  for (const std::optional<Answer>& answer : opened) {
    // (Not all have answered where that fault is planted.)
    const Answer a = answer.value_or(Answer{});
    const uint32_t round = CATENA_PLANTED(kOldRoundsCount) ? ids->life().round : a.round;
    lengths.push_back(ids->ValidLength(round, a.length));
  }
}

Go GatewaySequence::MakeGo(size_t stage) const {
  return {.sequence = key,
          .life = ids->life(),
          .length = lengths[stage],
          .next_length = lengths[stage + 1],
          .replay_end = ids->known()};
}

SequenceSummary GatewaySequence::Summary(Instant now, WatchTime watched) const {
  SequenceSummary summary{.id = id,
                          .state = state,
                          .age = now - submitted,
                          .prompt_tokens = prompt_length(),
                          .output_tokens = 0,
                          .still = now - submitted,
                          .route = {}};
  if (state == State::kWaiting) return summary;
  if (!request.score) summary.output_tokens = ids->known() - prompt_length();
  summary.still = watched - progress.moved_at();
  for (const ReplicaInfo& r : route.stages) {
    summary.route.push_back({r.role, r.layers, r.replica.address});
  }
  return summary;
}

LoopStats GatewaySequence::Stats(Instant now) const {
  LoopStats stats{
      .queue = started - submitted, .prefill = first_token - started, .decode = now - first_token};
  if (!ids) return stats;
  stats.moves = moves;
  stats.drafted = ids->drafted();
  stats.accepted = ids->accepted();
  return stats;
}

std::vector<Envelope> MakeHeartbeats(const SequencesOnRoutes& sequences, uint64_t newest,
                                     const std::vector<ReplicaInfo>& all,
                                     const std::function<bool(const GatewaySequence&)>& doubt) {
  std::map<Incarnation, Heartbeat> heartbeats;
  for (const ReplicaInfo& stage : all) {
    if (!CATENA_PLANTED(kHeartbeatsOnRoutesOnly)) heartbeats[stage.replica.incarnation];
  }
  for (const auto& [number, s] : sequences) {
    const Heartbeat::Entry entry{.sequence = s->key,
                                 .life = s->ids->life(),
                                 .next_token = s->next_token(),
                                 .tell = doubt(*s)};
    for (const ReplicaInfo& stage : s->route.stages) {
      heartbeats[stage.replica.incarnation].open.push_back(entry);
    }
  }
  std::vector<Envelope> envelopes;
  for (auto& [to, heartbeat] : heartbeats) {
    heartbeat.newest = newest;
    envelopes.push_back({to, Lane::kControl, std::move(heartbeat)});
  }
  return envelopes;
}

std::vector<Envelope> MakeSentLengths(const SequencesOnRoutes& sequences) {
  std::map<std::pair<Incarnation, Lane>, std::vector<SentLengths>> sent;
  for (const auto& [number, s] : sequences) {
    if (s->state != GatewaySequence::State::kRunning) continue;
    if (auto length = s->ids->Unacknowledged()) {
      auto& messages = sent[{s->route.stages[0].replica.incarnation, length->first}];
      if (messages.empty() || messages.back().lengths.size() == limits::kMaxMessageSteps) {
        messages.emplace_back();
      }
      messages.back().lengths.push_back(length->second);
    }
  }
  std::vector<Envelope> envelopes;
  for (auto& [to, messages] : sent) {
    for (SentLengths& m : messages) envelopes.push_back({to.first, to.second, std::move(m)});
  }
  return envelopes;
}

}  // namespace catena
