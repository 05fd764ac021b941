#include "runtime/stage/head.h"

#include <numeric>

namespace catena {

absl::StatusOr<std::unique_ptr<Head>> Head::Load(const Checkpoint& checkpoint, int max_rows,
                                                 Backend* backend) {
  const ModelConfig& config = checkpoint.config();
  std::unique_ptr<Head> head(new Head(config, max_rows, backend));
  const int padded = backend->PaddedRows(max_rows);
  CATENA_ASSIGN_OR_RETURN(head->stream_, backend->NewStream(StepLimitsOf(config, padded)));
  head->done_ = backend->NewEvent();
  CATENA_ASSIGN_OR_RETURN(head->weights_, LoadHead(checkpoint, backend));
  head->all_.resize(static_cast<size_t>(max_rows));
  std::iota(head->all_.begin(), head->all_.end(), 0);
  CATENA_ASSIGN_OR_RETURN(head->wanted_, backend->NewBatch({.rows = 0, .wanted = padded}));
  const int64_t row_bytes = RowBytes(backend->residual_dtype(), config.hidden_size);
  CATENA_ASSIGN_OR_RETURN(head->input_, backend->AllocateDevice(max_rows * row_bytes));
  const int64_t logits_bytes = RowBytes(DType::kF32, config.vocab_size);
  CATENA_ASSIGN_OR_RETURN(head->logits_, backend->AllocateDevice(padded * logits_bytes));
  CATENA_ASSIGN_OR_RETURN(head->fetched_, backend->AllocateHost(max_rows * logits_bytes));
  if (backend->shares_memory()) return head;
  CATENA_ASSIGN_OR_RETURN(head->top_, backend->AllocateDevice(padded * sizeof(TopLogits)));
  CATENA_ASSIGN_OR_RETURN(head->fetched_top_, backend->AllocateHost(max_rows * sizeof(TopLogits)));
  return head;
}

Head::~Head() {
  if (done_ != nullptr) done_->Wait();
}

void Head::Start(const StageRows& hidden, absl::Span<const int32_t> rows, bool another_soon) {
  stream_->Wait(*hidden.done);
  Run(hidden.rows, rows, another_soon);
}

void Head::Start(absl::Span<const HostRows> hidden, bool another_soon) {
  const Rows x = input_.As(max_rows_, config_.hidden_size, backend_->residual_dtype());
  int rows = 0;
  for (const HostRows& piece : hidden) {
    CATENA_CHECK(rows + piece.rows <= max_rows_);
    backend_->Upload(*stream_, piece, x.Slice(rows, piece.rows));
    rows += piece.rows;
  }
  Run(x, absl::MakeConstSpan(all_).subspan(0, rows), another_soon);
}

void Head::Run(const Rows& hidden, absl::Span<const int32_t> rows, bool another_soon) {
  const int n = static_cast<int>(rows.size());
  CATENA_CHECK(0 < n && n <= max_rows_);
  done_->Wait();  // the batch is written anew
  wanted_->Clear();
  wanted_->Want(rows);
  backend_->Upload(*stream_, wanted_.get());
  const Rows logits = logits_.As(wanted_->padded_wanted(), config_.vocab_size, DType::kF32);
  backend_->BeginStep(*stream_, *wanted_);
  backend_->NormLinear(*stream_, hidden, wanted_.get(), *weights_.norm, StreamNormEps(config_),
                       *weights_.lm_head, logits);
  if (config_.logits_softcap != 0) {
    backend_->SoftCap(*stream_, static_cast<float>(config_.logits_softcap), logits);
  }
  const Rows top = top_.As(logits.rows, kTopLogitsWords, DType::kF32);
  const bool far = !backend_->shares_memory();
  if (far) backend_->TopLogitsOf(*stream_, logits, top);
  backend_->EndStep(*stream_, another_soon);
  if (far) backend_->Download(*stream_, top.Slice(0, n), fetched_top_);
  result_ = logits.Slice(0, n);
  stream_->Record(done_.get());
}

const TopLogits* Head::Top(int64_t row) {
  return backend_->shares_memory() ? nullptr
                                   : static_cast<const TopLogits*>(fetched_top_.data) + row;
}

absl::Span<const float> Head::All(int64_t row) {
  const HostRows logits = Fetch(result_.Slice(static_cast<int>(row), 1));
  return {logits.row(0), static_cast<size_t>(logits.cols)};
}

HostRows Head::Finish() { return Fetch(result_); }

HostRows Head::Fetch(const Rows& logits) {
  const HostRows fetched = backend_->Download(*stream_, logits, fetched_);
  stream_->Record(done_.get());
  done_->Wait();
  return fetched;
}

}  // namespace catena
