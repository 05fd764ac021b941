// Flash-style attention over the paged cache. A unit of work is one KV head of a run of rows: all
// query heads of the group share the page that was read. Prefill widens a page once for many rows;
// decode reads it as stored. Long contexts of few rows are cut into splits, merged afterwards; both
// ways do the same arithmetic (kernels.h), so they may be chosen by speed alone.
#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "kernels/cpu/attention_unit-inl.h"
#include "kernels/cpu/cpu_ops.h"

HWY_BEFORE_NAMESPACE();
namespace catena {
namespace HWY_NAMESPACE {

// The splits that a unit sees, ascending, each one's softmax merged into that of those before it;
// or one split alone, left in `partials`.
void RunUnit(const cpu::AttentionJob& job, const cpu::AttentionUnit& unit,
             const cpu::AttentionUnit& next, float* scratch, float* partials) {
  const UnitView u = ViewOf(job, unit, next, scratch);
  if (unit.split >= 0) {
    return TakeSplit(u, unit.split, RunningAt(partials + unit.partial, u.pairs, u.stride));
  }
  TakeSplit(u, u.first_split(), u.merged);
  for (int split = u.first_split() + 1; split <= u.last_split(); ++split) {
    TakeSplit(u, split, u.run);
    Merge(u.run, u.pairs, u.stride, u.merged);
  }
  StoreResults(job, unit, u.merged);
}

// The splits of one unit that RunUnit left in `partials` one after the other, merged ascending.
void MergeUnit(const cpu::AttentionJob& job, const cpu::AttentionUnit& unit, float* partials) {
  const int pairs = PairsOf(job, unit), stride = job.layout.value_stride();
  const auto split = [&](int i) {
    return RunningAt(partials + unit.partial + i * cpu::RunningFloats(pairs, stride), pairs,
                     stride);
  };
  const Running merged = split(0);
  for (int i = 1; i < unit.split; ++i) Merge(split(i), pairs, stride, merged);
  StoreResults(job, unit, merged);
}

}  // namespace HWY_NAMESPACE
}  // namespace catena
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace catena {
HWY_EXPORT(RunUnit);
HWY_EXPORT(MergeUnit);
namespace cpu {

void Attention(Workers& workers, const AttentionJob& job, AttentionScratch* scratch) {
  PlanAttention(job, scratch);
  const int64_t bytes = AttentionScratchBytes(job.shape);
  const auto run_unit = HWY_DYNAMIC_DISPATCH(RunUnit);
  const auto n_units = static_cast<int64_t>(scratch->units.size());
  workers.pool.For(n_units, [&](int64_t i, int worker) {
    auto* memory = reinterpret_cast<float*>(workers.Scratch(worker, bytes));
    // What this thread is likely to take next.
    const int64_t next = std::min(i + workers.pool.threads(), n_units - 1);
    run_unit(job, scratch->units[i], scratch->units[next], memory, scratch->partial(0));
  });
  if (scratch->merges.empty()) return;
  const auto merge_unit = HWY_DYNAMIC_DISPATCH(MergeUnit);
  workers.pool.For(static_cast<int64_t>(scratch->merges.size()), [&](int64_t i, int) {
    merge_unit(job, scratch->merges[i], scratch->partial(0));
  });
}

}  // namespace cpu
}  // namespace catena
#endif  // HWY_ONCE
