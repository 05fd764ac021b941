#include "runtime/stage/stage.h"

#include <algorithm>

namespace catena {
absl::StatusOr<std::unique_ptr<Stage>> Stage::Load(const Checkpoint& checkpoint,
                                                   const StageOptions& options, Backend* backend,
                                                   const LoadProgress& progress) {
  const ModelConfig& config = checkpoint.config();
  CATENA_CHECK(0 <= options.layers.begin && options.layers.begin < options.layers.end);
  CATENA_CHECK(options.layers.end <= config.n_layers && options.max_rows > 0);
  if (options.max_positions < 1 || options.max_positions > config.context_length) {
    return absl::InvalidArgumentError(
        fmt::format("{} positions are outside the model's context of {}", options.max_positions,
                    config.context_length));
  }
  std::unique_ptr<Stage> stage(new Stage(config, options, backend));
  CATENA_ASSIGN_OR_RETURN(stage->stream_, backend->NewStream(StepLimitsOf(
                                              config, backend->PaddedRows(options.max_rows))));
  stage->taken_ = backend->NewEvent();
  stage->done_ = backend->NewEvent();
  CATENA_RETURN_IF_ERROR(stage->AllocateMemory());
  CATENA_RETURN_IF_ERROR(stage->LoadFrequencies());
  CATENA_RETURN_IF_ERROR(stage->LoadWeights(checkpoint, progress));
  return stage;
}

Stage::~Stage() {
  if (done_ == nullptr) return;
  stream_->Record(done_.get());
  done_->Wait();
}

absl::Status Stage::LoadWeights(const Checkpoint& checkpoint, const LoadProgress& progress) {
  if (is_first()) {
    CATENA_ASSIGN_OR_RETURN(embedding_, LoadEmbedding(checkpoint, backend_));
  }
  for (int layer = options_.layers.begin; layer < options_.layers.end; ++layer) {
    CATENA_ASSIGN_OR_RETURN(DecoderBlock block, LoadBlock(checkpoint, layer, backend_));
    blocks_.push_back(std::move(block));
    if (blocks_.size() == 1) CATENA_RETURN_IF_ERROR(CheckRoom());
    if (progress) progress(static_cast<double>(blocks_.size()) / options_.layers.size());
  }
  return absl::OkStatus();
}

// That a device has room for as many blocks more as the first one shows.
absl::Status Stage::CheckRoom() const {
  const std::optional<int64_t> free = backend_->FreeBytes();
  const int64_t block = WeightBytes(blocks_[0]);
  const int64_t needed = (options_.layers.size() - 1) * block;
  if (!free || needed <= *free) return absl::OkStatus();
  return absl::ResourceExhaustedError(fmt::format(
      "the GPU lacks memory: blocks {}-{} need {} MiB more, and {} MiB are free beside a cache of "
      "{} MiB: it has room for {} of these {} blocks; give it fewer (--layers) or a smaller cache "
      "(--kv-memory)",
      options_.layers.begin, options_.layers.end, (needed >> 20) + 1, *free >> 20,
      pool_->pages() * pool_->page_bytes() >> 20, 1 + *free / block, options_.layers.size()));
}

absl::StatusOr<std::unique_ptr<Weight>> Stage::PackFrequencies(const RopeFrequencies& rope) const {
  const TensorView view{.name = "rotary frequencies",
                        .dtype = DType::kF32,
                        .rows = rope.tables,
                        .cols = config_.rotary_dim / 2,
                        .bytes = {reinterpret_cast<const uint8_t*>(rope.values.data()),
                                  rope.values.size() * sizeof(float)},
                        .interleaved_head_dim = 0,
                        .owner = nullptr};
  return backend_->Pack({view}, WeightRole::kTable);
}

absl::Status Stage::LoadFrequencies() {
  const RopeFrequencies rope = MakeRopeFrequencies(config_);
  rotary_scale_ = rope.scale;
  CATENA_ASSIGN_OR_RETURN(frequencies_, PackFrequencies(rope));
  if (!config_.local_rope_theta.has_value()) return absl::OkStatus();
  CATENA_ASSIGN_OR_RETURN(local_frequencies_, PackFrequencies(MakeLocalRopeFrequencies(config_)));
  return absl::OkStatus();
}

absl::Status Stage::AllocateMemory() {
  const int rows = backend_->PaddedRows(options_.max_rows);
  CATENA_ASSIGN_OR_RETURN(workspace_, DecoderWorkspace::Make(config_, rows, backend_));
  CATENA_ASSIGN_OR_RETURN(
      batch_, backend_->NewBatch({.rows = rows, .pages = options_.kv_pages, .wanted = 0}));
  const int64_t row_bytes = RowBytes(backend_->residual_dtype(), config_.hidden_size);
  CATENA_ASSIGN_OR_RETURN(residual_, backend_->AllocateDevice(rows * row_bytes));
  CATENA_ASSIGN_OR_RETURN(fetched_, backend_->AllocateHost(options_.max_rows * row_bytes));
  const KvShape shape = KvShapeOf(config_, options_);
  CATENA_ASSIGN_OR_RETURN(pool_, backend_->NewKvPool(shape, options_.kv_pages));
  cache_ = std::make_unique<KvCache>(pool_.get(), stream_.get(), config_.cache_window());
  return absl::OkStatus();
}

KvShape KvShapeOf(const ModelConfig& config, const StageOptions& options) {
  return {.layers = options.layers.size(),
          .kv_heads = config.n_kv_heads,
          .head_dim = config.head_dim,
          .dtype = options.kv_dtype};
}

absl::Status Stage::CheckRotary(SequenceId id, int rotary) const {
  if (0 <= rotary && rotary < frequencies_->rows()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("sequence {}: rotary table {} of {}", id, rotary, frequencies_->rows()));
}

absl::Status Stage::Open(SequenceId id, int rotary, int64_t max_length, int64_t reserve) {
  CATENA_RETURN_IF_ERROR(CheckRotary(id, rotary));
  return cache_->Open(id, rotary, {max_length, reserve, options_.max_rows});
}

bool Stage::Fits(int64_t reserve, absl::Span<const SequenceId> without) const {
  return cache_->Fits({reserve, reserve, options_.max_rows}, without);
}

absl::Status Stage::ChooseRotary(SequenceId id, int rotary) {
  CATENA_RETURN_IF_ERROR(CheckRotary(id, rotary));
  if (cache_->Find(id) == nullptr) return absl::NotFoundError(fmt::format("no sequence {}", id));
  cache_->SetRotary(id, rotary);
  return absl::OkStatus();
}

absl::Status Stage::CheckDistinct(absl::Span<const StageSpan> spans) {
  sequences_.clear();
  for (const StageSpan& span : spans) sequences_.push_back(span.sequence);
  std::sort(sequences_.begin(), sequences_.end());
  const auto twice = std::adjacent_find(sequences_.begin(), sequences_.end());
  if (twice == sequences_.end()) return absl::OkStatus();
  return absl::FailedPreconditionError(fmt::format("sequence {} is twice in a batch", *twice));
}

absl::Status Stage::AddToBatch(const StageSpan& span) {
  const KvCache::Sequence* sequence = cache_->Find(span.sequence);
  if (sequence == nullptr) {
    return absl::FailedPreconditionError(fmt::format("sequence {} is not open", span.sequence));
  }
  const int64_t end = span.first_position + static_cast<int64_t>(span.ids.size());
  if (span.ids.empty() || end > options_.max_positions) {
    return absl::InvalidArgumentError(
        fmt::format("sequence {}: positions {} to {} are outside the context of {}", span.sequence,
                    span.first_position, end, options_.max_positions));
  }
  if (span.first_position != sequence->length ||
      PagesFor(end) > static_cast<int64_t>(sequence->pages.size())) {
    return absl::FailedPreconditionError(
        fmt::format("sequence {}: position {} does not follow length {}, or has no page",
                    span.sequence, span.first_position, sequence->length));
  }
  for (int32_t id : span.ids) {
    if (id < 0 || id >= config_.vocab_size) {
      return absl::InvalidArgumentError(
          fmt::format("token id {} is outside the vocabulary of {}", id, config_.vocab_size));
    }
  }
  if (batch_->rows() + static_cast<int64_t>(span.ids.size()) > options_.max_rows) {
    return absl::InvalidArgumentError(
        fmt::format("a batch of more than {} rows", options_.max_rows));
  }
  batch_->Add(span.ids, static_cast<int>(span.first_position), sequence->pages, sequence->rotary);
  return absl::OkStatus();
}

// The residual rows that come from the stage before.
void Stage::TakeInput(const StageInput& input, const Rows& x) {
  if (input.host.empty()) {
    stream_->Wait(*input.device.done);
    return backend_->Copy(*stream_, input.device.rows, x.Slice(0, batch_->rows()));
  }
  int row = 0;
  for (const HostRows& piece : input.host) {
    CATENA_CHECK(row + piece.rows <= batch_->rows());
    backend_->Upload(*stream_, piece, x.Slice(row, piece.rows));
    row += piece.rows;
  }
  CATENA_CHECK(row == batch_->rows());
}

void Stage::RunBlocks(const Rows& x, const StageRunOptions& options) {
  backend_->BeginStep(*stream_, *batch_);
  if (is_first()) {
    backend_->Embed(*stream_, *embedding_, *batch_, EmbeddingScale(config_), x);
  }
  const Rows rotary = workspace_.rotary.As(x.rows, config_.rotary_dim, DType::kF32);
  backend_->RotaryFactors(*stream_, *batch_, *frequencies_, rotary_scale_, rotary);
  Rows local_rotary;
  if (local_frequencies_ != nullptr) {
    local_rotary = workspace_.local_rotary.As(x.rows, config_.rotary_dim, DType::kF32);
    backend_->RotaryFactors(*stream_, *batch_, *local_frequencies_, 1.0f, local_rotary);
  }
  const DecoderPass pass{.backend = backend_,
                         .stream = stream_.get(),
                         .config = &config_,
                         .rotary = rotary,
                         .local_rotary = local_rotary,
                         .batch = batch_.get(),
                         .cache = pool_.get(),
                         .workspace = &workspace_};
  for (size_t i = 0; i < blocks_.size(); ++i) {
    RunBlock(pass, blocks_[i], static_cast<int>(i), x);
    if (options.after_block) options.after_block();
  }
  backend_->EndStep(*stream_, options.another_soon);
}

absl::StatusOr<StageRows> Stage::Start(absl::Span<const StageSpan> spans, const StageInput& input,
                                       const StageRunOptions& options) {
  taken_->Wait();  // the batch is written anew
  batch_->Clear();
  CATENA_RETURN_IF_ERROR(CheckDistinct(spans));
  for (const StageSpan& span : spans) CATENA_RETURN_IF_ERROR(AddToBatch(span));
  if (options.after != nullptr) stream_->Wait(*options.after);
  backend_->Upload(*stream_, batch_.get());
  const Rows x =
      residual_.As(batch_->padded_rows(), config_.hidden_size, backend_->residual_dtype());
  if (!is_first()) TakeInput(input, x);
  stream_->Record(taken_.get());
  RunBlocks(x, options);
  output_ = x.Slice(0, batch_->rows());
  fetched_rows_.reset();
  if (options.to_host) Fetch();
  stream_->Record(done_.get());
  for (const StageSpan& span : spans) {
    cache_->SetLength(span.sequence, span.first_position + static_cast<int64_t>(span.ids.size()));
  }
  return StageRows{.rows = output_, .done = done_.get()};
}

void Stage::Fetch() { fetched_rows_ = backend_->Download(*stream_, output_, fetched_); }

HostRows Stage::Finish() {
  if (!fetched_rows_) {
    Fetch();
    stream_->Record(done_.get());
  }
  done_->Wait();
  return *fetched_rows_;
}

}  // namespace catena
