#include "kernels/base/top_logits.h"

#include <algorithm>
#include <numeric>
#include <vector>

namespace catena {

TopLogits TopLogitsOf(absl::Span<const float> logits) {
  TopLogits top;
  for (const float z : logits) {
    if (z - z != 0) return top;
  }
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  top.finite = 1;
  top.count = std::min<int32_t>(kTopLogits, static_cast<int32_t>(ids.size()));
  std::partial_sort(ids.begin(), ids.begin() + top.count, ids.end(), [&](int32_t a, int32_t b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  });
  for (int i = 0; i < top.count; ++i) {
    top.ids[i] = ids[i];
    top.logits[i] = logits[ids[i]];
  }
  return top;
}

}  // namespace catena
