#include "runtime/actor/head_actor.h"

#include <utility>

namespace catena {

struct HeadActor::Parts {
  Parts(std::unique_ptr<Backend> b, std::unique_ptr<Head> h, int64_t hidden,
        const HeadCoreOptions& options)
      : backend(std::move(b)), head(std::move(h)), hidden_size(hidden), core(options) {}
  std::unique_ptr<Backend> backend;
  std::unique_ptr<Head> head;
  int64_t hidden_size;
  HeadCore core;
};

absl::StatusOr<std::unique_ptr<HeadActor>> HeadActor::Load(const Checkpoint& checkpoint,
                                                           const HeadActorOptions& options) {
  CATENA_ASSIGN_OR_RETURN(auto backend, NewBackend(options.backend, options.compute));
  return Load(checkpoint, options, std::move(backend));
}

absl::StatusOr<std::unique_ptr<HeadActor>> HeadActor::Load(const Checkpoint& checkpoint,
                                                           const HeadActorOptions& options,
                                                           std::unique_ptr<Backend> backend) {
  CATENA_ASSIGN_OR_RETURN(auto head, Head::Load(checkpoint, options.max_rows, backend.get()));
  const ModelConfig& config = checkpoint.config();
  const HeadCoreOptions core{.row_bytes = RowBytes(backend->residual_dtype(), config.hidden_size),
                             .vocab_size = config.vocab_size,
                             .max_positions = options.max_positions,
                             .max_rows = options.max_rows,
                             .detection = options.detection};
  auto parts =
      std::make_unique<Parts>(std::move(backend), std::move(head), config.hidden_size, core);
  return std::unique_ptr<HeadActor>(new HeadActor(std::move(parts)));
}

HeadActor::HeadActor(std::unique_ptr<Parts> parts) : Actor(&parts->core), parts_(std::move(parts)) {
  AfterRound(std::chrono::steady_clock::now());
}

HeadActor::~HeadActor() { Stop(); }

void HeadActor::Begin(const std::vector<RowRun>& batch) {
  input_.clear();
  for (const RowRun& run : batch) {
    input_.push_back({.data = run.payload->data() + run.offset,
                      .rows = static_cast<int>(run.rows),
                      .cols = parts_->hidden_size,
                      .stride = parts_->hidden_size,
                      .dtype = parts_->backend->residual_dtype()});
  }
  parts_->head->Start(input_, /*another_soon=*/!parts_->core.idle());
}

// As StageActor::Work.
bool HeadActor::Work() {
  HeadCore& core = parts_->core;
  if (!running_) {
    const std::vector<RowRun>* batch = core.NextBatch(std::chrono::steady_clock::now());
    if (batch == nullptr) return false;
    Begin(*batch);
    running_ = true;
  }
  if (!parts_->head->Ready()) return true;
  running_ = false;
  core.Complete(*parts_->head, std::chrono::steady_clock::now());
  Flush();
  return true;
}

void HeadActor::ExpectWork() { parts_->backend->ExpectStep(); }

int64_t HeadActor::row_bytes() const { return parts_->core.row_bytes(); }

DType HeadActor::row_dtype() const { return parts_->backend->residual_dtype(); }

std::string HeadActor::numerics_id() const { return parts_->backend->numerics_id(); }

void HeadActor::AfterRound(Instant now) {
  const StageCounters& counters = parts_->core.counters();
  const int64_t faults = counters.row_faults.count();
  if (std::exchange(row_faults_seen_, faults) < faults && on_row_faults_) {
    on_row_faults_(counters.row_faults);
  }
  const std::lock_guard lock(mutex_);
  load_ = parts_->core.load(now);
  oldest_step_ = parts_->core.oldest_step();
  draining_ = parts_->core.draining();
  counters_ = counters;
}

ReplicaLoad HeadActor::load() const {
  const std::lock_guard lock(mutex_);
  ReplicaLoad load = load_;
  load.oldest_step_ns = AgeOf(oldest_step_);
  return load;
}

void HeadActor::Describe(ReplicaInfo* info) const {
  info->load = load();
  const std::lock_guard lock(mutex_);
  info->draining = draining_;
}

void HeadActor::Drain() {
  Post([this](Instant) { parts_->core.Drain(); });
}

void HeadActor::EndAll(const absl::Status& why, std::function<void()> done) {
  Post([this, why, done = std::move(done)](Instant) {
    parts_->core.EndAll(why);
    Flush();
    done();
  });
}

StageCounters HeadActor::counters() const {
  const std::lock_guard lock(mutex_);
  return counters_;
}

void HeadActor::View(const SequenceKey& key,
                     std::function<void(std::optional<SequenceView>)> done) {
  Post([this, key, done = std::move(done)](Instant) { done(parts_->core.View(key)); });
}

}  // namespace catena
