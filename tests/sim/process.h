// A process of a simulated cluster: a place with an address, where one run after another of a role
// may live, each with an incarnation of its own and empty. It drives the role's core as an actor
// does, works with the toy model, and can be killed, hung and slowed.
//
// Thread rules: one thread.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "runtime/chain/gateway_core.h"
#include "runtime/chain/head_core.h"
#include "runtime/chain/stage_core.h"
#include "tests/sim/network.h"
#include "tests/sim/toy_model.h"

namespace catena::sim {

// What one batch of a stage is, by which its time can be reckoned.
struct BatchWork {
  Role role = Role::kShard;
  LayerRange layers;    // a shard's
  int64_t rows = 0;     // computed
  int64_t context = 0;  // positions of KV caches that they look at; 0 at a head
};

struct ProcessOptions {
  std::string address;
  Role role = Role::kShard;
  LayerRange layers;  // a shard's
  std::string model = "toy";
  // Of stages.
  int64_t context = 512;
  int64_t rotary_switch = 256;
  int64_t kv_positions = 4096;
  int64_t sliding_window = 0;
  int64_t journal_bytes = 1 << 20;
  int64_t max_batch_rows = 32;
  int64_t max_head_rows = 8;
  // How long a batch takes; where there is none, a toy's time, by chance.
  std::function<Nanoseconds(const BatchWork&)> batch_time = {};
  // Of a gateway.
  int64_t max_waiting = 1024;
  int64_t growth_positions = 256;
  uint64_t jitter_seed = 1;
  limits::DetectionLimits detection;
};

class Process final : public Receiver {
 public:
  Process(const ProcessOptions& options, Clock* clock, Network* network, Random* random);
  ~Process() override;

  // --- its life ---
  // REQUIRES: it does not run.
  void Start(Incarnation incarnation);
  void Kill();
  // It takes nothing new; Stop then ends what is left, and it. REQUIRES: it is no gateway.
  void Drain();
  void Stop();
  // Nothing moves until Resume, then it goes on with what has come.
  void Hang();
  void Resume();
  // What happens when it dies of what it computes.
  void OnCrash(std::function<void()> fn) { on_crash_ = std::move(fn); }
  // Batches take so many times as long from now on.
  void SetSlowness(double factor) { slowness_ = factor; }

  bool runs() const { return run_ != nullptr; }
  bool answers() const { return run_ != nullptr && !hung_; }
  const std::string& address() const { return options_.address; }
  Role role() const { return options_.role; }
  Incarnation incarnation() const;
  const ProcessOptions& options() const { return options_; }

  // --- what a driver does ---
  // Calls `fn(core, now)` as its thread would: later where it hangs, never where it dies first.
  // REQUIRES: it is a gateway.
  void OnGateway(std::function<void(GatewayCore*, Instant)> fn);
  // What it answers to a question. REQUIRES: answers(), and it is no gateway.
  ReplicaInfo Describe() const;

  // --- what checkers look at; null where it is not of that role or does not run ---
  const StageCore* stage() const;
  const HeadCore* head() const;
  const GatewayCore* gateway() const;
  const ToyMemory* memory() const;

  void OnMessage(Incarnation from, Lane lane, ChainMessage message) override;
  void OnConnect(Incarnation peer) override;
  void OnDisconnect(Incarnation peer, const absl::Status& why) override;

 private:
  // What lives from Start to Kill.
  struct Run {
    Replica self;
    std::unique_ptr<ToyMemory> memory;
    std::unique_ptr<StageCore> stage;
    std::unique_ptr<HeadCore> head;
    std::unique_ptr<GatewayCore> gateway;
    Core* core = nullptr;
    bool working = false;
    Instant work_began{};
    std::optional<Instant> wake;
  };

  // On its thread, as it were; then sends, works and sleeps as an actor does.
  void Do(std::function<void()> what);
  void AfterRound();
  void WorkNext();
  Nanoseconds TimeOf(const BatchWork& work);
  void Finish(const std::string& output);
  void SleepUntilWake();

  const ProcessOptions options_;
  Clock* const clock_;
  Network* const network_;
  Random* const random_;
  std::shared_ptr<Run> run_;  // shared with the events that are meant for it alone
  std::function<void()> on_crash_;
  bool hung_ = false;
  double slowness_ = 1;
  std::deque<std::function<void()>> postponed_;  // while it hangs
};

}  // namespace catena::sim
