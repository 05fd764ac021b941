// One page of keys and values for up to six (row, head) pairs: scores, running softmax, output.
// Arithmetic: Attention of kernels.h. Layout: KvLayout of cpu_ops.h.
#if defined(CATENA_KERNELS_CPU_ATTENTION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CATENA_KERNELS_CPU_ATTENTION_INL_H_
#undef CATENA_KERNELS_CPU_ATTENTION_INL_H_
#else
#define CATENA_KERNELS_CPU_ATTENTION_INL_H_
#endif

#include "kernels/cpu/vec16-inl.h"

HWY_BEFORE_NAMESPACE();
namespace catena {
namespace HWY_NAMESPACE {

inline constexpr int kMaxPairs = 6;
// Accumulators of sixteen lanes that stay in registers.
inline constexpr int kAccumulators = kParts == 1 ? 24 : 6;

constexpr int LargestUpTo4(int n) { return n >= 4 ? 4 : n >= 2 ? 2 : 1; }

// The page that comes next, fetched into L2 a few lines at a time while this one is computed: two
// pages do not fit L1, and the processor's own prefetchers start anew with each.
class NextPage {
 public:
  NextPage() = default;
  // The first `positions` positions of `block`, of which `steps` calls of Step take all.
  template <class T>
  NextPage(const T* block, int head_dim, int stride, int positions, int steps)
      : at_(reinterpret_cast<const char*>(block)),
        end_(reinterpret_cast<const char*>(block + (positions + 15) / 16 * 16 * head_dim)),
        values_(reinterpret_cast<const char*>(block + kPagePositions * head_dim)),
        values_end_(values_ + int64_t{positions} * stride * int64_t{sizeof(T)}),
        lines_(static_cast<int>((end_ - at_ + values_end_ - values_) / kLine + steps - 1) / steps) {
  }

  HWY_INLINE void Step() {
    for (int i = 0; i < lines_; ++i, at_ += kLine) {
      if (at_ >= end_) {  // the keys, then the values
        if (values_ == nullptr) return;
        at_ = values_;
        end_ = values_end_;
        values_ = nullptr;
      }
      __builtin_prefetch(at_, 0, 2);
    }
  }

