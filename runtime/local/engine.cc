#include "runtime/local/engine.h"

#include <cstdint>

namespace catena {

absl::StatusOr<std::unique_ptr<Engine>> Engine::Load(const Checkpoint& checkpoint,
                                                     const EngineOptions& options,
                                                     const LoadProgress& progress) {
  CATENA_ASSIGN_OR_RETURN(auto backend,
                          NewBackend(options.backend, {.threads = options.threads,
                                                       .activations = options.activations,
                                                       .device = options.device}));
  return Load(checkpoint, options, std::move(backend), progress);
}

absl::StatusOr<std::unique_ptr<Engine>> Engine::Load(const Checkpoint& checkpoint,
                                                     const EngineOptions& options,
                                                     std::unique_ptr<Backend> backend,
                                                     const LoadProgress& progress) {
  std::unique_ptr<Engine> engine(new Engine(checkpoint.config(), options));
  EngineOptions& o = engine->options_;
  const ModelConfig& config = engine->config_;
  if (o.layers.empty()) o.layers = {{0, config.n_layers}};
  if (o.max_positions == 0) o.max_positions = config.context_length;
  engine->backend_ = std::move(backend);
  const int64_t pages = PagesFor(o.max_positions) * o.max_sequences;
  if (pages > INT32_MAX) {
    return absl::ResourceExhaustedError(
        fmt::format("{} sequences of {} positions are too many", o.max_sequences, o.max_positions));
  }
  // The head counts as two blocks on the progress bar.
  const double pieces = config.n_layers + 2;
  for (const LayerRange& layers : o.layers) {
    const StageOptions stage{.layers = layers,
                             .max_rows = o.max_rows,
                             .max_positions = o.max_positions,
                             .kv_pages = static_cast<int>(pages),
                             .kv_dtype = o.kv_dtype};
    const auto report = [&](double done) {
      if (progress) progress((layers.begin + done * layers.size()) / pieces);
    };
    CATENA_ASSIGN_OR_RETURN(auto loaded,
                            Stage::Load(checkpoint, stage, engine->backend_.get(), report));
    engine->stages_.push_back(std::move(loaded));
  }
  CATENA_ASSIGN_OR_RETURN(engine->head_,
                          Head::Load(checkpoint, o.max_logit_rows, engine->backend_.get()));
  if (progress) progress(1.0);
  return engine;
}

// A stage may still read what another one made.
Engine::~Engine() {
  for (auto& stage : stages_) stage->done()->Wait();
}

int64_t Engine::kv_bytes_in_use() const {
  int64_t bytes = 0;
  for (const auto& stage : stages_) {
    const KvCache& cache = stage->cache();
    bytes += (cache.total_pages() - cache.free_pages()) * stage->kv_page_bytes();
  }
  return bytes;
}

absl::StatusOr<SequenceId> Engine::Open(int rotary) {
  const SequenceId id = next_id_++;
  for (auto& stage : stages_) CATENA_RETURN_IF_ERROR(stage->Open(id, rotary));
  return id;
}

void Engine::Close(SequenceId id) {
  for (auto& stage : stages_) stage->cache().Close(id);
}

int Engine::rotary(SequenceId id) const {
  const KvCache::Sequence* sequence = stages_[0]->cache().Find(id);
  CATENA_CHECK(sequence != nullptr);
  return sequence->rotary;
}

absl::Status Engine::StartAnew(SequenceId id, int rotary) {
  CATENA_RETURN_IF_ERROR(Truncate(id, 0));
  for (auto& stage : stages_) CATENA_RETURN_IF_ERROR(stage->ChooseRotary(id, rotary));
  return absl::OkStatus();
}

absl::Status Engine::Truncate(SequenceId id, int64_t length) {
  for (auto& stage : stages_) CATENA_RETURN_IF_ERROR(stage->cache().Truncate(id, length));
  return absl::OkStatus();
}

absl::StatusOr<StageRows> Engine::Forward(absl::Span<const StageSpan> spans) {
  for (auto& stage : stages_) {
    for (const StageSpan& span : spans) {
      const int64_t end = span.first_position + static_cast<int64_t>(span.ids.size());
      if (end <= options_.max_positions) {  // else Start refuses the batch
        CATENA_RETURN_IF_ERROR(stage->cache().Reserve(span.sequence, end));
      }
    }
  }
  StageRows hidden;
  for (size_t i = 0; i < stages_.size(); ++i) {
    const bool last = i + 1 == stages_.size();  // Logits has read its rows when it returns
    const StageRunOptions options{.after = last ? nullptr : stages_[i + 1]->done()};
    CATENA_ASSIGN_OR_RETURN(hidden,
                            stages_[i]->Start(spans, {.host = {}, .device = hidden}, options));
  }
  return hidden;
}

}  // namespace catena
