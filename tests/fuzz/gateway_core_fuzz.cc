// Any messages, in any order, to the core of a gateway, whose stages come and go: each request ends
// once, and none is left when all were cancelled.
#include "runtime/chain/gateway_core.h"
#include "tests/fuzz/message_maker.h"

namespace catena {
namespace {

constexpr Incarnation kSelf = 1;  // the gateway of half of the messages' sequences

struct Outcome : LoopListener {
  void OnStart(PublicId) override { CATENA_CHECK(!ended); }
  void OnToken(const Token&) override { CATENA_CHECK(!ended); }
  void OnEnd(const absl::Status&, FinishReason, const LoopStats&) override {
    CATENA_CHECK(!ended);
    ended = true;
  }
  bool ended = false;
};

// Shards of layers [0, 1), [1, 2) and a head: those that are there.
std::vector<ReplicaInfo> Replicas(MessageMaker* make) {
  std::vector<ReplicaInfo> replicas;
  for (const Incarnation i : {Incarnation{2}, Incarnation{3}, Incarnation{4}}) {
    if (make->Int(0, 7) == 0) continue;
    ReplicaInfo r;
    r.replica = {.address = "a", .incarnation = i};
    r.role = i == 4 ? Role::kHead : Role::kShard;
    if (i != 4) r.layers = {static_cast<int>(i) - 2, static_cast<int>(i) - 1};
    r.model.n_layers = 2;
    r.model.vocab_size = MessageMaker::kVocab;
    r.model.context_length = make->Int<int64_t>(0, MessageMaker::kMaxPositions);
    r.load.kv_pages = 1;
    r.draining = make->Int(0, 9) == 0;
    replicas.push_back(r);
  }
  return replicas;
}

LoopRequest Request(MessageMaker* make, Instant now) {
  LoopRequest request;
  request.prompt.assign(make->Int<size_t>(1, 20), 3);
  request.params.max_tokens = make->Int(1, 10);
  request.params.speculate = make->Int(0, 4);
  request.score = make->Int(0, 3) == 0;
  if (make->Int(0, 1) == 0) {
    request.deadline = now + std::chrono::milliseconds(make->Int(-10, 2000));
  }
  if (make->Int(0, 3) == 0) request.through = make->Peer();
  return request;
}

void Drive(FuzzedDataProvider* data) {
  MessageMaker make(data);
  GatewayCore core({.self = kSelf, .max_waiting = 3});
  Instant now{std::chrono::hours(1)};
  std::vector<std::shared_ptr<Outcome>> outcomes;
  const auto settle = [&] {
    core.TakeOutput();
    for (const LoopEvent& event : core.TakeEvents()) Deliver(event);
  };
  while (data->remaining_bytes() > 0) {
    now += std::chrono::milliseconds(make.Int(0, 300));
    switch (make.Int(0, 8)) {
      case 0:
        core.Tick(now);
        break;
      case 1:
        core.SetReplicas(Replicas(&make), now);
        break;
      case 2:
        core.Disconnected(make.Peer(), absl::UnavailableError("broke"), now);
        break;
      case 3:
        core.Cancel(make.Int<uint64_t>(0, outcomes.size()), now);
        break;
      case 4:
        outcomes.push_back(std::make_shared<Outcome>());
        core.Submit(outcomes.size(), Request(&make, now), outcomes.back(), now);
        break;
      default:
        core.Receive(make.Peer(), Lane::kControl, make.Make(), now);
    }
    settle();
    // Whoever drives it sleeps until then: the past would be a busy loop.
    core.Tick(now);
    settle();
    CATENA_CHECK(!core.WakeAt() || *core.WakeAt() > now);
  }
  for (uint64_t ticket = 1; ticket <= outcomes.size(); ++ticket) core.Cancel(ticket, now);
  settle();
  for (const auto& outcome : outcomes) CATENA_CHECK(outcome->ended);
  CATENA_CHECK(core.waiting() == 0 && core.running() == 0);
}

}  // namespace
}  // namespace catena

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider provider(data, size);
  catena::Drive(&provider);
  return 0;
}
