#include "tests/sim/world.h"

#include <algorithm>

#include "runtime/chain/error_facts.h"

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
  const bool last_head = processes_.size() + 1 == stages();
  if (options_.stranger && last_shard) options.model = "another";
  if (options_.rival && last_head) options.model = "another";
  processes_.push_back(std::make_unique<Process>(options, &clock_, &network_, &random_));
  processes_.back()->Start(next_incarnation_++);
  processes_.back()->OnCrash([this, i = processes_.size() - 1] { Crash(i); });
  if (role != Role::kGateway && random_.Chance(options_.slow)) {
    processes_.back()->SetSlowness(kSlow);
  }
}

// --- clients ---

std::shared_ptr<Outcome> World::Submit(LoopRequest request, Nanoseconds at, size_t gateway,
                                       std::optional<size_t> through) {
  auto outcome = std::make_shared<Outcome>(std::move(request), stages() + gateway, &clock_);
  outcome->probe = through.has_value();
  outcomes_.push_back(outcome);
  const size_t index = asked_.size();
  asked_.push_back({.outcome = outcome});
  clock_.After(at, [this, index, through] {
    Asked& asked = asked_[index];
    asked.outcome->submitted = true;
    asked.outcome->submitted_at = clock_.now();
    if (through) asked.through = processes_[*through]->incarnation();
    Ask(index);
  });
  return outcome;
}

void World::Ask(size_t index) {
  Asked& asked = asked_[index];
  Outcome& outcome = *asked.outcome;
  Process& gateway = *processes_[outcome.gateway];
  outcome.moved_at = clock_.now();
  outcome.lost = !gateway.runs();
  outcome.stalled = gateway.runs() && !gateway.answers();
  asked.incarnation = gateway.incarnation();
  asked.ticket = next_ticket_++;
  LoopRequest request = outcome.request;
  request.through = asked.through;
  for (const Token& token : outcome.tokens) request.output.push_back(token.token.id);
  gateway.OnGateway([asked, request](GatewayCore* core, Instant now) {
    core->Submit(asked.ticket, request, asked.outcome, now);
  });
}

// Clients of a gateway that died send again what they had, to another one where there is one.
void World::ResumeLost(size_t gateway) {
  constexpr std::chrono::milliseconds kPause{50};
  ++resuming_;
  clock_.After(kPause, [this, gateway] {
    --resuming_;
    size_t other = gateway;
    for (size_t i = stages(); i < processes_.size(); ++i) {
      if (processes_[i]->answers()) other = i;
    }
    if (!processes_[other]->answers()) return ResumeLost(gateway);
    for (size_t i = 0; i < asked_.size(); ++i) {
      Outcome& o = *asked_[i].outcome;
      if (o.gateway != gateway || !o.lost || o.ended || o.request.score || o.probe) continue;
      o.Resume(other);
      Ask(i);
    }
  });
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
  network_.Tell("begins: " + ToString(fault));
  Process& process = *processes_[fault.process];
  const std::string& from = process.address();
  const std::string& to = processes_[fault.other]->address();
  switch (fault.kind) {
    case Fault::Kind::kKill:
      ForEachOf(fault.process, [](Outcome* o) {
        o->lost = true;
        o->stalled = false;
      });
      process.Kill();
      if (options_.resume && process.role() == Role::kGateway) ResumeLost(fault.process);
      return;
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
  network_.Tell("is over: " + ToString(fault));
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

// It is started again at once, as a supervisor does.
void World::Crash(size_t process) {
  constexpr std::chrono::milliseconds kRestart{100};
  network_.Tell(fmt::format("process {} dies of what it computes", process));
  const Fault fault{.kind = Fault::Kind::kKill, .process = process, .lasts = kRestart};
  happened_.push_back({.fault = fault, .from = now(), .until = now() + kRestart});
  processes_[process]->Kill();
  clock_.After(kRestart, [this, process] {
    if (!processes_[process]->runs()) processes_[process]->Start(next_incarnation_++);
  });
}

// --- running ---

bool World::Busy() {
  const auto is_busy = [](const std::shared_ptr<Outcome>& o) {
    return !o->submitted || o->stalled || o->open();
  };
  if (faults_to_come_ > 0 || resuming_ > 0) return true;
  if (busy_ < outcomes_.size() && is_busy(outcomes_[busy_])) return true;
  busy_ = std::find_if(outcomes_.begin(), outcomes_.end(), is_busy) - outcomes_.begin();
  return busy_ < outcomes_.size();
}

void World::Note(const std::string& problem) {
  if (problem.empty() || problems_.size() > 2000) return;
  problems_ +=
      fmt::format("at {:.3f} s: {}\n",
                  std::chrono::duration<double>(now().time_since_epoch()).count(), problem);
}

// When the last fault was over, or will be.
Instant World::WellSince() const {
  Instant since{};
  for (const Happened& h : happened_) {
    if (h.from <= now()) since = std::max(since, h.until);
  }
  return since;
}

// One that made place for others waits like those that have not started. One that is on no route,
// and not in the queue, waits for others' trials.
void World::NoteWaiting() {
  using State = SequenceSummary::State;
  for (size_t i = stages(); i < processes_.size(); ++i) {
    const GatewayCore* gateway = processes_[i]->gateway();
    if (gateway == nullptr) continue;
    for (const SequenceSummary& s : gateway->Sequences(outcomes_.size(), now())) {
      const bool waits = s.state == State::kWaiting || s.state == State::kOpening;
      const bool in_turn = s.state == State::kStranded && s.route.empty();
      if (!waits && !in_turn) continue;
      ForEachOf(i, [&](Outcome* o) {
        if (o->started && o->id == s.id) (waits ? o->waited_at : o->untried_at) = now();
      });
    }
  }
}

void World::Look() {
  if (!options_.looks) return;
  NoteWaiting();
  Note(CheckLimits(processes_));
  Note(CheckProgress(outcomes_, now(), WellSince(), options_.patience));
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
    const bool may_refuse = options_.may_refuse || o.probe;  // which makes place for all others
    // Where that message is lost it hears later that the stage has it no more.
    const bool unheard =
        o.probe && options_.network.loss > 0 && ReasonOf(o.status) == ErrorReason::kStageLost;
    const bool refused = unheard || (may_refuse && absl::IsResourceExhausted(o.status));
    // It would go through a stage of what is not served.
    const bool of_rival = options_.rival && o.probe && absl::IsFailedPrecondition(o.status);
    if (!refused && !of_rival) of_request(CheckBlame(o, happened_, options_.hasty));
  }
  if (problems_.empty()) Note(CheckLeaks(processes_, network_));
  Note(CheckDivergences(processes_));
  return problems_;
}

}  // namespace catena::sim
