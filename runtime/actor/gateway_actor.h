// A gateway's token loop at work: its core and the thread that runs it, away from gRPC and text.
//
// Thread rules: as Actor and TokenLoop.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "runtime/actor/actor.h"
#include "runtime/chain/gateway_core.h"

namespace catena {

// What `catena status` shows of a gateway.
struct GatewayView {
  absl::Status route;  // OK where there is a complete one
  ModelInfo model;
  std::string numerics_id;
  std::map<Incarnation, std::string> refused;  // replicas that are not used, and why
  std::map<Incarnation, std::string> broken;   // replicas with edges that are broken, and which
  int64_t waiting = 0, running = 0;
  TokenTrail trail;   // of the replicas that are used
  Instant worked_at;  // when a stage was last seen to make progress
};

class GatewayActor final : public Actor, public TokenLoop {
 public:
  explicit GatewayActor(const GatewayCoreOptions& options);
  ~GatewayActor() override;  // Stop

  uint64_t Submit(LoopRequest request, std::shared_ptr<LoopListener> listener) override;
  void Cancel(uint64_t ticket) override;

  // All shards and heads that may be used now, and those that fail.
  void SetReplicas(std::vector<ReplicaInfo> replicas, std::vector<AbsentReplica> absent = {});

  // As of the last round.
  GatewayView view() const;
  // Calls `done` on the actor's thread with the view after all that was posted before.
  void AskView(std::function<void(const GatewayView&)> done);
  // Calls `done` on the actor's thread with the sequence as it is held here.
  void View(PublicId id, std::function<void(std::optional<SequenceAtGateway>)> done);
  // Calls `done` on the actor's thread with the sequences that came first, `most` of them.
  void AskSequences(size_t most, std::function<void(std::vector<SequenceSummary>)> done);

 private:
  void AfterRound(Instant now) override;
  void UpdateView();

  GatewayCore core_;
  std::atomic<uint64_t> next_ticket_{1};
  uint64_t shown_version_ = 0;  // of the router
  mutable std::mutex mutex_;
  GatewayView view_;
};

}  // namespace catena
