#include "tests/sim/world.h"

#include <algorithm>

namespace catena::sim {

struct World::Node {
  ReplicaInfo info;
  bool slow = false;
  std::unique_ptr<ToyMemory> memory;
  std::unique_ptr<StageCore> stage;
  std::unique_ptr<HeadCore> head;
  std::unique_ptr<GatewayCore> gateway;
  bool working = false;
  std::optional<Instant> wake;
  Core* core() const {
    if (stage) return stage.get();
    if (head) return head.get();
    return gateway.get();
  }
};

World::World(const WorldOptions& options) : options_(options), random_(options.seed) {
  now_ = Instant(std::chrono::hours(1));
  for (const LayerRange& layers : options.shards) AddNode(Role::kShard, layers);
  for (int i = 0; i < options.heads; ++i) AddNode(Role::kHead, {});
  for (int i = 0; i < options.gateways; ++i) gateways_.push_back(AddNode(Role::kGateway, {}));
  for (Node* gateway : gateways_) gateway->gateway->SetReplicas(Replicas(), now_);
}

World::~World() = default;

World::Node* World::AddNode(Role role, LayerRange layers) {
  auto node = std::make_unique<Node>();
  Node* n = node.get();
  n->slow = role != Role::kGateway && Chance(options_.slow);
  const Incarnation incarnation = nodes_.size() + 1;
  n->info.replica = {.address = fmt::format("node{}", incarnation), .incarnation = incarnation};
  n->info.role = role;
  n->info.layers = layers;
  n->info.host = n->info.replica.address;
  n->info.model = {.name = "toy",
                   .fingerprint = "toy",
                   .n_layers = kLayers,
                   .vocab_size = kVocab,
                   .hidden_size = 4,
                   .context_length = options_.context,
                   .rotary_switch = options_.context / 2};
  n->info.row_bytes = kRowBytes;
  n->info.load.kv_pages = 1;
  if (role == Role::kShard) {
    n->memory = std::make_unique<ToyMemory>(layers, options_.kv_positions, options_.window);
    n->stage =
        std::make_unique<StageCore>(StageCoreOptions{.first = layers.begin == 0,
                                                     .row_bytes = kRowBytes,
                                                     .vocab_size = kVocab,
                                                     .max_rows = 32,
                                                     .max_positions = options_.context,
                                                     .journal_bytes = options_.journal_bytes},
                                    n->memory.get());
  } else if (role == Role::kHead) {
    n->head = std::make_unique<HeadCore>(HeadCoreOptions{.row_bytes = kRowBytes,
                                                         .vocab_size = kVocab,
                                                         .max_positions = options_.context,
                                                         .max_rows = 8});
  } else {
    n->gateway = std::make_unique<GatewayCore>(
        GatewayCoreOptions{.self = incarnation,
                           .max_waiting = options_.max_waiting,
                           .jitter_seed = options_.seed + incarnation});
  }
  nodes_[incarnation] = std::move(node);
  return n;
}

std::vector<ReplicaInfo> World::Replicas() const {
  std::vector<ReplicaInfo> infos;
  for (const auto& [id, node] : nodes_) {
    if (node->info.role != Role::kGateway) infos.push_back(node->info);
  }
  return infos;
}

void World::At(Instant at, std::function<void()> run) {
  events_.push({at, order_++, std::move(run)});
}

std::shared_ptr<Outcome> World::Submit(LoopRequest request, Nanoseconds at, int gateway) {
  auto outcome = std::make_shared<Outcome>();
  Node* node = gateways_[gateway];
  const uint64_t ticket = next_ticket_++;
  tickets_[outcome.get()] = {node, ticket};
  At(now_ + at, [this, node, ticket, request = std::move(request), outcome] {
    node->gateway->Submit(ticket, request, outcome, now_);
    Flush(node);
  });
  return outcome;
}

void World::CancelAt(const std::shared_ptr<Outcome>& outcome, Nanoseconds at) {
  const auto [node, ticket] = tickets_.at(outcome.get());
  At(now_ + at, [this, node = node, ticket = ticket] {
    node->gateway->Cancel(ticket, now_);
    Flush(node);
  });
}

void World::Flush(Node* node) {
  CoreOutput output = node->core()->TakeOutput();
  for (Envelope& envelope : output.send) {
    Transmit(node->info.replica.incarnation, std::move(envelope));
  }
  if (node->gateway) {
    for (const LoopEvent& event : node->gateway->TakeEvents()) Deliver(event);
  }
  Work(node);
  Wake(node);
}

void World::Wake(Node* node) {
  const std::optional<Instant> at = node->core()->WakeAt();
  if (!at || (node->wake && *node->wake <= std::max(*at, now_))) return;
  node->wake = std::max(*at, now_);
  At(*node->wake, [this, node] {
    if (node->wake != now_) return;  // an earlier one came between
    node->wake.reset();
    node->core()->Tick(now_);
    Flush(node);
  });
}

// Within a lane order is kept; lanes overtake one another.
void World::Transmit(Incarnation from, Envelope envelope) {
  ++messages_;
  const Incarnation to = envelope.to;
  const Lane lane = envelope.lane;
  for (int copies = Chance(options_.duplicate) ? 2 : 1; copies > 0; --copies) {
    if (Chance(options_.loss)) continue;
    const double most = (lane == Lane::kBulk ? 10.0 : 1.0) * 1000.0 * options_.delay.count();
    Instant at = now_ + Nanoseconds(static_cast<int64_t>(Uniform() * most));
    Instant& last = last_arrival_[{from, to, lane}];
    last = at = std::max(at, last);
    At(at, [this, from, to, lane, message = envelope.message]() mutable {
      auto it = nodes_.find(to);
      if (it == nodes_.end()) return;
      it->second->core()->Receive(from, lane, std::move(message), now_);
      Flush(it->second.get());
    });
  }
}

void World::Work(Node* node) {
  if (node->working || node->gateway) return;
  int64_t rows = 0;
  std::string output;
  if (node->stage) {
    const StageBatch* batch = node->stage->NextBatch(now_);
    if (batch == nullptr) return;
    rows = batch->rows();
    output = RunToyStage(*batch, node->info.layers.begin == 0, node->memory.get());
  } else {
    const std::vector<RowRun>* batch = node->head->NextBatch(now_);
    if (batch == nullptr) return;
    for (const RowRun& run : *batch) {
      for (int64_t i = 0; i < run.rows; ++i, ++rows) {
        ToyRow row;
        std::memcpy(&row, run.payload->data() + run.offset + i * kRowBytes, sizeof row);
        const std::vector<float> logits = ToyLogits(row);
        output.append(reinterpret_cast<const char*>(logits.data()), logits.size() * sizeof(float));
      }
    }
  }
  node->working = true;
  const double us = (50.0 + 10.0 * static_cast<double>(rows)) * (node->slow ? 50.0 : 1.0);
  const auto took = Nanoseconds(static_cast<int64_t>((0.5 + Uniform()) * us * 1000.0));
  At(now_ + took, [this, node, output = std::move(output)] { Finish(node, output); });
}

void World::Finish(Node* node, const std::string& output) {
  node->working = false;
  if (node->stage) {
    node->stage->Complete(output.data(), now_);
  } else {
    node->head->Complete(reinterpret_cast<const float*>(output.data()), now_);
  }
  Flush(node);
}

void World::Run(Nanoseconds limit) {
  const Instant end = now_ + limit;
  while (!events_.empty() && events_.top().at <= end) {
    Event event = events_.top();
    events_.pop();
    now_ = event.at;
    event.run();
  }
}

std::string World::Leaks() const {
  std::string leaks;
  auto note = [&](const Node& node, const char* what, int64_t n) {
    if (n != 0) leaks += fmt::format("{}: {} {}; ", node.info.replica.address, n, what);
  };
  for (const auto& [id, node] : nodes_) {
    if (node->stage) {
      const ReplicaLoad load = node->stage->load(now_);
      note(*node, "sequences", load.sequences);
      note(*node, "queued rows", load.queued_rows);
      note(*node, "journal bytes", load.journal_bytes);
      note(*node, "KV positions", node->memory->used());
    } else if (node->head) {
      note(*node, "sequences", node->head->load(now_).sequences);
    } else {
      note(*node, "waiting", node->gateway->waiting());
      note(*node, "running", node->gateway->running());
    }
  }
  return leaks;
}

int64_t World::Divergences() const {
  int64_t n = 0;
  for (const auto& [id, node] : nodes_) {
    if (node->stage) n += node->stage->load(now_).divergences;
    if (node->head) n += node->head->load(now_).divergences;
  }
  return n;
}

StageCore& World::stage(size_t i) { return *nodes_.at(i + 1)->stage; }

}  // namespace catena::sim
