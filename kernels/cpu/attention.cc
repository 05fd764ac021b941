// Flash-style attention over the paged cache. A unit of work is one KV head of a run of rows: all
// query heads of the group share the page that was read. Prefill widens a page once for many rows;
// decode reads it as stored. Long contexts of few rows are cut into splits, merged afterwards; both
// ways do the same arithmetic (kernels.h), so they may be chosen by speed alone.
#include <algorithm>
#include <utility>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "kernels/cpu/attention-inl.h"
#include "kernels/cpu/cpu_ops.h"

HWY_BEFORE_NAMESPACE();
namespace catena {
namespace HWY_NAMESPACE {

// The running softmax of a unit's (row, head) pairs: output (pairs, stride), maximum, sum.
struct Running {
  float* output;
  float* maximum;
  float* sum;

  void Reset(int pairs, int stride) const {
    std::fill_n(output, int64_t{pairs} * stride, 0.0f);
    std::fill_n(maximum, pairs, kSoftmaxStart);
    std::fill_n(sum, pairs, 0.0f);
  }
};

// Everything about a unit that its pages share.
struct UnitView {
  const cpu::AttentionJob* job;
  const BatchSpan* span;
  int head, row, pairs, group, stride;
  Running run, merged;
  float* wide;  // a widened page: K [4][head_dim][16], V [64][stride]
  const cpu::AttentionUnit* after;

