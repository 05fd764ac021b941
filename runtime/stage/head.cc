#include "runtime/stage/head.h"

namespace catena {

absl::StatusOr<std::unique_ptr<Head>> Head::Load(const Checkpoint& checkpoint, int max_rows,
                                                 Backend* backend) {
  const ModelConfig& config = checkpoint.config();
  std::unique_ptr<Head> head(new Head(config, max_rows, backend));
  head->stream_ = backend->NewStream();
  CATENA_ASSIGN_OR_RETURN(head->weights_, LoadHead(checkpoint, backend));
  const int padded = backend->PaddedRows(max_rows);
  CATENA_ASSIGN_OR_RETURN(head->packed_, backend->NewPackedRows(padded, config.hidden_size));
  CATENA_ASSIGN_OR_RETURN(head->wanted_, backend->NewBatch({.rows = 0, .wanted = padded}));
  const int64_t row_bytes = RowBytes(backend->residual_dtype(), config.hidden_size);
  CATENA_ASSIGN_OR_RETURN(head->input_, backend->AllocateDevice(padded * row_bytes));
  const int64_t logits_bytes = RowBytes(DType::kF32, config.vocab_size);
  CATENA_ASSIGN_OR_RETURN(head->logits_, backend->AllocateDevice(padded * logits_bytes));
  CATENA_ASSIGN_OR_RETURN(head->fetched_, backend->AllocateHost(max_rows * logits_bytes));
  return head;
}

HostRows Head::Run(const Rows& hidden, absl::Span<const int32_t> rows) {
  const int n = static_cast<int>(rows.size());
  CATENA_CHECK(0 < n && n <= max_rows_);
  wanted_->Clear();
  wanted_->Want(rows);
  backend_->Upload(*stream_, wanted_.get());
  return Logits(hidden, wanted_.get(), n);
}

HostRows Head::Run(absl::Span<const HostRows> hidden) {
  const Rows x =
      input_.As(backend_->PaddedRows(max_rows_), config_.hidden_size, backend_->residual_dtype());
  int rows = 0;
  for (const HostRows& piece : hidden) {
    CATENA_CHECK(rows + piece.rows <= max_rows_);
    backend_->Upload(*stream_, piece, x.Slice(rows, piece.rows));
    rows += piece.rows;
  }
  CATENA_CHECK(rows > 0);
  return Logits(x.Slice(0, backend_->PaddedRows(rows)), nullptr, rows);
}

// Of the `n` first rows, or of so many wanted ones.
HostRows Head::Logits(const Rows& hidden, const Batch* wanted, int n) {
  const Rows logits = logits_.As(backend_->PaddedRows(n), config_.vocab_size, DType::kF32);
  backend_->Norm(*stream_, hidden, wanted, *weights_.norm, static_cast<float>(config_.rms_norm_eps),
                 *weights_.lm_head, packed_.get());
  backend_->Linear(*stream_, *weights_.lm_head, *packed_, LinearMode::kStore, logits);
  const HostRows host = backend_->Download(*stream_, logits.Slice(0, n), fetched_);
  stream_->Synchronize();
  return host;
}

}  // namespace catena
