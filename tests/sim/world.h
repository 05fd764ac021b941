// A simulated cluster: the cores of gateways, shards and heads, a toy model, and a network that
// delays, loses, repeats and reorders, all from one seed. A run is a loop over events in the order
// of simulated time and takes milliseconds. Thread rules: one thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <random>
#include <string>
#include <vector>

#include "runtime/chain/gateway_core.h"
#include "runtime/chain/head_core.h"
#include "runtime/chain/stage_core.h"
#include "tests/sim/toy_model.h"

namespace catena::sim {

struct WorldOptions {
  uint64_t seed = 1;
  std::vector<LayerRange> shards;  // replicas with any cuts
  int heads = 1;
  int gateways = 1;
  double loss = 0;                       // of messages
  double duplicate = 0;                  // of messages
  double slow = 0;                       // of processes: their batches take 50 times as long
  std::chrono::microseconds delay{300};  // of a message, at most; bulk ten times that
  int64_t kv_positions = 4096;           // of a shard
  int64_t window = 0;
  int64_t journal_bytes = 1 << 20;
  int64_t context = 512;
  int64_t max_waiting = 1024;
};

// What became of one request.
struct Outcome : LoopListener {
  void OnStart(PublicId) override { ++starts; }
  void OnToken(const Token& token) override { tokens.push_back(token); }
  void OnEnd(const absl::Status& s, FinishReason r, const LoopStats&) override {
    CATENA_CHECK(!ended);
    ended = true;
    status = s;
    reason = r;
  }
  int starts = 0;
  bool ended = false;
  absl::Status status;
  FinishReason reason = FinishReason::kLength;
  std::vector<Token> tokens;
};

class World {
 public:
  explicit World(const WorldOptions& options);
  ~World();

  std::shared_ptr<Outcome> Submit(LoopRequest request, Nanoseconds at = {}, int gateway = 0);
  void CancelAt(const std::shared_ptr<Outcome>& outcome, Nanoseconds at);
  // Runs until nothing more will happen, or `limit` of simulated time has passed.
  void Run(Nanoseconds limit);
  Instant now() const { return now_; }

  // Empty where nothing is held anywhere; else what is.
  std::string Leaks() const;
  int64_t Divergences() const;
  int64_t messages() const { return messages_; }

  StageCore& stage(size_t i);

 private:
  struct Node;
  struct Event {
    Instant at;
    uint64_t order;
    std::function<void()> run;
    bool operator>(const Event& o) const { return std::pair(at, order) > std::pair(o.at, o.order); }
  };
  void At(Instant at, std::function<void()> run);
  double Uniform() { return std::uniform_real_distribution<double>()(random_); }
  bool Chance(double p) { return p > 0 && Uniform() < p; }

  Node* AddNode(Role role, LayerRange layers);
  std::vector<ReplicaInfo> Replicas() const;
  void Flush(Node* node);
  void Transmit(Incarnation from, Envelope envelope);
  void Work(Node* node);
  void Finish(Node* node, const std::string& output);
  void Wake(Node* node);

  WorldOptions options_;
  std::mt19937_64 random_;
  Instant now_{};
  uint64_t order_ = 0;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  std::map<Incarnation, std::unique_ptr<Node>> nodes_;
  std::vector<Node*> gateways_;
  std::map<std::tuple<Incarnation, Incarnation, Lane>, Instant> last_arrival_;
  std::map<Outcome*, std::pair<Node*, uint64_t>> tickets_;
  uint64_t next_ticket_ = 1;
  int64_t messages_ = 0;
};

}  // namespace catena::sim
