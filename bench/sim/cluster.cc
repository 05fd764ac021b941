#include "bench/sim/cluster.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace catena::sim {
namespace {

Nanoseconds FromSeconds(double s) {
  return Nanoseconds(static_cast<int64_t>(std::llround(s * 1e9)));
}

double Seconds(Nanoseconds t) { return static_cast<double>(t.count()) * 1e-9; }

Spread SpreadOf(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const auto at = [&](double share) {
    return values[static_cast<size_t>(share * static_cast<double>(values.size() - 1))];
  };
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  return {.mean = sum / static_cast<double>(values.size()),
          .p50 = at(0.5),
          .p99 = at(0.99),
          .most = values.back()};
}

// The toy model's layers in as many parts as there are shards.
std::vector<LayerRange> Cuts(size_t shards) {
  return *BalancedCuts(kLayers, static_cast<int>(shards), {});
}

Nanoseconds Transit(const ServingCluster& c, const ChainMessage& message) {
  double rows = 0;
  if (const auto* steps = std::get_if<Steps>(&message); steps != nullptr && steps->rows) {
    rows = static_cast<double>(steps->rows->size()) / static_cast<double>(kRowBytes);
  }
  return FromSeconds(c.hop_s + rows * c.hop_row_s);
}

WorldOptions WorldOf(const ClusterOptions& o) {
  const ServingCluster& c = o.cluster;
  const std::vector<LayerRange> cuts = Cuts(c.shards());
  WorldOptions world;
  world.seed = o.seed;
  world.gateways = o.gateways;
  for (size_t i = 0; i < c.shards(); ++i) {
    world.shards.insert(world.shards.end(), static_cast<size_t>(c.stages[i].replicas), cuts[i]);
  }
  world.heads = c.stages.back().replicas;
  world.network.transit = [c](Lane, const ChainMessage& m) { return Transit(c, m); };
  ProcessOptions& process = world.process;
  process.context = 1 << 20;
  process.rotary_switch = 0;
  process.journal_bytes = int64_t{64} << 20;
  process.max_batch_rows = c.stages[0].max_rows;
  process.max_head_rows = c.stages.back().max_rows;
  process.kv_positions = c.stages[0].kv_positions;
  process.max_waiting = 1 << 20;
  process.batch_time = [c, cuts](const BatchWork& work) {
    const auto cut = std::find(cuts.begin(), cuts.end(), work.layers);
    const ServingStage& stage = work.role == Role::kHead
                                    ? c.stages.back()
                                    : c.stages[static_cast<size_t>(cut - cuts.begin())];
    return FromSeconds(
        stage.speed.Seconds(static_cast<double>(work.rows), static_cast<double>(work.context)));
  };
  world.looks = false;
  return world;
}

LoopRequest RequestOf(const ServingLoad& load, Random* random) {
  LoopRequest request;
  for (int64_t i = 0; i < load.input_tokens; ++i) {
    request.prompt.push_back(static_cast<int32_t>(random->Below(kVocab)));
  }
  request.prompt[0] = kPoison + 1;  // texts that begin with the other one make stages fail
  request.params.max_tokens = static_cast<int32_t>(load.output_tokens);
  request.params.temperature = 0;
  return request;
}

// Requests that come at random, evenly over the gateways, until all is measured.
Outcomes SubmitAll(const ClusterOptions& o, World* world) {
  Random random(o.seed + 1);
  Outcomes outcomes;
  // Replicas are found in the first second.
  double at = 1.5;
  const double end = at + Seconds(o.warm_up + o.measured);
  while (true) {
    at += -std::log(1 - random.Uniform()) / o.load.requests_per_s;
    if (at >= end) return outcomes;
    const size_t gateway = outcomes.size() % static_cast<size_t>(o.gateways);
    outcomes.push_back(world->Submit(RequestOf(o.load, &random), FromSeconds(at), gateway));
  }
}

// What was seen between two instants.
struct Window {
  Instant from, until;
  bool Has(Instant t) const { return from <= t && t < until; }
};

void MeasureRequests(const Outcomes& outcomes, const Window& window, Measured* m) {
  std::vector<double> first, token;
  int64_t tokens = 0;
  for (const auto& o : outcomes) {
    const std::vector<Instant>& at = o->token_at;
    if (at.empty()) continue;
    if (window.Has(o->submitted_at)) first.push_back(Seconds(at.front() - o->submitted_at));
    for (size_t i = 0; i < at.size(); ++i) {
      if (!window.Has(at[i])) continue;
      ++tokens;
      if (i > 0) token.push_back(Seconds(at[i] - at[i - 1]));
    }
  }
  m->requests = std::ssize(outcomes);
  m->first_token = SpreadOf(std::move(first));
  m->token = SpreadOf(std::move(token));
  m->tokens_per_s = static_cast<double>(tokens) / Seconds(window.until - window.from);
}

void MeasureStages(const ClusterOptions& o, World* world, double seconds, Measured* m) {
  size_t at = 0;
  for (const ServingStage& stage : o.cluster.stages) {
    double rows = 0, batches = 0, busy = 0;
    for (int r = 0; r < stage.replicas; ++r, ++at) {
      const Process& p = *world->process(at);
      if (p.stage() == nullptr && p.head() == nullptr) continue;
      const StageCounters& n = p.stage() ? p.stage()->counters() : p.head()->counters();
      rows += n.batch_rows.sum();
      for (const int64_t count : n.batch_rows.counts()) batches += static_cast<double>(count);
      busy += Seconds(n.clock.busy());
      m->replayed_rows += static_cast<double>(n.replayed_rows);
    }
    m->rows.push_back(rows / std::max(batches, 1.0));
    m->busy.push_back(busy / stage.replicas / seconds);
  }
}

}  // namespace

Measured RunCluster(const ClusterOptions& o) {
  World world(WorldOf(o));
  const Instant began = world.now() + std::chrono::milliseconds(1500);
  const Outcomes outcomes = SubmitAll(o, &world);
  const Window window{began + o.warm_up, began + o.warm_up + o.measured};
  const auto heads = static_cast<size_t>(o.cluster.stages.back().replicas);
  for (int i = 0; i < o.lost; ++i) {
    world.Inject({.kind = Fault::Kind::kKill,
                  .process = world.stages() - heads - 1 - static_cast<size_t>(i),
                  .at = window.from + o.measured / 2 - world.now(),
                  .lasts = std::chrono::minutes(2)});
  }
  Measured m;
  m.problem = world.Run(std::chrono::hours(2));
  double last = 0;
  std::vector<double> pauses;
  for (const auto& outcome : outcomes) {
    for (const Moves& moves : outcome->moves) pauses.push_back(Seconds(moves.paused));
    last = std::max(last, Seconds(outcome->moved_at - began));
    if (m.problem.empty() && !outcome->status.ok()) m.problem = outcome->status.ToString();
  }
  m.moves = std::ssize(pauses);
  m.pause = SpreadOf(std::move(pauses));
  MeasureRequests(outcomes, window, &m);
  MeasureStages(o, &world, last, &m);
  m.messages = world.network().messages();
  m.links =
      2 * static_cast<double>(world.network().links()) / static_cast<double>(world.processes());
  return m;
}

}  // namespace catena::sim
