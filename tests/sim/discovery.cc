#include "tests/sim/discovery.h"

namespace catena::sim {

Discovery::Discovery(Process* gateway, const std::vector<std::unique_ptr<Process>>* stages,
                     const Network* network, Clock* clock)
    : gateway_(gateway),
      stages_(stages),
      network_(network),
      clock_(clock),
      limits_(gateway->options().detection) {
  AskAll();
}

void Discovery::AskAll() {
  if (gateway_->answers()) {
    std::vector<ReplicaInfo> replicas;
    for (const auto& stage : *stages_) {
      if (stage->role() == Role::kGateway) continue;
      Member& member = members_[stage->address()];
      Ask(*stage, &member);
      if (member.answers) replicas.push_back(member.info);
    }
    gateway_->OnGateway(
        [replicas](GatewayCore* core, Instant now) { core->SetReplicas(replicas, now); });
  }
  clock_->After(limits_.probe_every, [this] { AskAll(); });
}

void Discovery::Ask(const Process& stage, Member* member) {
  const EdgeState edge = network_->edge(gateway_->address(), stage.address());
  if (!stage.runs() || edge == EdgeState::kRefused) {
    *member = {};
    return;
  }
  if (!stage.answers() || edge == EdgeState::kSilent) {
    if (++member->failures >= limits_.probes_to_lose) member->answers = false;
    return;
  }
  const ReplicaInfo before = std::exchange(member->info, stage.Describe());
  const ReplicaLoad& load = member->info.load;
  const bool moves = load.oldest_step_ns == 0 || load.progress != before.load.progress ||
                     before.replica != member->info.replica;
  if (moves) member->moved_at = clock_->now();
  member->failures = 0;
  member->answers = clock_->now() - member->moved_at <= limits_.no_progress;
}

}  // namespace catena::sim
