#include "runtime/stage/head.h"

namespace catena {

absl::StatusOr<std::unique_ptr<Head>> Head::Load(const Checkpoint& checkpoint, int max_rows,
                                                 Backend* backend) {
  const ModelConfig& config = checkpoint.config();
  std::unique_ptr<Head> head(new Head(config, max_rows, backend));
  head->stream_ = backend->NewStream();
  CATENA_ASSIGN_OR_RETURN(head->weights_, LoadHead(checkpoint, backend));
  CATENA_ASSIGN_OR_RETURN(head->packed_, backend->NewPackedRows(max_rows, config.hidden_size));
  const int64_t row_bytes = RowBytes(backend->residual_dtype(), config.hidden_size);
  CATENA_ASSIGN_OR_RETURN(head->input_, backend->AllocateDevice(max_rows * row_bytes));
  const size_t logits_bytes = max_rows * RowBytes(DType::kF32, config.vocab_size);
  CATENA_ASSIGN_OR_RETURN(head->logits_, backend->AllocateDevice(logits_bytes));
  CATENA_ASSIGN_OR_RETURN(head->fetched_, backend->AllocateHost(logits_bytes));
  return head;
}

HostRows Head::Run(const Rows& hidden, absl::Span<const int32_t> rows) {
  CATENA_CHECK(!rows.empty());
  return Logits(hidden, rows, static_cast<int>(rows.size()));
}

HostRows Head::Run(absl::Span<const HostRows> hidden) {
  const Rows x = input_.As(max_rows_, config_.hidden_size, backend_->residual_dtype());
  int rows = 0;
  for (const HostRows& piece : hidden) {
    CATENA_CHECK(rows + piece.rows <= max_rows_);
    backend_->Upload(*stream_, piece, x.Slice(rows, piece.rows));
    rows += piece.rows;
  }
  return Logits(x.Slice(0, rows), {}, rows);
}

// Of `n` rows: the chosen ones, or all.
HostRows Head::Logits(const Rows& hidden, absl::Span<const int32_t> rows, int n) {
  CATENA_CHECK(0 < n && n <= max_rows_);
  const Rows logits = logits_.As(n, config_.vocab_size, DType::kF32);
  backend_->Norm(*stream_, hidden, rows, *weights_.norm, static_cast<float>(config_.rms_norm_eps),
                 *weights_.lm_head, packed_.get());
  backend_->Linear(*stream_, *weights_.lm_head, *packed_, LinearMode::kStore, logits);
  const HostRows host = backend_->Download(*stream_, logits, fetched_);
  stream_->Synchronize();
  return host;
}

}  // namespace catena
