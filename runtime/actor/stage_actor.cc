#include "runtime/actor/stage_actor.h"

#include <algorithm>
#include <utility>

namespace catena {
namespace {

constexpr int64_t kMostPages = 1 << 24;

}  // namespace

// The stage's KV cache, as its core knows it.
class StageActor::Memory final : public StageMemory {
 public:
  explicit Memory(Stage* stage) : stage_(stage) {}
  absl::Status Open(uint64_t id, int64_t max_length, int64_t reserve) override {
    return stage_->Open(id, 0, max_length, reserve);
  }
  bool Fits(int64_t reserve, absl::Span<const uint64_t> without) const override {
    return stage_->Fits(reserve, without);
  }
  absl::Status ChooseRotary(uint64_t id, int32_t rotary) override {
    return stage_->ChooseRotary(id, rotary);
  }
  absl::Status Extend(uint64_t id, int64_t length) override {
    return stage_->cache().Reserve(id, length);
  }
  absl::Status Truncate(uint64_t id, int64_t length) override {
    return stage_->cache().Truncate(id, length);
  }
  void Close(uint64_t id) override { stage_->cache().Close(id); }

 private:
  Stage* stage_;
};

struct StageActor::Parts {
  Parts(std::unique_ptr<Backend> b, std::unique_ptr<Stage> s, const StageCoreOptions& options)
      : backend(std::move(b)), stage(std::move(s)), memory(stage.get()), core(options, &memory) {}
  std::unique_ptr<Backend> backend;
  std::unique_ptr<Stage> stage;
  Memory memory;
  StageCore core;
};

absl::StatusOr<std::unique_ptr<StageActor>> StageActor::Load(const Checkpoint& checkpoint,
                                                             const StageActorOptions& options,
                                                             const LoadProgress& progress) {
  CATENA_ASSIGN_OR_RETURN(auto backend, NewBackend(options.backend, options.compute));
  return Load(checkpoint, options, std::move(backend), progress);
}

absl::StatusOr<std::unique_ptr<StageActor>> StageActor::Load(const Checkpoint& checkpoint,
                                                             const StageActorOptions& options,
                                                             std::unique_ptr<Backend> backend,
                                                             const LoadProgress& progress) {
  const ModelConfig& config = checkpoint.config();
  const int64_t page_bytes = backend->KvPageBytes(KvShapeOf(config, options.stage));
  if (options.kv_bytes < page_bytes) {
    return absl::InvalidArgumentError(
        fmt::format("the KV cache may take {} bytes, and a page of {} positions alone takes {}; "
                    "raise --kv-memory",
                    options.kv_bytes, kPagePositions, page_bytes));
  }
  StageOptions stage_options = options.stage;
  stage_options.kv_pages = static_cast<int>(std::min(options.kv_bytes / page_bytes, kMostPages));
  CATENA_ASSIGN_OR_RETURN(auto stage,
                          Stage::Load(checkpoint, stage_options, backend.get(), progress));
  const int64_t row_bytes = RowBytes(backend->residual_dtype(), config.hidden_size);
  const int64_t positions = int64_t{stage_options.kv_pages} * kPagePositions;
  const StageCoreOptions core{.first = options.stage.layers.begin == 0,
                              .row_bytes = row_bytes,
                              .vocab_size = config.vocab_size,
                              .max_rows = options.stage.max_rows,
                              .max_positions = options.stage.max_positions,
                              .journal_bytes = options.journal_bytes.value_or(DefaultJournalBytes(
                                  page_bytes * stage_options.kv_pages, positions, row_bytes)),
                              .detection = options.detection};
  auto parts = std::make_unique<Parts>(std::move(backend), std::move(stage), core);
  return std::unique_ptr<StageActor>(new StageActor(std::move(parts)));
}

StageActor::StageActor(std::unique_ptr<Parts> parts)
    : Actor(&parts->core), parts_(std::move(parts)) {
  AfterRound(std::chrono::steady_clock::now());
}

StageActor::~StageActor() { Stop(); }

// The rows that came, where they are.
absl::Span<const HostRows> StageActor::Input(const StageBatch& batch) {
  const int64_t cols = parts_->stage->hidden_size();
  input_.clear();
  for (const RowRun& run : batch.input) {
    input_.push_back({.data = run.payload->data() + run.offset,
                      .rows = static_cast<int>(run.rows),
                      .cols = cols,
                      .stride = cols,
                      .dtype = parts_->backend->residual_dtype()});
  }
  return input_;
}

bool StageActor::Begin(const StageBatch& batch) {
  StageCore& core = parts_->core;
  spans_.clear();
  absl::Span<const int32_t> ids = batch.ids;
  for (const StageBatch::Span& span : batch.spans) {
    const auto n = static_cast<size_t>(span.rows);
    spans_.push_back({span.id, span.first_position, ids.subspan(0, n)});
    ids.remove_prefix(n);
  }
  // Threads that wait for nothing would hold the core that the next stage needs.
  const bool another_soon = !core.idle();
  const absl::Status status =
      parts_->stage
          ->Start(spans_, {.host = Input(batch), .device = {}},
                  {.to_host = true,
                   .after_block = [this, n = batch.rows()] { progress_ += n; },
                   .another_soon = another_soon})
          .status();
  if (!status.ok()) core.Fail(status, std::chrono::steady_clock::now());
  return status.ok();
}

// Begins a batch or ends one. While one runs on a device, messages are taken, and their batch joins
// the next.
bool StageActor::Work() {
  StageCore& core = parts_->core;
  if (!running_) {
    const StageBatch* batch = core.NextBatch(std::chrono::steady_clock::now());
    if (batch == nullptr) {
      Flush();  // who made place is told
      return false;
    }
    running_ = Begin(*batch);
  }
  if (running_) {
    if (!parts_->stage->Ready()) return true;
    running_ = false;
    const HostRows output = parts_->stage->Finish();
    core.Complete(static_cast<const char*>(output.data), std::chrono::steady_clock::now());
  }
  Flush();
  return true;
}

void StageActor::ExpectWork() { parts_->backend->ExpectStep(); }

int64_t StageActor::row_bytes() const { return parts_->core.row_bytes(); }

DType StageActor::row_dtype() const { return parts_->backend->residual_dtype(); }

std::string StageActor::numerics_id() const { return parts_->backend->numerics_id(); }

void StageActor::AfterRound(Instant now) {
  const StageCounters& counters = parts_->core.counters();
  const int64_t faults = counters.row_faults.count();
  if (std::exchange(row_faults_seen_, faults) < faults && on_row_faults_) {
    on_row_faults_(counters.row_faults);
  }
  const KvCache& cache = parts_->stage->cache();
  const std::lock_guard lock(mutex_);
  load_ = parts_->core.load(now);
  counters_ = counters;
  load_.kv_pages = cache.total_pages();
  load_.kv_pages_used = cache.total_pages() - cache.free_pages();
  load_.kv_page_bytes = parts_->stage->kv_page_bytes();
  oldest_step_ = parts_->core.oldest_step();
  draining_ = parts_->core.draining();
  broken_edges_ = parts_->core.broken_edges();
}

ReplicaLoad StageActor::load() const {
  const std::lock_guard lock(mutex_);
  ReplicaLoad load = load_;
  load.progress = progress_;
  load.oldest_step_ns = AgeOf(oldest_step_);
  return load;
}

void StageActor::Describe(ReplicaInfo* info) const {
  info->load = load();
  const std::lock_guard lock(mutex_);
  info->draining = draining_;
  info->broken_edges = broken_edges_;
}

void StageActor::Drain() {
  Post([this](Instant) { parts_->core.Drain(); });
}

void StageActor::EndAll(const absl::Status& why, std::function<void()> done) {
  Post([this, why, done = std::move(done)](Instant) {
    parts_->core.EndAll(why);
    Flush();
    done();
  });
}

StageCounters StageActor::counters() const {
  const std::lock_guard lock(mutex_);
  return counters_;
}

void StageActor::View(const SequenceKey& key,
                      std::function<void(std::optional<SequenceView>)> done) {
  Post([this, key, done = std::move(done)](Instant) { done(parts_->core.View(key)); });
}

}  // namespace catena
