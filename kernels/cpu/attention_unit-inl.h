// What a unit of attention's work reads and writes: its (row, head) pairs, the pages they see, and
// their running softmax. Arithmetic: Attention of kernels.h; one page: attention-inl.h.
#if defined(CATENA_KERNELS_CPU_ATTENTION_UNIT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CATENA_KERNELS_CPU_ATTENTION_UNIT_INL_H_
#undef CATENA_KERNELS_CPU_ATTENTION_UNIT_INL_H_
#else
#define CATENA_KERNELS_CPU_ATTENTION_UNIT_INL_H_
#endif

#include <algorithm>
#include <utility>

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

HWY_INLINE Running RunningAt(float* p, int pairs, int stride) {
  float* maximum = p + int64_t{pairs} * stride;
  return {.output = p, .maximum = maximum, .sum = maximum + pairs};
}

inline constexpr int kSplitPages = kSplitPositions / kPagePositions;

HWY_INLINE int PairsOf(const cpu::AttentionJob& job, const cpu::AttentionUnit& unit) {
  return unit.rows * (job.shape.heads / job.shape.kv_heads);
}

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
  int first_page() const { return low(0) / kPagePositions; }
  int last_page() const { return position(pairs - 1) / kPagePositions; }
  int first_split() const { return first_page() / kSplitPages; }
  int last_split() const { return last_page() / kSplitPages; }
  const float* query(int pair) const {
    return job->qkv.row(row + pair / group) + (head * group + pair % group) * job->shape.head_dim;
  }
  const uint8_t* block(int page) const {
    const int32_t id = job->batch.page(*span, page * kPagePositions);
    return job->cache + job->layout.Offset(id, job->layer, head);
  }
};

// The first page that a unit reads, and how many positions of it.
struct FirstPage {
  const uint8_t* block;
  int positions;
};
FirstPage FirstPageOf(const cpu::AttentionJob& job, const cpu::AttentionUnit& unit) {
  const BatchSpan& span = job.batch.spans[unit.span];
  const int position = span.first_position + (unit.row - span.first_row);
  const int64_t window = job.shape.window;
  const int64_t low = window == 0 ? 0 : std::max<int64_t>(0, position - window + 1);
  const int64_t start = std::max(low, int64_t{unit.split} * kSplitPositions);
  const int first = static_cast<int>(start) / kPagePositions * kPagePositions;
  const int32_t id = job.batch.page(span, first);
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
                     .pairs = std::min(kMaxPairs, u.pairs - pair),
                     .softcap = u.job->shape.softcap};
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

void TakeSplit(const UnitView& u, int split, const Running& into) {
  into.Reset(u.pairs, u.stride);
  TakePages(u, into, std::max(u.first_page(), split * kSplitPages),
            std::min(u.last_page() + 1, (split + 1) * kSplitPages));
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

// One more split merged into those before it.
void Merge(const Running& next, int pairs, int stride, const Running& into) {
  for (int i = 0; i < pairs; ++i) {
    const int64_t at = int64_t{i} * stride;
    MergePair(next.output + at, next.maximum[i], next.sum[i], stride, into.output + at,
              into.maximum + i, into.sum + i);
  }
}

void StoreResults(const cpu::AttentionJob& job, const cpu::AttentionUnit& unit,
                  const Running& run) {
  const int group = job.shape.heads / job.shape.kv_heads, head_dim = job.shape.head_dim;
  for (int i = 0; i < unit.rows * group; ++i) {
    float* out = job.out.row(unit.row + i / group) + (unit.head * group + i % group) * head_dim;
    StoreResult(run.output + int64_t{i} * job.layout.value_stride(), run.sum[i], head_dim, out);
  }
}

// `scratch` holds two Running and a widened page.
UnitView ViewOf(const cpu::AttentionJob& job, const cpu::AttentionUnit& unit,
                const cpu::AttentionUnit& next, float* scratch) {
  const int pairs = PairsOf(job, unit), stride = job.layout.value_stride();
  const int64_t floats = cpu::RunningFloats(pairs, stride);
  return {.job = &job,
          .span = &job.batch.spans[unit.span],
          .head = unit.head,
          .row = unit.row,
          .pairs = pairs,
          .group = job.shape.heads / job.shape.kv_heads,
          .stride = stride,
          .run = RunningAt(scratch, pairs, stride),
          .merged = RunningAt(scratch + floats, pairs, stride),
          .wide = scratch + 2 * floats,
          .after = &next};
}

}  // namespace HWY_NAMESPACE
}  // namespace catena
HWY_AFTER_NAMESPACE();

#endif  // include guard per target
