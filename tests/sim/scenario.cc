#include "tests/sim/scenario.h"

#include "model/sampler/sampling_limits.h"

namespace catena::sim {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Nobody gives up while something is broken.
constexpr seconds kLongerThanFaults{180};
// A message's delay between processes that are far from each other.
constexpr milliseconds kFar{150};

// Cuts of the toy's twelve blocks, as replicas of one cluster.
const std::vector<std::vector<LayerRange>>& Cuts() {
  static const std::vector<std::vector<LayerRange>> kCuts = {
      {{0, 12}},
      {{0, 5}, {5, 12}},
      {{0, 4}, {4, 8}, {8, 12}},
      {{0, 1}, {1, 2}, {2, 7}, {7, 12}},
      {{0, 6}, {0, 6}, {6, 12}},
      {{0, 4}, {0, 6}, {4, 12}, {6, 12}},
      {{0, 6}, {0, 6}, {6, 12}, {6, 12}},
      {{0, 6}, {0, 3}, {3, 6}, {6, 12}, {6, 8}, {8, 12}},
  };
  return kCuts;
}

template <class T>
T OneOf(Random* random, std::initializer_list<T> values) {
  return values.begin()[random->Below(static_cast<int64_t>(values.size()))];
}

WorldOptions RandomWorld(Random* random, uint64_t seed) {
  WorldOptions world;
  world.seed = seed;
  world.shards = Cuts()[random->Below(static_cast<int64_t>(Cuts().size()))];
  world.heads = random->Chance(0.3) ? 2 : 1;
  world.gateways = random->Chance(0.3) ? 2 : 1;
  world.slow = random->Chance(0.2) ? 0.4 : 0;
  world.resume = random->Chance(0.7);
  world.network.loss = OneOf(random, {0.0, 0.0, 0.01, 0.04});
  world.network.duplicate = OneOf(random, {0.0, 0.0, 0.03});
  world.network.corrupt = OneOf(random, {0.0, 0.0, 0.02});
  world.network.keepalive = OneOf<Nanoseconds>(random, {seconds(10), seconds(10), seconds(20)});
  ProcessOptions& process = world.process;
  process.detection.wait_for_route = kLongerThanFaults;
  process.detection.give_up = seconds(20);
  world.network.give_up = process.detection.give_up;
  process.context = 128;
  process.rotary_switch = OneOf<int64_t>(random, {0, 40, 64});
  process.kv_positions = OneOf<int64_t>(random, {4096, 4096, 300, 150});
  process.growth_positions = OneOf<int64_t>(random, {256, 8, 8, 1});
  // Under the smallest, a wrong guess goes back further than the window keeps.
  process.sliding_window = OneOf<int64_t>(random, {0, 0, 0, 32, 8});
  process.journal_bytes = OneOf<int64_t>(random, {1 << 20, 1 << 20, 0, 512});
  process.max_batch_rows = OneOf<int64_t>(random, {32, 32, 8});
  process.max_head_rows = process.max_batch_rows / 4;
  if (random->Chance(0.05)) {
    process.detection.wait_for_route = seconds(2);
    world.hasty = true;
  }
  if (random->Chance(0.05)) {
    process.max_waiting = 2;
    world.may_refuse = true;
  }
  if (random->Chance(0.05)) {
    world.shards.push_back({0, kLayers});
    world.stranger = true;
    if (random->Chance(0.5)) {
      ++world.heads;
      world.rival = true;
    }
  }
  // So far apart that a question is asked again before its answer comes.
  if (random->Chance(0.05)) {
    world.network.delay = kFar;
    world.network.loss = 0.04;
  }
  if (random->Chance(0.02)) {  // longer than the windows of hops
    process.context = 1500;
    process.kv_positions = 1 << 14;
  }
  // What was lost is missed within a few heartbeats, before anything counts as failed. By chance
  // five seconds go to an attempt to connect that began while its peer still hung, and five to an
  // Open and a token that are lost again and again.
  const bool swift = world.slow == 0 && world.network.delay != kFar && process.kv_positions >= 4096;
  if (swift) world.patience = seconds(10);
  return world;
}

Fault RandomFault(Random* random, const WorldOptions& world) {
  using Kind = Fault::Kind;
  const auto stages = static_cast<int64_t>(world.shards.size()) + world.heads;
  Fault fault;
  fault.kind = OneOf(
      random, {Kind::kKill, Kind::kKill, Kind::kDrain, Kind::kHang, Kind::kSlow, Kind::kRefuse,
               Kind::kRefuse, Kind::kSilence, Kind::kDelay, Kind::kBreak, Kind::kBreak});
  fault.at = random->UpTo(milliseconds(random->Chance(0.7) ? 100 : 3'000));
  fault.lasts =
      random->UpTo(OneOf<Nanoseconds>(random, {milliseconds(300), milliseconds(3'000),
                                               milliseconds(15'000), milliseconds(40'000)}));
  fault.factor = OneOf(random, {10.0, 100.0, 1000.0});
  if (fault.kind == Kind::kDelay && world.network.delay == kFar) fault.factor = 2;
  fault.process = static_cast<size_t>(random->Below(stages + world.gateways));
  fault.other = static_cast<size_t>(random->Below(stages));
  return fault;
}

// What computes it dies of it.
void Poison(Scenario::Request* r) {
  std::vector<int32_t>& prompt = r->request.prompt;
  prompt.insert(prompt.begin(), kPoisonLength, kPoison);
  prompt.resize(std::min<size_t>(prompt.size(), 30));
}

}  // namespace

LoopRequest RandomRequest(Random* random, int64_t max_prompt, int64_t max_tokens) {
  LoopRequest request;
  for (int64_t n = random->Between(1, max_prompt); n > 0; --n) {
    request.prompt.push_back(static_cast<int32_t>(random->Below(kVocab)));
  }
  SamplingParams& params = request.params;
  params.max_tokens = static_cast<int32_t>(random->Between(1, max_tokens));
  params.temperature = random->Chance(0.5) ? 0.0 : 0.9;
  params.repetition_penalty = random->Chance(0.3) ? 1.2 : 1.0;
  params.seed = random->Bits();
  params.eos_token_ids = {static_cast<int32_t>(random->Below(kVocab))};
  request.sequence_index = static_cast<uint32_t>(random->Below(3));
  if (random->Chance(0.5)) {  // guesses, of which about half are right where two ids are likely
    params.speculate = static_cast<int32_t>(random->Between(1, kMaxDrafts));
    params.logit_bias = {{static_cast<int32_t>(random->Below(30)), 100.0f},
                         {static_cast<int32_t>(30 + random->Below(30)), 100.0f}};
  }
  return request;
}

Scenario ScenarioOf(uint64_t seed) {
  Random random(seed);
  Scenario scenario{.world = RandomWorld(&random, seed), .requests = {}, .faults = {}};
  const bool impatient = random.Chance(0.3);
  for (int64_t n = random.Between(1, 6); n > 0; --n) {
    const int64_t max_prompt = random.Chance(0.3) ? scenario.world.process.context - 8 : 30;
    Scenario::Request r{.request = RandomRequest(&random, max_prompt, 50)};
    if (random.Chance(0.1)) {
      r.request.score = true;
      r.request.score_top = 3;
    }
    r.at = random.UpTo(milliseconds(random.Chance(0.8) ? 50 : 5'000));
    r.gateway = static_cast<size_t>(random.Below(scenario.world.gateways));
    if (impatient && random.Chance(0.3)) r.cancel_after = random.UpTo(milliseconds(100));
    if (impatient && random.Chance(0.3)) r.deadline = random.UpTo(milliseconds(200));
    const auto shards = static_cast<int64_t>(scenario.world.shards.size());
    if (random.Chance(0.05)) {
      r.through = static_cast<size_t>(random.Below(shards - (scenario.world.stranger ? 1 : 0)));
    }
    scenario.requests.push_back(std::move(r));
  }
  if (random.Chance(0.02)) {
    Poison(&scenario.requests.back());
    if (random.Chance(0.3)) {
      Poison(&scenario.requests.front());
      scenario.world.patience *= 2;  // one is tried after the other
    }
  }
  if (random.Chance(0.6)) {
    for (int64_t n = random.Between(1, 3); n > 0; --n) {
      scenario.faults.push_back(RandomFault(&random, scenario.world));
    }
  }
  return scenario;
}

std::string Run(const Scenario& scenario) {
  World world(scenario.world);
  for (const Scenario::Request& r : scenario.requests) {
    LoopRequest request = r.request;
    if (r.deadline) request.deadline = world.now() + r.at + *r.deadline;
    const auto outcome = world.Submit(std::move(request), r.at, r.gateway, r.through);
    if (r.cancel_after) world.CancelAt(outcome, r.at + *r.cancel_after);
  }
  for (const Fault& fault : scenario.faults) world.Inject(fault);
  return world.Run();
}

Scenario Shrink(const Scenario& scenario) {
  Scenario smallest = scenario;
  const auto keep_if_fails = [&](Scenario candidate) {
    if (Run(candidate).empty()) return false;
    smallest = std::move(candidate);
    return true;
  };
  bool shrunk = true;
  while (shrunk) {
    shrunk = false;
    for (size_t i = 0; i < smallest.requests.size();) {
      Scenario fewer = smallest;
      fewer.requests.erase(fewer.requests.begin() + static_cast<int64_t>(i));
      keep_if_fails(std::move(fewer)) ? shrunk = true : ++i != 0;
    }
    for (size_t i = 0; i < smallest.faults.size();) {
      Scenario fewer = smallest;
      fewer.faults.erase(fewer.faults.begin() + static_cast<int64_t>(i));
      keep_if_fails(std::move(fewer)) ? shrunk = true : ++i != 0;
    }
    const auto without = [&](auto change) {
      Scenario calmer = smallest;
      if (change(&calmer)) shrunk |= keep_if_fails(std::move(calmer));
    };
    without([](Scenario* s) { return std::exchange(s->world.network.loss, 0) > 0; });
    without([](Scenario* s) { return std::exchange(s->world.network.duplicate, 0) > 0; });
    without([](Scenario* s) { return std::exchange(s->world.slow, 0) > 0; });
    without([](Scenario* s) { return std::exchange(s->world.process.sliding_window, 0) > 0; });
    without([](Scenario* s) { return std::exchange(s->world.process.rotary_switch, 0) > 0; });
    without([](Scenario* s) {
      return std::exchange(s->world.process.journal_bytes, 1 << 20) < 1 << 20;
    });
  }
  return smallest;
}

std::string ToString(const Scenario& s) {
  const auto ms = [](Nanoseconds t) { return static_cast<double>(t.count()) / 1e6; };
  const ProcessOptions& p = s.world.process;
  std::string out = fmt::format("seed {}: shards", s.world.seed);
  for (const LayerRange& r : s.world.shards) out += fmt::format(" [{}, {})", r.begin, r.end);
  if (s.world.stranger) out += " (of another model)";
  if (s.world.rival) out += ", with a head of its own";
  out += fmt::format(
      ", {} heads, {} gateways, slow {}, loss {}, duplicate {}, rotary switch {}, KV {}, "
      "growth {}, sliding window {}, journal {}, batch {}\n",
      s.world.heads, s.world.gateways, s.world.slow, s.world.network.loss,
      s.world.network.duplicate, p.rotary_switch, p.kv_positions, p.growth_positions,
      p.sliding_window, p.journal_bytes, p.max_batch_rows);
  for (const Scenario::Request& r : s.requests) {
    out += fmt::format(
        "  request at {} ms of gateway {}: prompt {}, max tokens {}, drafts {}{}{}{}{}\n", ms(r.at),
        r.gateway, r.request.prompt.size(), r.request.params.max_tokens, r.request.params.speculate,
        r.request.score ? ", scored" : "",
        r.cancel_after ? fmt::format(", cancelled after {} ms", ms(*r.cancel_after)) : "",
        r.deadline ? fmt::format(", deadline {} ms", ms(*r.deadline)) : "",
        r.through ? fmt::format(", through {}", *r.through) : "");
  }
  for (const Fault& fault : s.faults) out += "  " + ToString(fault) + "\n";
  return out;
}

}  // namespace catena::sim
