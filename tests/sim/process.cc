#include "tests/sim/process.h"

#include <cstring>

namespace catena::sim {
namespace {

constexpr double kBatchUs = 50, kRowUs = 10;  // what a batch takes, about
constexpr int64_t kPage = 64;                 // positions, as stages count them for others

std::string RunToyHead(const std::vector<RowRun>& batch, int64_t* rows) {
  std::string output;
  for (const RowRun& run : batch) {
    for (int64_t i = 0; i < run.rows; ++i, ++*rows) {
      ToyRow row;
      std::memcpy(&row, run.payload->data() + run.offset + i * kRowBytes, sizeof row);
      const std::vector<float> logits = ToyLogits(row);
      output.append(reinterpret_cast<const char*>(logits.data()), logits.size() * sizeof(float));
    }
  }
  return output;
}

}  // namespace

Process::Process(const ProcessOptions& options, Clock* clock, Network* network, Random* random)
    : options_(options), clock_(clock), network_(network), random_(random) {}

Process::~Process() = default;

// --- its life ---

void Process::Start(Incarnation incarnation) {
  CATENA_CHECK(run_ == nullptr);
  run_ = std::make_shared<Run>();
  Run& run = *run_;
  run.self = {.address = options_.address, .incarnation = incarnation};
  if (options_.role == Role::kShard) {
    run.memory = std::make_unique<ToyMemory>(options_.layers, options_.kv_positions,
                                             options_.sliding_window);
    run.stage =
        std::make_unique<StageCore>(StageCoreOptions{.first = options_.layers.begin == 0,
                                                     .row_bytes = kRowBytes,
                                                     .vocab_size = kVocab,
                                                     .max_rows = options_.max_batch_rows,
                                                     .max_positions = options_.context,
                                                     .journal_bytes = options_.journal_bytes,
                                                     .detection = options_.detection},
                                    run.memory.get());
    run.core = run.stage.get();
  } else if (options_.role == Role::kHead) {
    run.head = std::make_unique<HeadCore>(HeadCoreOptions{.row_bytes = kRowBytes,
                                                          .vocab_size = kVocab,
                                                          .max_positions = options_.context,
                                                          .max_rows = options_.max_head_rows,
                                                          .detection = options_.detection});
    run.core = run.head.get();
  } else {
    run.gateway = std::make_unique<GatewayCore>(GatewayCoreOptions{
        .self = incarnation,
        .max_waiting = options_.max_waiting,
        .jitter_seed = options_.jitter_seed + incarnation,
        .draw_id = [random = random_] { return static_cast<PublicId>(random->Bits()); },
        .growth_positions = options_.growth_positions,
        .detection = options_.detection});
    run.core = run.gateway.get();
  }
  network_->Attach(run.self, this);
}

void Process::Kill() {
  if (run_ == nullptr) return;
  network_->Detach(run_->self.incarnation);
  run_.reset();
  hung_ = false;
  postponed_.clear();
}

void Process::Drain() {
  Do([this] { run_->stage ? run_->stage->Drain() : run_->head->Drain(); });
}

void Process::Stop() {
  Do([this] {
    const absl::Status why = absl::UnavailableError("it stops");
    run_->stage ? run_->stage->EndAll(why) : run_->head->EndAll(why);
  });
  Kill();
}

void Process::Hang() {
  if (run_ == nullptr || hung_) return;
  hung_ = true;
  network_->SetHung(run_->self.incarnation, true);
}

void Process::Resume() {
  if (run_ == nullptr || !hung_) return;
  hung_ = false;
  network_->SetHung(run_->self.incarnation, false);
  for (const auto& what : std::exchange(postponed_, {})) what();
  AfterRound();
}

Incarnation Process::incarnation() const { return run_ == nullptr ? 0 : run_->self.incarnation; }

// --- what drives its core ---

void Process::Do(std::function<void()> what) {
  if (run_ == nullptr) return;
  if (hung_) return postponed_.push_back(std::move(what));
  what();
  AfterRound();
}

void Process::OnMessage(Incarnation from, Lane lane, ChainMessage message) {
  if (run_ == nullptr) return;
  if (!hung_) {
    run_->core->Receive(from, lane, std::move(message), clock_->now());
    return AfterRound();
  }
  if (postponed_.size() >= limits::kMaxMailbox) return;
  auto carried = std::make_shared<ChainMessage>(std::move(message));
  postponed_.push_back([this, from, lane, carried] {
    run_->core->Receive(from, lane, std::move(*carried), clock_->now());
  });
}

void Process::OnConnect(Incarnation peer) {
  Do([this, peer] { run_->core->Connected(peer, clock_->now()); });
}

void Process::OnDisconnect(Incarnation peer, const absl::Status& why) {
  Do([this, peer, why] { run_->core->Disconnected(peer, why, clock_->now()); });
}

void Process::OnGateway(std::function<void(GatewayCore*, Instant)> fn) {
  Do([this, fn = std::move(fn)] { fn(run_->gateway.get(), clock_->now()); });
}

void Process::AfterRound() {
  CoreOutput output = run_->core->TakeOutput();
  const Incarnation self = run_->self.incarnation;
  for (const Replica& replica : output.connect) network_->Connect(self, replica);
  for (Envelope& envelope : output.send) network_->Send(self, std::move(envelope));
  if (run_->gateway) {
    for (const LoopEvent& event : run_->gateway->TakeEvents()) Deliver(event);
  }
  WorkNext();
  SleepUntilWake();
}

void Process::SleepUntilWake() {
  const std::optional<Instant> core_wakes = run_->core->WakeAt();
  if (!core_wakes) return;
  const Instant at = std::max(*core_wakes, clock_->now());
  if (run_->wake && *run_->wake <= at) return;
  run_->wake = at;
  clock_->At(at, [this, run = run_, at] {
    if (run != run_ || run->wake != at) return;  // it died, or an earlier one came between
    run->wake.reset();
    Do([this] { run_->core->Tick(clock_->now()); });
  });
}

void Process::WorkNext() {
  if (run_->working || run_->gateway) return;
  BatchWork work{.role = options_.role, .layers = options_.layers};
  std::string output;
  if (run_->stage) {
    const StageBatch* batch = run_->stage->NextBatch(clock_->now());
    if (batch == nullptr) return;
    work.rows = batch->rows();
    for (const StageBatch::Span& s : batch->spans) work.context += s.first_position + s.rows;
    std::optional<std::string> made =
        RunToyStage(*batch, options_.layers.begin == 0, run_->memory.get());
    if (!made) {
      run_->working = true;
      return clock_->After(Nanoseconds(0), [this, run = run_] {
        if (run == run_) on_crash_();
      });
    }
    output = *std::move(made);
  } else {
    const std::vector<RowRun>* batch = run_->head->NextBatch(clock_->now());
    if (batch == nullptr) return;
    output = RunToyHead(*batch, &work.rows);
  }
  run_->working = true;
  run_->work_began = clock_->now();
  clock_->After(TimeOf(work), [this, run = run_, output = std::move(output)] {
    if (run == run_) Do([this, output] { Finish(output); });
  });
}

Nanoseconds Process::TimeOf(const BatchWork& work) {
  if (options_.batch_time) {
    return std::chrono::duration_cast<Nanoseconds>(options_.batch_time(work) * slowness_);
  }
  const double us = (kBatchUs + kRowUs * static_cast<double>(work.rows)) * slowness_;
  return Nanoseconds(static_cast<int64_t>((0.5 + random_->Uniform()) * us * 1000));
}

void Process::Finish(const std::string& output) {
  run_->working = false;
  if (run_->stage) {
    run_->stage->Complete(output.data(), clock_->now());
  } else {
    LogitsAtHand logits(reinterpret_cast<const float*>(output.data()), kVocab);
    run_->head->Complete(logits, clock_->now());
  }
}

// --- what it tells ---

ReplicaInfo Process::Describe() const {
  CATENA_CHECK(answers() && !run_->gateway);
  ReplicaInfo info;
  info.replica = run_->self;
  info.role = options_.role;
  info.layers = options_.layers;
  info.host = options_.address;
  info.model = {.name = options_.model,
                .fingerprint = options_.model,
                .n_layers = kLayers,
                .vocab_size = kVocab,
                .hidden_size = kRowBytes / 4,
                .context_length = options_.context,
                .rotary_switch = options_.rotary_switch};
  info.row_bytes = kRowBytes;
  info.load = run_->stage ? run_->stage->load(clock_->now()) : run_->head->load(clock_->now());
  if (run_->working) info.load.progress = (clock_->now() - run_->work_began).count();
  info.load.progress += info.load.rows;
  if (run_->stage) info.broken_edges = run_->stage->broken_edges();
  info.draining = run_->stage ? run_->stage->draining() : run_->head->draining();
  if (run_->memory) {
    info.load.kv_pages = options_.kv_positions / kPage;
    info.load.kv_pages_used = (run_->memory->used() + kPage - 1) / kPage;
  }
  return info;
}

const StageCore* Process::stage() const { return run_ == nullptr ? nullptr : run_->stage.get(); }
const HeadCore* Process::head() const { return run_ == nullptr ? nullptr : run_->head.get(); }
const GatewayCore* Process::gateway() const {
  return run_ == nullptr ? nullptr : run_->gateway.get();
}
const ToyMemory* Process::memory() const { return run_ == nullptr ? nullptr : run_->memory.get(); }

}  // namespace catena::sim
