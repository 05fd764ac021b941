#include "model/sampler/token_history.h"

#include "kernels/base/status.h"

namespace catena {

void TokenHistory::Append(int32_t id) {
  Counts& counts = counts_[id];
  ++(size() < prompt_length_ ? counts.prompt : counts.output);
  ids_.push_back(id);
}

void TokenHistory::Append(absl::Span<const int32_t> ids) {
  for (int32_t id : ids) Append(id);
}

void TokenHistory::Truncate(int64_t length) {
  CATENA_CHECK(length >= 0 && length <= size());
  while (size() > length) {
    auto it = counts_.find(ids_.back());
    ids_.pop_back();
    Counts& counts = it->second;
    --(size() < prompt_length_ ? counts.prompt : counts.output);
    if (counts.prompt + counts.output == 0) counts_.erase(it);
  }
}

}  // namespace catena