 private:
  static constexpr int64_t kLine = 64;
  const char* at_ = nullptr;
  const char* end_ = nullptr;
  const char* values_ = nullptr;
  const char* values_end_ = nullptr;
  int lines_ = 0;
};

template <class T>
struct PageTile {
  const T* keys;  // K [4][head_dim][16], then V [64][stride]
  int head_dim, stride;
  int first;  // position
  int pairs;
  float softcap = 0.0f;
  const float* query[kMaxPairs] = {};
  int low[kMaxPairs] = {}, high[kMaxPairs] = {};  // visible positions [low, high]
  int begin = 0, end = 0;                         // of the page's, those that some pair sees
};

HWY_INLINE Vec16 LoadKv(const float* p) { return Load(p); }
HWY_INLINE Vec16 LoadKv(const uint16_t* p) { return LoadHalf(p); }

// score[r][16 * group ...] = q[r] . k for kGroups times 16 positions.
template <int kR, int kGroups, class T>
HWY_INLINE void ScoreGroups(const PageTile<T>& t, int group, NextPage* next,
                            float (*score)[kPagePositions]) {
  Vec16 acc[kR][kGroups];
  for (int r = 0; r < kR; ++r) {
    for (int g = 0; g < kGroups; ++g) acc[r][g] = Set(0.0f);
  }
  for (int d = 0; d < t.head_dim; ++d) {
    if constexpr (sizeof(T) == 2) next->Step();
    Vec16 k[kGroups];
    for (int g = 0; g < kGroups; ++g) {
      const int64_t at = (int64_t{group + g} * t.head_dim + d) * 16;
      k[g] = LoadKv(t.keys + at);
    }
    for (int r = 0; r < kR; ++r) {
      const Vec16 q = Set(t.query[r][d]);
      for (int g = 0; g < kGroups; ++g) acc[r][g] = Fma(q, k[g], acc[r][g]);
    }
  }
  for (int r = 0; r < kR; ++r) {
    for (int g = 0; g < kGroups; ++g) Store(acc[r][g], score[r] + (group + g) * 16);
  }
}

// Scores of the groups of 16 positions that some pair sees; others stay as they are.
template <int kR, class T>
HWY_INLINE void Scores(const PageTile<T>& t, NextPage* next, float (*score)[kPagePositions]) {
  constexpr int kMost = LargestUpTo4(kAccumulators / kR);
  const int end = (t.end + 15) / 16;
  int group = t.begin / 16;
  for (; end - group >= kMost; group += kMost) ScoreGroups<kR, kMost>(t, group, next, score);
  if constexpr (kMost == 4) {
    for (; end - group >= 2; group += 2) ScoreGroups<kR, 2>(t, group, next, score);
  }
  for (; group < end; ++group) ScoreGroups<kR, 1>(t, group, next, score);
}

// Caps what Scores has made.
template <class T>
HWY_INLINE void CapScores(const PageTile<T>& t, float* score) {
  for (int i = t.begin / 16 * 16; i < t.end; i += 16) {
    Store(SoftCap(Load(score + i), t.softcap), score + i);
  }
}

// Scores of invisible positions become kSoftmaxStart, so that they do not count in the maximum.
// Returns the largest.
HWY_INLINE float MaskedMaximum(int low, int high, bool all, float* score) {
  const FloatTag d;
  const IntTag di;
  if (!all) {
    for (int i = 0; i < kPagePositions; i += kPartLanes) {
      const auto at = hn::Iota(di, i);
      const auto seen =
          hn::And(hn::Gt(at, hn::Set(di, low - 1)), hn::Lt(at, hn::Set(di, high + 1)));
      const auto s = hn::IfThenElse(hn::RebindMask(d, seen), hn::LoadU(d, score + i),
                                    hn::Set(d, kSoftmaxStart));
      hn::StoreU(s, d, score + i);
    }
  }
  return MaxLane(Max(Max(Load(score), Load(score + 16)), Max(Load(score + 32), Load(score + 48))));
}

// Scores become probabilities under `maximum`; returns their sum.
HWY_INLINE float Probabilities(float maximum, int low, int high, bool all, float* score) {
  const FloatTag d;
  const IntTag di;
  Vec16 sum = Set(0.0f);
  for (int i = 0; i < kPagePositions; i += 16) {
    Vec16 p = SoftmaxExp(Sub(Load(score + i), Set(maximum)));
    if (!all) {
      for (int part = 0; part < kParts; ++part) {
        const auto at = hn::Iota(di, i + part * kPartLanes);
        const auto seen =
            hn::And(hn::Gt(at, hn::Set(di, low - 1)), hn::Lt(at, hn::Set(di, high + 1)));
        p.part[part] = hn::IfThenElseZero(hn::RebindMask(d, seen), p.part[part]);
      }
    }
    Store(p, score + i);
    sum = Add(sum, p);
  }
  return SumTree(sum);
}

// o[r] = o[r] * factor[r], then plus p[r][j] * v[j] for j ascending; `kBlocks` vectors at `column`.
// Positions that no pair sees have p = 0 and are left out: they could change the sign of a zero,
// which the end of Attention makes positive.
template <int kR, int kBlocks, class T>
HWY_INLINE void Outputs(const PageTile<T>& t, const float (*p)[kPagePositions], const float* factor,
                        int column, NextPage* next, float* o) {
  const T* values =
      t.keys + int64_t{kPagePositions} * t.head_dim + int64_t{t.begin} * t.stride + column;
  Vec16 acc[kR][kBlocks];
  for (int r = 0; r < kR; ++r) {
    for (int b = 0; b < kBlocks; ++b) {
      acc[r][b] = Mul(Load(o + r * t.stride + column + b * 16), Set(factor[r]));
    }
  }
  for (int j = t.begin; j < t.end; ++j, values += t.stride) {
    if constexpr (sizeof(T) == 2) next->Step();
    Vec16 v[kBlocks];
    for (int b = 0; b < kBlocks; ++b) {
      v[b] = LoadKv(values + b * 16);
    }
    for (int r = 0; r < kR; ++r) {
      const Vec16 weight = Set(p[r][j]);
      for (int b = 0; b < kBlocks; ++b) acc[r][b] = Fma(weight, v[b], acc[r][b]);
    }
  }
  for (int r = 0; r < kR; ++r) {
    for (int b = 0; b < kBlocks; ++b) Store(acc[r][b], o + r * t.stride + column + b * 16);
  }
}

template <int kR, class T>
void AttendPageOf(const PageTile<T>& t, NextPage next, float* o, float* m, float* l) {
  alignas(64) float p[kR][kPagePositions];
  Scores<kR>(t, &next, p);
  for (int r = 0; t.softcap != 0.0f && r < kR; ++r) CapScores(t, p[r]);
  float change[16] = {}, factor[16], maximum[kR];
  int low[kR], high[kR];
  bool all[kR];
  for (int r = 0; r < kR; ++r) {
    low[r] = t.low[r] - t.first;
    high[r] = t.high[r] - t.first;
    all[r] = low[r] <= 0 && high[r] >= kPagePositions - 1;
    const float largest = MaskedMaximum(low[r], high[r], all[r], p[r]);
    maximum[r] = largest > m[r] ? largest : m[r];
    change[r] = m[r] - maximum[r];
  }
  Store(SoftmaxExp(Load(change)), factor);
  for (int r = 0; r < kR; ++r) {
    const float sum = Probabilities(maximum[r], low[r], high[r], all[r], p[r]);
    l[r] = __builtin_fmaf(l[r], factor[r], sum);
    m[r] = maximum[r];
  }
  constexpr int kBlocks = LargestUpTo4(kAccumulators / kR);
  int column = 0;
  for (; column + kBlocks * 16 <= t.stride; column += kBlocks * 16) {
    Outputs<kR, kBlocks>(t, p, factor, column, &next, o);
  }
  for (; column < t.stride; column += 16) Outputs<kR, 1>(t, p, factor, column, &next, o);
}

// o: (pairs, stride), m and l: (pairs), the running softmax.
template <class T>
HWY_INLINE void AttendPage(const PageTile<T>& t, const NextPage& next, float* o, float* m,
                           float* l) {
  switch (t.pairs) {
    case 1:
      return AttendPageOf<1>(t, next, o, m, l);
    case 2:
      return AttendPageOf<2>(t, next, o, m, l);
    case 3:
      return AttendPageOf<3>(t, next, o, m, l);
    case 4:
      return AttendPageOf<4>(t, next, o, m, l);
    case 5:
      return AttendPageOf<5>(t, next, o, m, l);
    case 6:
      return AttendPageOf<6>(t, next, o, m, l);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace catena
HWY_AFTER_NAMESPACE();

#endif  // include guard per target
