#include "runtime/stage/head.h"

namespace catena {

absl::StatusOr<std::unique_ptr<Head>> Head::Load(const Checkpoint& checkpoint, int max_rows,
                                                 Backend* backend) {
  const ModelConfig& config = checkpoint.config();
  std::unique_ptr<Head> head(new Head(config, max_rows, backend));
  head->stream_ = backend->NewStream();
  CATENA_ASSIGN_OR_RETURN(head->weights_, LoadHead(checkpoint, backend));
  CATENA_ASSIGN_OR_RETURN(head->packed_, backend->NewPackedRows(max_rows, config.hidden_size));
  CATENA_ASSIGN_OR_RETURN(
      head->logits_,
      backend->Allocate(MemoryKind::kHost, max_rows * config.vocab_size * sizeof(float)));
  return head;
}

Rows Head::Run(const Rows& hidden, absl::Span<const int32_t> rows) {
  CATENA_CHECK(!rows.empty() && static_cast<int>(rows.size()) <= max_rows_);
  const Rows logits{.data = static_cast<float*>(logits_->data()),
                    .rows = static_cast<int>(rows.size()),
                    .cols = config_.vocab_size,
                    .stride = config_.vocab_size};
  backend_->Norm(*stream_, hidden, rows, *weights_.norm, static_cast<float>(config_.rms_norm_eps),
                 *weights_.lm_head, packed_.get());
  backend_->Linear(*stream_, *weights_.lm_head, *packed_, LinearMode::kStore, logits);
  stream_->Synchronize();
  return logits;
}

}  // namespace catena
