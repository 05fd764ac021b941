#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/ref/ops.h"

namespace catena::ref {
namespace {

// The running softmax of one query over one run of positions, or over several, merged.
struct Running {
  explicit Running(int head_dim) : output(head_dim, 0.0f) {}
  float maximum = kSoftmaxStart;
  float sum = 0.0f;
  std::vector<float> output;
};

// Takes in one page, positions [first, first + 64), of which [low, high] are visible.
void TakePage(const AttentionShape& shape, const float* q, int first, int low, int high,
              const KeyValues& cache, Running* run) {
  const int head_dim = shape.head_dim;
  std::vector<float> key(head_dim), value(head_dim);
  float score[kPagePositions], p[kPagePositions];
  auto visible = [&](int i) { return first + i >= low && first + i <= high; };
  float maximum = run->maximum;
  for (int i = 0; i < kPagePositions; ++i) {
    if (!visible(i)) continue;
    cache.Key(first + i, key.data());
    score[i] = 0.0f;
    for (int d = 0; d < head_dim; ++d) score[i] = std::fma(q[d], key[d], score[i]);
    if (shape.softcap != 0.0f) score[i] = SoftCap(score[i], shape.softcap);
    maximum = std::max(maximum, score[i]);
  }
  const float factor = SoftmaxExp(run->maximum - maximum);
  for (int i = 0; i < kPagePositions; ++i) {
    p[i] = visible(i) ? SoftmaxExp(score[i] - maximum) : 0.0f;
  }
  const float sum = Lanes16(kPagePositions, [&](int64_t i, float lane) { return lane + p[i]; });
  run->sum = std::fma(run->sum, factor, sum);
  run->maximum = maximum;
  for (float& o : run->output) o *= factor;
  for (int i = 0; i < kPagePositions; ++i) {
    if (!visible(i)) continue;  // p is 0 there: neutral
    cache.Value(first + i, value.data());
    for (int d = 0; d < head_dim; ++d) run->output[d] = std::fma(p[i], value[d], run->output[d]);
  }
}

void Merge(const Running& next, Running* run) {
  const float maximum = std::max(run->maximum, next.maximum);
  const float a = SoftmaxExp(run->maximum - maximum), b = SoftmaxExp(next.maximum - maximum);
  run->maximum = maximum;
  run->sum = std::fma(run->sum, a, next.sum * b);
  for (size_t d = 0; d < run->output.size(); ++d) {
    run->output[d] = std::fma(run->output[d], a, next.output[d] * b);
  }
}

}  // namespace

void Attend(const AttentionShape& shape, const float* q, int position, const KeyValues& cache,
            float* out) {
  const int64_t window = shape.window;
  const int head_dim = shape.head_dim;
  const int low = window == 0 ? 0 : static_cast<int>(std::max<int64_t>(0, position - window + 1));
  Running merged(head_dim);
  for (int split = low / kSplitPositions; split <= position / kSplitPositions; ++split) {
    Running run(head_dim);
    const int end = std::min(position + 1, (split + 1) * kSplitPositions);
    const int begin = std::max(low / kPagePositions * kPagePositions, split * kSplitPositions);
    for (int first = begin; first < end; first += kPagePositions) {
      TakePage(shape, q, first, low, position, cache, &run);
    }
    Merge(run, &merged);
  }
  for (int d = 0; d < head_dim; ++d) out[d] = merged.output[d] / merged.sum + 0.0f;
}

}  // namespace catena::ref