  int position(int pair) const {
    return span->first_position + (row - span->first_row) + pair / group;
  }
  int low(int pair) const {
    const int64_t window = job->shape.window;
    return window == 0 ? 0 : static_cast<int>(std::max<int64_t>(0, position(pair) - window + 1));
  }
  const float* query(int pair) const {
    return job->qkv.row(row + pair / group) + (head * group + pair % group) * job->shape.head_dim;
  }
  const uint8_t* block(int page) const {
    const int32_t id = job->batch->page(*span, page * kPagePositions);
    return job->cache + job->layout.Offset(id, job->layer, head);
  }
};

// The first page that a unit reads, and how many positions of it.
struct FirstPage {
  const uint8_t* block;
  int positions;
};
FirstPage FirstPageOf(const cpu::AttentionJob& job, const cpu::AttentionUnit& unit) {
  const BatchSpan& span = job.batch->spans()[unit.span];
  const int position = span.first_position + (unit.row - span.first_row);
  const int64_t window = job.shape.window;
  const int64_t low = window == 0 ? 0 : std::max<int64_t>(0, position - window + 1);
  const int64_t start = std::max(low, int64_t{unit.split} * kSplitPositions);
  const int first = static_cast<int>(start) / kPagePositions * kPagePositions;
  const int32_t id = job.batch->page(span, first);
  return {job.cache + job.layout.Offset(id, job.layer, unit.head),
          std::min(kPagePositions, position + unit.rows - first)};
}

// What is read after `page`, the last before `end` if it is end - 1: fetched while the page's first
// tile is computed.
NextPage NextOf(const UnitView& u, int page, int end) {
  const int last = u.position(u.pairs - 1), next = page + 1;
  const FirstPage first =
      next < end
          ? FirstPage{u.block(next), std::min(kPagePositions, last + 1 - next * kPagePositions)}
          : FirstPageOf(*u.job, *u.after);
  const int dim = u.job->shape.head_dim;
  const int seen = std::min(kPagePositions, last + 1 - page * kPagePositions);
  return NextPage(reinterpret_cast<const uint16_t*>(first.block), dim, u.stride, first.positions,
                  dim + seen);
}

template <class T>
void TakePage(const UnitView& u, const Running& run, int page, const T* block, NextPage next) {
  const int first = page * kPagePositions, last = first + kPagePositions - 1;
  for (int pair = 0; pair < u.pairs; pair += kMaxPairs) {
    PageTile<T> tile{.keys = block,
                     .head_dim = u.job->shape.head_dim,
                     .stride = u.stride,
                     .first = first,
                     .pairs = std::min(kMaxPairs, u.pairs - pair)};
    if (u.position(pair + tile.pairs - 1) < first || u.low(pair) > last) continue;
    for (int i = 0; i < tile.pairs; ++i) {
      tile.query[i] = u.query(pair + i);
      tile.low[i] = u.low(pair + i);
      tile.high[i] = u.position(pair + i);
    }
    tile.begin = std::max(0, tile.low[0] - first);
    tile.end = std::min(kPagePositions, tile.high[tile.pairs - 1] - first + 1);
    AttendPage(tile, std::exchange(next, NextPage()), run.output + int64_t{pair} * u.stride,
               run.maximum + pair, run.sum + pair);
  }
}

void Widen(const uint16_t* from, int64_t n, float* to) {
  for (int64_t i = 0; i < n; i += 16) Store(LoadHalf(from + i), to + i);
}

// Pages [begin, end) of one split into `run`.
void TakePages(const UnitView& u, const Running& run, int begin, int end) {
  const cpu::KvLayout& layout = u.job->layout;
  for (int page = begin; page < end; ++page) {
    const uint8_t* block = u.block(page);
    if (!layout.half) {
      TakePage(u, run, page, reinterpret_cast<const float*>(block), NextPage());
    } else if (u.pairs > 2 * kMaxPairs) {
      Widen(reinterpret_cast<const uint16_t*>(block), layout.head_values(), u.wide);
      TakePage(u, run, page, u.wide, NextPage());
    } else {
      TakePage(u, run, page, reinterpret_cast<const uint16_t*>(block), NextOf(u, page, end));
    }
  }
}

// output, maximum, sum of one more split merged into (o, m, l).
void MergePair(const float* output, float maximum, float sum, int stride, float* o, float* m,
               float* l) {
  const float largest = std::max(*m, maximum);
  const float a = SoftmaxExp(*m - largest), b = SoftmaxExp(maximum - largest);
  *m = largest;
  *l = __builtin_fmaf(*l, a, sum * b);
  for (int d = 0; d < stride; d += 16) {
    Store(Fma(Load(o + d), Set(a), Mul(Load(output + d), Set(b))), o + d);
  }
}

void StoreResult(const float* o, float sum, int head_dim, float* out) {
  for (int d = 0; d < head_dim; d += 16) {
    StoreUpTo16(Add(Div(Load(o + d), Set(sum)), Set(0.0f)), out + d, head_dim - d);
  }
}

void RunUnit(const cpu::AttentionJob& job, const cpu::AttentionUnit& unit,
             const cpu::AttentionUnit& next, float* scratch, float* partials) {
  UnitView u{.job = &job,
             .span = &job.batch->spans()[unit.span],
             .head = unit.head,
             .row = unit.row,
             .pairs = unit.rows * (job.shape.heads / job.shape.kv_heads),
             .group = job.shape.heads / job.shape.kv_heads,
             .stride = job.layout.value_stride(),
             .run = {},
             .merged = {},
             .wide = nullptr,
             .after = &next};
  const int64_t outputs = int64_t{u.pairs} * u.stride;
  float* at = scratch;
  for (Running* r : {&u.run, &u.merged}) {
    *r = {.output = at, .maximum = at + outputs, .sum = at + outputs + u.pairs};
    at += outputs + 2 * u.pairs;
  }
  u.wide = at;
  const int last_page = u.position(u.pairs - 1) / kPagePositions;
  const int first_page = u.low(0) / kPagePositions;
  constexpr int kSplitPages = kSplitPositions / kPagePositions;
  auto take_split = [&](int split, const Running& into) {
    into.Reset(u.pairs, u.stride);
    TakePages(u, into, std::max(first_page, split * kSplitPages),
              std::min(last_page + 1, (split + 1) * kSplitPages));
  };
  if (unit.split >= 0) {
    float* p = partials + unit.partial;
    take_split(unit.split, {.output = p + 2 * u.pairs, .maximum = p, .sum = p + u.pairs});
    return;
  }
  const int first_split = first_page / kSplitPages;
  take_split(first_split, u.merged);
  for (int split = first_split + 1; split <= last_page / kSplitPages; ++split) {
    take_split(split, u.run);
    for (int i = 0; i < u.pairs; ++i) {
      MergePair(u.run.output + int64_t{i} * u.stride, u.run.maximum[i], u.run.sum[i], u.stride,
                u.merged.output + int64_t{i} * u.stride, u.merged.maximum + i, u.merged.sum + i);
    }
  }
  for (int i = 0; i < u.pairs; ++i) {
    float* out = job.out.row(u.row + i / u.group);
    StoreResult(u.merged.output + int64_t{i} * u.stride, u.merged.sum[i], job.shape.head_dim,
                out + (u.head * u.group + i % u.group) * job.shape.head_dim);
  }
}

// The splits of one unit, left by RunUnit in `partials` one after the other, merged ascending.
void MergeUnit(const cpu::AttentionJob& job, const cpu::AttentionUnit& unit, float* partials) {
  const int group = job.shape.heads / job.shape.kv_heads, pairs = unit.rows * group;
  const int stride = job.layout.value_stride();
  const int64_t split_floats = int64_t{pairs} * (stride + 2);
  float* first = partials + unit.partial;
  for (int i = 0; i < pairs; ++i) {
    float* o = first + 2 * pairs + int64_t{i} * stride;
    for (int s = 1; s < unit.split; ++s) {
      const float* next = first + s * split_floats;
      MergePair(next + 2 * pairs + int64_t{i} * stride, next[i], next[pairs + i], stride, o,
                first + i, first + pairs + i);
    }
    float* out = job.out.row(unit.row + i / group);
    StoreResult(o, first[pairs + i], job.shape.head_dim,
                out + (unit.head * group + i % group) * job.shape.head_dim);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace catena
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace catena {
HWY_EXPORT(RunUnit);
HWY_EXPORT(MergeUnit);
namespace cpu {
namespace {

constexpr int kUnitPairs = 96;   // (row, head) pairs that share a widened page
constexpr int kSplitPairs = 12;  // fewer than this, and splits are units of their own

// Cuts the batch into units, longest first within a span.
void Plan(const AttentionJob& job, AttentionScratch* scratch) {
  scratch->units.clear();
  scratch->merges.clear();
  const int group = job.shape.heads / job.shape.kv_heads;
  const int unit_rows = std::max(1, kUnitPairs / group);
  int64_t partial = 0;
  for (int s = 0; s < static_cast<int>(job.batch->spans().size()); ++s) {
    const BatchSpan& span = job.batch->spans()[s];
    const int last = span.first_position + span.rows - 1;
    const int64_t window = job.shape.window;
    const int low = window == 0 ? 0 : std::max<int64_t>(0, span.first_position - window + 1);
    const int first_split = low / kSplitPositions;
    const int splits = last / kSplitPositions - first_split + 1;
    const bool split = splits > 1 && span.rows * group < kSplitPairs;
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
          partial += int64_t{unit.rows} * group * (job.layout.value_stride() + 2);
        }
        unit.partial = scratch->units[scratch->units.size() - splits].partial;
        unit.split = splits;
        scratch->merges.push_back(unit);
      }
    }
  }
  if (static_cast<int64_t>(scratch->partials.size()) < partial) scratch->partials.resize(partial);
}

}  // namespace

void Attention(Workers& workers, const AttentionJob& job, AttentionScratch* scratch) {
  Plan(job, scratch);
  const int group = job.shape.heads / job.shape.kv_heads;
  const int64_t pairs = std::max(kUnitPairs, group);
  const int64_t floats =
      2 * pairs * (job.layout.value_stride() + 2) + job.layout.head_values() + 64;
  const auto run_unit = HWY_DYNAMIC_DISPATCH(RunUnit);
  const auto n_units = static_cast<int64_t>(scratch->units.size());
  workers.pool.For(n_units, [&](int64_t i, int worker) {
    auto* memory = reinterpret_cast<float*>(workers.Scratch(worker, floats * 4));
    // What this thread is likely to take next.
    const int64_t next = std::min(i + workers.pool.threads(), n_units - 1);
    run_unit(job, scratch->units[i], scratch->units[next], memory, scratch->partials.data());
  });
  if (scratch->merges.empty()) return;
  const auto merge_unit = HWY_DYNAMIC_DISPATCH(MergeUnit);
  workers.pool.For(static_cast<int64_t>(scratch->merges.size()), [&](int64_t i, int) {
    merge_unit(job, scratch->merges[i], scratch->partials.data());
  });
}

}  // namespace cpu
}  // namespace catena
#endif  // HWY_ONCE
