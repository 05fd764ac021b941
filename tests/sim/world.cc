#include "tests/sim/world.h"

#include <algorithm>

namespace catena::sim {
namespace {

constexpr double kSlow = 50;
constexpr Nanoseconds kLookEvery = std::chrono::milliseconds(500);
// Events between two looks at the bounds.
constexpr int kEventsPerLook = 64;

}  // namespace

World::World(const WorldOptions& options)
    : options_(options), random_(options.seed), network_(options.network, &clock_, &random_) {
  for (const LayerRange& layers : options.shards) Add(Role::kShard, layers);
  for (int i = 0; i < options.heads; ++i) Add(Role::kHead, {});
  for (int i = 0; i < options.gateways; ++i) Add(Role::kGateway, {});
  for (const auto& p : processes_) {
    if (p->role() != Role::kGateway) continue;
    discoveries_.push_back(std::make_unique<Discovery>(p.get(), &processes_, &network_, &clock_));
  }
}

void World::Add(Role role, LayerRange layers) {
  ProcessOptions options = options_.process;
  options.address = fmt::format("node{}", processes_.size());
  options.role = role;
  options.layers = layers;
  options.jitter_seed = options_.seed;
  const bool last_shard = processes_.size() + 1 == options_.shards.size();
  if (options_.stranger && last_shard) options.model = "another";
  processes_.push_back(std::make_unique<Process>(options, &clock_, &network_, &random_));
  processes_.back()->Start(next_incarnation_++);
  if (role != Role::kGateway && random_.Chance(options_.slow)) {
    processes_.back()->SetSlowness(kSlow);
  }
}

// --- clients ---

std::shared_ptr<Outcome> World::Submit(LoopRequest request, Nanoseconds at, size_t gateway,
                                       std::optional<size_t> through) {
  auto outcome = std::make_shared<Outcome>(std::move(request), stages() + gateway, &clock_);
  outcomes_.push_back(outcome);
  const size_t index = asked_.size();
  asked_.push_back({.outcome = outcome, .ticket = next_ticket_++});
  clock_.After(at, [this, index, through] {
    Asked& asked = asked_[index];
    Process& gateway = *processes_[asked.outcome->gateway];
    asked.outcome->submitted = true;
    asked.outcome->submitted_at = asked.outcome->moved_at = clock_.now();
    asked.outcome->lost = !gateway.runs();
    asked.outcome->stalled = gateway.runs() && !gateway.answers();
    asked.incarnation = gateway.incarnation();
    LoopRequest request = asked.outcome->request;
    if (through) request.through = processes_[*through]->incarnation();
    gateway.OnGateway([asked, request](GatewayCore* core, Instant now) {
      core->Submit(asked.ticket, request, asked.outcome, now);
    });
  });
  return outcome;
}

void World::CancelAt(const std::shared_ptr<Outcome>& outcome, Nanoseconds at) {
  const auto found = std::find_if(asked_.begin(), asked_.end(),
                                  [&](const Asked& a) { return a.outcome == outcome; });
  clock_.After(at, [this, index = found - asked_.begin()] {
    const Asked& asked = asked_[index];
    Process& gateway = *processes_[asked.outcome->gateway];
    if (gateway.incarnation() != asked.incarnation) return;
    asked.outcome->cancelled = true;
    gateway.OnGateway(
        [ticket = asked.ticket](GatewayCore* core, Instant now) { core->Cancel(ticket, now); });
  });
}

// --- faults ---

void World::Inject(const Fault& fault) {
  ++faults_to_come_;
  happened_.push_back(
      {.fault = fault, .from = clock_.now() + fault.at, .until = clock_.now() + fault.end()});
  clock_.After(fault.at, [this, fault] { Begin(fault); });
  clock_.After(fault.end(), [this, fault] {
    End(fault);
    --faults_to_come_;
  });
}

template <class Fn>
void World::ForEachOf(size_t gateway, const Fn& fn) {
  for (const auto& o : outcomes_) {
    if (o->gateway == gateway && o->submitted && !o->ended && !o->lost) fn(o.get());
  }
}

void World::Begin(const Fault& fault) {
  Process& process = *processes_[fault.process];
  const std::string& from = process.address();
  const std::string& to = processes_[fault.other]->address();
  switch (fault.kind) {
    case Fault::Kind::kKill:
      ForEachOf(fault.process, [](Outcome* o) {
        o->lost = true;
        o->stalled = false;
      });
      return process.Kill();
    case Fault::Kind::kDrain:
      if (process.role() != Role::kGateway) process.Drain();
      return;
    case Fault::Kind::kHang:
      ForEachOf(fault.process, [](Outcome* o) { o->stalled = true; });
      return process.Hang();
    case Fault::Kind::kSlow:
      return process.SetSlowness(fault.factor);
    case Fault::Kind::kRefuse:
      return network_.SetEdge(from, to, EdgeState::kRefused);
    case Fault::Kind::kSilence:
      return network_.SetEdge(from, to, EdgeState::kSilent);
    case Fault::Kind::kDelay:
      return network_.SetDelay(from, to, fault.factor);
    case Fault::Kind::kBreak:
      return network_.Break(from, to);
  }
}

void World::End(const Fault& fault) {
  Process& process = *processes_[fault.process];
  const std::string& from = process.address();
  const std::string& to = processes_[fault.other]->address();
  switch (fault.kind) {
    case Fault::Kind::kKill:
      if (!process.runs()) process.Start(next_incarnation_++);
      return;
    case Fault::Kind::kDrain:
      if (process.role() == Role::kGateway) return;
      process.Stop();
      return process.Start(next_incarnation_++);
    case Fault::Kind::kHang:
      ForEachOf(fault.process, [this](Outcome* o) {
        o->stalled = false;
        o->moved_at = clock_.now();
      });
      return process.Resume();
    case Fault::Kind::kSlow:
      return process.SetSlowness(1);
    case Fault::Kind::kRefuse:
    case Fault::Kind::kSilence:
      return network_.SetEdge(from, to, EdgeState::kOpen);
    case Fault::Kind::kDelay:
      return network_.SetDelay(from, to, 1);
    case Fault::Kind::kBreak:
      return;
  }
}

// --- running ---

bool World::Busy() const {
  return faults_to_come_ > 0 || std::any_of(outcomes_.begin(), outcomes_.end(), [](const auto& o) {
           return !o->submitted || o->stalled || o->open();
         });
}

void World::Note(const std::string& problem) {
  if (problem.empty() || problems_.size() > 2000) return;
  problems_ +=
      fmt::format("at {:.3f} s: {}\n",
                  std::chrono::duration<double>(now().time_since_epoch()).count(), problem);
}

void World::Look() {
  Note(CheckLimits(processes_));
  Note(CheckProgress(outcomes_, now(), options_.patience));
}

std::string World::Run(Nanoseconds limit) {
  const Instant end = now() + limit;
  Instant look_at = now();
  while (Busy() && problems_.empty()) {
    for (int i = 0; i < kEventsPerLook && Busy(); ++i) {
      if (clock_.RunNext(std::min(end, look_at + kLookEvery))) continue;
      look_at = now();
      break;
    }
    Look();
    if (now() >= end) Note("requests have not ended within the limit");
  }
  // Leases of what was forgotten pass, and the tables of those who are gone are emptied.
  const limits::DetectionLimits& d = options_.process.detection;
  const Instant settled = now() + 2 * d.lease + d.no_progress + options_.network.give_up;
  while (problems_.empty() && clock_.RunNext(settled)) {
  }
  for (size_t i = 0; i < outcomes_.size(); ++i) {
    const Outcome& o = *outcomes_[i];
    const auto of_request = [&](const std::string& problem) {
      if (!problem.empty()) Note(fmt::format("request {}: {}", i, problem));
    };
    of_request(CheckText(o, options_.process.context, options_.process.rotary_switch));
    const bool refused = options_.may_refuse && absl::IsResourceExhausted(o.status);
    if (!refused) of_request(CheckBlame(o, happened_, processes_));
  }
  if (problems_.empty()) Note(CheckLeaks(processes_, network_));
  Note(CheckDivergences(processes_));
  return problems_;
}

}  // namespace catena::sim
