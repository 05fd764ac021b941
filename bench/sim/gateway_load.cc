#include "bench/sim/gateway_load.h"

#include <ctime>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "runtime/actor/actor.h"
#include "runtime/chain/gateway_core.h"

namespace catena::sim {
namespace {

constexpr Incarnation kGateway = 1'000'000;
constexpr int kLayersOfShard = 4;
constexpr int64_t kPrompt = 16;

double CpuNs() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

ReplicaInfo Describe(int index, const GatewayLoadOptions& o) {
  const int stage = index % (o.shards + 1);
  ReplicaInfo r;
  r.replica = {.address = fmt::format("10.0.{}.{}:7000", index / 256, index % 256),
               .incarnation = static_cast<Incarnation>(index + 1)};
  r.host = r.replica.address;
  r.role = stage == o.shards ? Role::kHead : Role::kShard;
  if (r.role == Role::kShard) {
    r.layers = {stage * kLayersOfShard, (stage + 1) * kLayersOfShard};
  }
  r.model = {.name = "a-model-of-8-billion",
             .fingerprint = "0123456789abcdef0123456789abcdef",
             .n_layers = o.shards * kLayersOfShard,
             .vocab_size = 128'000,
             .hidden_size = 4096,
             .context_length = 8192};
  r.numerics_id = "cuda-bf16-kv-bf16";
  r.row_bytes = 8192;
  r.version = "0.1.0";
  const int routes = std::max(o.replicas / (o.shards + 1), 1);
  r.load.sequences = int64_t{o.sequences} * o.gateways / routes;
  r.load.kv_pages = 100'000;
  return r;
}

struct Listener final : LoopListener {
  void OnStart(PublicId) override {}
  void OnToken(const Token&) override { ++tokens; }
  void OnEnd(const absl::Status& status, FinishReason, const LoopStats&) override {
    CATENA_CHECK(status.ok());
  }
  int64_t tokens = 0;
};

// The core with replicas behind it that open all and ask for nothing.
class Rig {
 public:
  explicit Rig(const GatewayLoadOptions& o) : o_(o), core_({.self = kGateway}) {
    for (int i = 0; i < o.replicas; ++i) replicas_.push_back(Describe(i, o));
    core_.SetReplicas(replicas_, now_);
  }

  // Nanoseconds of a CPU that a round of the core takes, as its actor does it.
  template <class Fn>
  double Round(const Fn& fn) {
    const double began = CpuNs();
    fn();
    CoreOutput output = core_.TakeOutput();
    for (const LoopEvent& event : core_.TakeEvents()) Deliver(event);
    wakes_ += core_.WakeAt().has_value() ? 1 : 0;
    const double took = CpuNs() - began;
    for (Envelope& e : output.send) sent_.push_back(std::move(e));
    return took;
  }

  double Submit(uint64_t ticket) {
    LoopRequest request;
    request.prompt.assign(kPrompt, 7);
    request.params.max_tokens = o_.tokens;
    double ns = Round([&] { core_.Submit(ticket, request, listener_, now_); });
    return ns + AnswerOpens();
  }

  // Every head sends the next token of each of its sequences, `batch` in a message.
  double SendTokens() {
    std::map<Incarnation, Tokens> messages;
    double ns = 0;
    const auto send = [&](Incarnation head, Tokens* tokens) {
      now_ += std::chrono::microseconds(20);
      ns += Round(
          [&] { core_.Receive(head, Lane::kControl, ChainMessage(std::move(*tokens)), now_); });
      tokens->tokens.clear();
    };
    for (Running& s : running_) {
      Tokens& tokens = messages[s.head];
      Token token;
      token.sequence = s.key;
      token.position = s.position++;
      token.token.id = 5;
      tokens.tokens.push_back(std::move(token));
      if (std::ssize(tokens.tokens) == o_.batch) send(s.head, &tokens);
    }
    for (auto& [head, tokens] : messages) {
      if (!tokens.tokens.empty()) send(head, &tokens);
    }
    sent_.clear();
    return ns;
  }

  double Discover() {
    std::vector<ReplicaInfo> replicas = replicas_;
    now_ += std::chrono::milliseconds(1);
    return Round([&] { core_.SetReplicas(std::move(replicas), now_); });
  }
  double Beat() {
    now_ += std::chrono::milliseconds(600);
    const double ns = Round([&] { core_.Tick(now_); });
    sent_.clear();
    return ns;
  }
  int64_t tokens() const { return listener_->tokens; }

 private:
  struct Running {
    SequenceKey key;
    Incarnation head = 0;
    int64_t position = kPrompt;
  };

  double AnswerOpens() {
    double ns = 0;
    for (const Envelope& e : std::exchange(sent_, {})) {
      const auto answer = [&](const SequenceKey& key) {
        ns += Round([&] {
          core_.Receive(e.to, Lane::kControl, Opened{.sequence = key, .life = {}}, now_);
        });
      };
      if (const auto* open = std::get_if<OpenStage>(&e.message)) answer(open->sequence);
      if (const auto* open = std::get_if<OpenHead>(&e.message)) {
        running_.push_back({.key = open->sequence, .head = e.to});
        answer(open->sequence);
      }
    }
    sent_.clear();
    return ns;
  }

  const GatewayLoadOptions o_;
  GatewayCore core_;
  Instant now_{std::chrono::hours(1)};
  std::vector<ReplicaInfo> replicas_;
  std::vector<Envelope> sent_;
  std::vector<Running> running_;
  std::shared_ptr<Listener> listener_ = std::make_shared<Listener>();
  int64_t wakes_ = 0;
};

}  // namespace

GatewayCost MeasureGateway(const GatewayLoadOptions& o) {
  Rig rig(o);
  GatewayCost cost;
  for (int i = 0; i < o.sequences; ++i) cost.request += rig.Submit(static_cast<uint64_t>(i) + 1);
  cost.request /= o.sequences;
  // All but the last, with which they end.
  for (int i = 0; i + 1 < o.tokens; ++i) cost.token += rig.SendTokens();
  cost.token /= static_cast<double>(o.tokens - 1) * o.sequences;
  constexpr int kTimes = 5;
  for (int i = 0; i < kTimes; ++i) cost.discovery += rig.Discover() / kTimes;
  for (int i = 0; i < kTimes; ++i) cost.heartbeat += rig.Beat() / kTimes;
  cost.request += rig.SendTokens() / o.sequences;
  CATENA_CHECK(rig.tokens() == int64_t{o.tokens} * o.sequences);
  return cost;
}

}  // namespace catena::sim
