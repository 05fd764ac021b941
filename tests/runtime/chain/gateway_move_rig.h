// A gateway's core with a text that runs and can be taken elsewhere.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <utility>

#include "runtime/chain/error_facts.h"
#include "tests/runtime/chain/gateway_rig.h"

namespace catena {

class GatewayMove : public GatewayRig {
 protected:
  using GatewayRig::GatewayRig;
  // One that has two tokens, on the route 1, 3, 5, all of whose stages are as far as can be.
  std::shared_ptr<Outcome> Run(int speculate = 0) {
    auto outcome = std::make_shared<Outcome>();
    LoopRequest request;
    request.prompt.assign(kPrompt, 1);
    request.params.max_tokens = 20;
    request.params.speculate = speculate;
    core_.Submit(next_ticket_++, request, outcome, now_);
    Settle();
    OpenAll();
    SayToken(5, kPrompt);
    SayToken(5, kPrompt + 1);
    computed_ = {{1, kPrompt + 2}, {3, kPrompt + 2}, {5, kPrompt + 1}};
    Sent<Go>();
    Asked();
    return outcome;
  }
  void Lose(Incarnation replica) {
    core_.Disconnected(replica, absl::UnavailableError("it died"), now_);
    Settle();
  }
  // The process is replaced by another.
  void StartAnew(Incarnation* process, Incarnation by) {
    for (ReplicaInfo& r : replicas_) {
      if (r.replica.incarnation == *process) r.replica.incarnation = by;
    }
    *process = by;
    core_.SetReplicas(replicas_, now_);
    core_.Connected(by, now_);
  }
  // So many shards fail while they compute it, and all but the last are there again.
  void FailInARow(int times) {
    for (int i = 0; i < times; ++i) {
      if (lost_ != nullptr) {
        StartAnew(lost_, ++newest_);
        Pass(3);
      }
      Asked();
      lost_ = &shards_[lost_ == &shards_[0] ? 1 : 0];  // where it went when the other one failed
      Lose(*lost_);
    }
    now_ += std::chrono::milliseconds(300);  // a Move that follows several comes after a pause
    Tick();
  }
  // The stage says that it tries another suspect.
  void TryAnother(Incarnation stage) {
    Receive(stage, Refused{LastKey(),
                           {.epoch = epoch_, .round = 0},
                           WithReason(absl::UnavailableError("another one is tried"),
                                      ErrorReason::kAwaitsTrial)});
  }
  // What each shard is told when all have answered: its length, and the next one's.
  std::map<Incarnation, std::pair<int64_t, int64_t>> Gos() {
    std::map<Incarnation, std::pair<int64_t, int64_t>> gos;
    for (const auto& [to, go] : Sent<Go>()) {
      EXPECT_EQ(go.life.epoch, epoch_);
      gos[to] = {go.length, go.next_length};
    }
    return gos;
  }

  std::array<Incarnation, 2> shards_{3, 4};  // of which a route has one
  Incarnation* lost_ = nullptr;
  Incarnation newest_ = 6;
};

inline constexpr int64_t kKnown = kPrompt + 2;  // positions whose ids are known

}  // namespace catena
