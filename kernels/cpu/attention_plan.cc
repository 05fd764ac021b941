// How a batch's attention is cut into units of work that threads take one by one.
#include <algorithm>

#include "kernels/cpu/cpu_ops.h"

namespace catena::cpu {
namespace {

constexpr int kSplitPairs = 12;  // fewer than this, and splits are units of their own
// Where there are more, threads have enough to do without them.
constexpr int64_t kSplitUnits = 1 << 14;
constexpr int64_t kPartialFloats = int64_t{1} << 22;

}  // namespace

absl::StatusOr<AttentionScratch> AttentionScratch::Make(int rows, int kv_heads) {
  AttentionScratch scratch;
  const auto most = static_cast<size_t>(rows) * kv_heads;
  scratch.units.reserve(most + kSplitUnits);
  scratch.merges.reserve(most);
  CATENA_ASSIGN_OR_RETURN(scratch.partials, HugeBuffer::Allocate(kPartialFloats, sizeof(float)));
  return scratch;
}

int64_t AttentionScratchBytes(const AttentionShape& shape) {
  if (shape.heads == 0) return 0;
  const KvLayout layout{
      .layers = 1, .kv_heads = shape.kv_heads, .head_dim = shape.head_dim, .half = true};
  const int64_t pairs = std::max(kUnitPairs, shape.heads / shape.kv_heads);
  const int64_t floats =
      2 * RunningFloats(pairs, layout.value_stride()) + layout.head_values() + 64;
  return floats * int64_t{sizeof(float)};
}

void PlanAttention(const AttentionJob& job, AttentionScratch* scratch) {
  scratch->units.clear();
  scratch->merges.clear();
  const int group = job.shape.heads / job.shape.kv_heads;
  const int unit_rows = std::max(1, kUnitPairs / group);
  int64_t partial = 0, split_units = 0;
  for (int s = 0; s < static_cast<int>(job.batch.all_spans().size()); ++s) {
    const BatchSpan& span = job.batch.spans[s];
    const int last = span.first_position + span.rows - 1;
    const int64_t window = job.shape.window;
    const int low = window == 0 ? 0 : std::max<int64_t>(0, span.first_position - window + 1);
    const int first_split = low / kSplitPositions;
    const int splits = last / kSplitPositions - first_split + 1;
    const int64_t more_units = int64_t{splits} * job.shape.kv_heads;
    const int64_t floats = RunningFloats(int64_t{span.rows} * group, job.layout.value_stride());
    const bool split = splits > 1 && span.rows * group < kSplitPairs &&
                       split_units + more_units <= kSplitUnits &&
                       partial + more_units * floats <= kPartialFloats;
    if (split) split_units += more_units;
    const int rows = split ? span.rows : unit_rows;
    for (int end = span.rows; end > 0; end = (end - 1) / rows * rows) {
      const int begin = (end - 1) / rows * rows;
      for (int h = 0; h < job.shape.kv_heads; ++h) {
        AttentionUnit unit{.span = s,
                           .head = h,
                           .row = span.first_row + begin,
                           .rows = end - begin,
                           .split = -1,
                           .partial = partial};
        if (!split) {
          scratch->units.push_back(unit);
          continue;
        }
        for (unit.split = first_split; unit.split < first_split + splits; ++unit.split) {
          unit.partial = partial;
          scratch->units.push_back(unit);
          partial += floats;
        }
        unit.partial = scratch->units[scratch->units.size() - splits].partial;
        unit.split = splits;
        scratch->merges.push_back(unit);
      }
    }
  }
}

}  // namespace catena::cpu
