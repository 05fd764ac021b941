// How many bytes the parts of a model have in its files, from shapes alone.
#pragma once

#include <string>

#include "model/checkpoint.h"

namespace catena::cli {

struct PartSize {
  int64_t parameters = 0;
  int64_t stored = 0;  // bytes in the files
  std::string dtypes;  // "q4_1, f32"
};

struct ModelSizes {
  PartSize embedding, block, head;  // block: the first one; all have the same shapes
  bool fused = false;               // q, k and v are one tensor
  int64_t kv_bytes_per_token = 0;   // in 16 bits
};

// Of one block's KV cache, in 16 bits.
int64_t KvBytesPerToken(const ModelConfig& config);

absl::StatusOr<ModelSizes> MeasureModel(const Checkpoint& checkpoint);

}  // namespace catena::cli
