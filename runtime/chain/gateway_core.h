// The core of a gateway: admits sequences in order, opens each on all stages of a route or none,
// feeds tokens back to the first stage, ends them.
//
// Thread rules: see Core.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "runtime/chain/admission_queue.h"
#include "runtime/chain/core.h"
#include "runtime/chain/limits.h"
#include "runtime/chain/router.h"
#include "runtime/chain/sequence_ids.h"
#include "runtime/chain/token_loop.h"

namespace catena {

struct GatewayCoreOptions {
  Incarnation self = 0;
  int64_t max_waiting = 1024;  // sequences in the queue; past it, RESOURCE_EXHAUSTED
  uint64_t jitter_seed = 1;    // of the pauses after a refusal
  std::function<PublicId()> draw_id = DrawPublicId;
};

// What a listener is to be told, in order.
struct LoopEvent {
  struct Start {
    PublicId sequence;
  };
  struct End {
    absl::Status status;
    FinishReason reason = FinishReason::kLength;
    LoopStats stats;
  };
  std::shared_ptr<LoopListener> listener;
  std::variant<Start, Token, End> what;
};
void Deliver(const LoopEvent& event);

// A sequence as its gateway holds it, and its name at the stages.
struct SequenceAtGateway {
  SequenceKey key;
  SequenceView view;
};

class GatewayCore : public Core {
 public:
  explicit GatewayCore(const GatewayCoreOptions& options);

  void SetReplicas(std::vector<ReplicaInfo> replicas, Instant now);
  // `ticket` is the caller's, unique.
  void Submit(uint64_t ticket, LoopRequest request, std::shared_ptr<LoopListener> listener,
              Instant now);
  void Cancel(uint64_t ticket, Instant now);

  void Receive(Incarnation from, Lane lane, ChainMessage message, Instant now) override;
  void Connected(Incarnation, Instant) override {}
  void Disconnected(Incarnation peer, const absl::Status& why, Instant now) override;
  void Tick(Instant now) override;
  std::optional<Instant> WakeAt() const override;

  // To be delivered after TakeOutput was sent: clients wait behind the next step.
  std::vector<LoopEvent> TakeEvents() { return std::exchange(events_, {}); }

  const Router& router() const { return router_; }
  int64_t waiting() const { return queue_.waiting(); }
  int64_t running() const { return static_cast<int64_t>(sequences_.size()) - waiting(); }
  // Of one that is on a route.
  std::optional<SequenceAtGateway> View(PublicId id) const;

 private:
  enum class State { kWaiting, kOpening, kRunning };
  struct Sequence {
    uint64_t ticket = 0;
    PublicId id{};
    LoopRequest request;
    std::shared_ptr<LoopListener> listener;
    State state = State::kWaiting;
    int breaks = 0;  // of links, while it was opened
    Instant submitted, started, first_token;

    // While it is on a route.
    SequenceKey key;
    Route route;
    std::vector<bool> opened;  // by stage of the route
    Instant asked_at;          // when Opens were last sent
    int64_t max_length = 0;
    std::optional<SequenceIds> ids;
    int64_t taken = 0;  // positions below have their token (scored: their score)

    int64_t prompt_length() const { return static_cast<int64_t>(request.prompt.size()); }
  };

  void On(Incarnation from, Opened& opened, Instant now);
  void On(Incarnation from, Refused& refused, Instant now);
  void On(Incarnation from, Unknown& unknown, Instant now);
  void On(Incarnation from, Tokens& tokens, Instant now);
  void On(Incarnation from, Lengths& lengths, Instant now);
  void On(Incarnation from, NeedFrom& need, Instant now);
  template <class M>
  void On(Incarnation, M&, Instant) {}

  // Opening.
  absl::Status MayEnter(const LoopRequest& request, Instant now) const;
  void Admit(Instant now);
  void Open(Sequence* s, Route route, Instant now);
  void AskStages(Sequence* s, Instant now);
  void TryAgain(Sequence* s, AdmissionQueue::Why why, Instant now);

  // Running.
  Sequence* Find(const SequenceKey& key);
  void TakeToken(Sequence* s, Token& token, Instant now);
  void CollectSteps(Sequence* s);
  void SendCollected();
  void SendHeartbeats();
  void SendSentLengths();

  // Ending.
  void LeaveRoute(Sequence* s);
  void End(Sequence* s, const absl::Status& status, FinishReason reason, Instant now);
  void Fail(Sequence* s, const absl::Status& status, Instant now) {
    End(s, status, FinishReason::kLength, now);
  }
  void EndLate(Instant now);
  void EndMissing(Instant now);

  GatewayCoreOptions options_;
  Router router_;
  AdmissionQueue queue_;
  std::map<uint64_t, std::unique_ptr<Sequence>> sequences_;  // by ticket
  std::map<PublicId, Sequence*> by_id_;
  std::map<uint64_t, Sequence*> by_number_;  // those on a route
  uint64_t next_number_ = 1;
  std::vector<std::pair<std::pair<Incarnation, Lane>, Steps>> collected_;
  std::vector<LoopEvent> events_;
  Instant heartbeat_at_{};
  std::map<Incarnation, Instant> missing_;  // replicas that sequences need, since when
};

}  // namespace catena
