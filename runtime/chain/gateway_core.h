// The core of a gateway: admits sequences in order, opens them on a route, feeds tokens back to the
// first stage, ends them. It holds every sequence's ids, the journal of last resort.
//
// Thread rules: see Core.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "runtime/chain/core.h"
#include "runtime/chain/limits.h"
#include "runtime/chain/outbox.h"
#include "runtime/chain/router.h"
#include "runtime/chain/token_loop.h"
#include "runtime/prompt_lookup.h"

namespace catena {

struct GatewayCoreOptions {
  Incarnation self = 0;
  int64_t max_waiting = 1024;  // sequences in the queue; past it, RESOURCE_EXHAUSTED
  uint64_t jitter_seed = 1;    // of the pauses after a refusal
};

// What a listener is to be told, in order.
struct LoopEvent {
  struct Start {
    SequenceKey sequence;
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
  // A sequence waits until all stages of a route have opened it.
  int64_t waiting() const { return static_cast<int64_t>(waiting_.size()) + opening_; }
  int64_t running() const { return static_cast<int64_t>(by_number_.size()) - opening_; }
  std::optional<SequenceView> View(const SequenceKey& key) const;

 private:
  enum class State { kWaiting, kOpening, kRunning };
  struct Sequence {
    uint64_t ticket = 0;
    LoopRequest request;
    std::shared_ptr<LoopListener> listener;
    State state = State::kWaiting;
    SequenceKey key;
    Life life;
    Route route;
    std::vector<bool> opened;  // by stage of the route
    int refusals = 0;          // for want of memory
    int breaks = 0;            // of links, while it was opened
    Instant not_before;        // of the next try
    Instant asked_at;          // when Opens were last sent
    int64_t max_length = 0;
    std::vector<int32_t> ids;  // prompt, output, drafts
    int64_t drafts = 0;        // guesses that no token has confirmed yet,
    int64_t proposed = 0;      // of so many that were made at a time
    PromptLookup lookup{0};
    int64_t drafted = 0, accepted = 0;  // in all
    int64_t taken = 0;                  // positions below have their token (scored: their score)
    Outbox outbox{0};
    Instant submitted, started, first_token;
    int64_t known() const { return static_cast<int64_t>(ids.size()) - drafts; }
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

  // Admission (gateway_admission.cc).
  absl::Status CheckQueue(const LoopRequest& request, Instant now) const;
  void Admit(Instant now);
  bool MayOpen() const;
  void Admitted(Instant now);
  void OpenOn(Sequence* s, Route route, Instant now);
  void AskStages(Sequence* s, Instant now);
  OpenStage StageOpen(const Sequence& s, size_t stage) const;
  OpenHead HeadOpen(const Sequence& s) const;
  void Requeue(Sequence* s, Instant now);
  void Release(Sequence* s);

  // Running.
  Sequence* Find(const SequenceKey& key);
  void TakeToken(Sequence* s, Token& token, Instant now);
  void Append(Sequence* s, int32_t id);
  void Draft(Sequence* s);
  void Flush(Sequence* s);
  void SendCollected();
  void End(Sequence* s, const absl::Status& status, FinishReason reason, Instant now);
  void EndMissing(Instant now);
  void SendHeartbeats();
  void SendSentLengths();

  GatewayCoreOptions options_;
  Router router_;
  std::map<uint64_t, std::unique_ptr<Sequence>> sequences_;  // by ticket
  std::deque<Sequence*> waiting_;
  int64_t opening_ = 0;
  bool opening_alone_ = false;               // one that was refused before
  std::map<uint64_t, Sequence*> by_number_;  // opening and running
  uint64_t next_number_ = 1;
  std::minstd_rand jitter_;
  std::vector<std::pair<std::pair<Incarnation, Lane>, Steps>> collected_;
  std::vector<LoopEvent> events_;
  std::vector<int32_t> drafts_;  // scratch
  Instant heartbeat_at_{};
  std::map<Incarnation, Instant> missing_;  // replicas that sequences need, since when
  std::optional<Instant> admitted_at_;      // the last one, of those that wait
  Nanoseconds admit_interval_{};            // between admissions while others wait, smoothed
};

}  // namespace catena
