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

template <class T>
struct PageTile {
  const T* keys;  // K [4][head_dim][16], then V [64][stride]
  const T* next;  // the page to prefetch
  int head_dim, stride;
  int first;  // position
  int pairs;
  const float* query[kMaxPairs] = {};
  int low[kMaxPairs] = {}, high[kMaxPairs] = {};  // visible positions [low, high]
  int begin = 0, end = 0;                         // of the page's, those that some pair sees
};

HWY_INLINE Vec16 LoadKv(const float* p) { return Load(p); }
HWY_INLINE Vec16 LoadKv(const uint16_t* p) { return LoadHalf(p); }

// score[r][16 * group ...] = q[r] . k for kGroups times 16 positions.
template <int kR, int kGroups, class T>
HWY_INLINE void ScoreGroups(const PageTile<T>& t, int group, float (*score)[kPagePositions]) {
  Vec16 acc[kR][kGroups];
  for (int r = 0; r < kR; ++r) {
    for (int g = 0; g < kGroups; ++g) acc[r][g] = Set(0.0f);
  }
  for (int d = 0; d < t.head_dim; ++d) {
    Vec16 k[kGroups];
    for (int g = 0; g < kGroups; ++g) {
      const int64_t at = (int64_t{group + g} * t.head_dim + d) * 16;
      k[g] = LoadKv(t.keys + at);
      if constexpr (sizeof(T) == 2) __builtin_prefetch(t.next + at, 0, 3);
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
HWY_INLINE void Scores(const PageTile<T>& t, float (*score)[kPagePositions]) {
  constexpr int kMost = LargestUpTo4(kAccumulators / kR);
  const int end = (t.end + 15) / 16;
  int group = t.begin / 16;
  for (; end - group >= kMost; group += kMost) ScoreGroups<kR, kMost>(t, group, score);
  if constexpr (kMost == 4) {
    for (; end - group >= 2; group += 2) ScoreGroups<kR, 2>(t, group, score);
  }
  for (; group < end; ++group) ScoreGroups<kR, 1>(t, group, score);
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
                        int column, float* o) {
  const int64_t start = int64_t{kPagePositions} * t.head_dim + int64_t{t.begin} * t.stride + column;
  const T* values = t.keys + start;
  const T* next = t.next + start;
  Vec16 acc[kR][kBlocks];
  for (int r = 0; r < kR; ++r) {
    for (int b = 0; b < kBlocks; ++b) {
      acc[r][b] = Mul(Load(o + r * t.stride + column + b * 16), Set(factor[r]));
    }
  }
  for (int j = t.begin; j < t.end; ++j, values += t.stride, next += t.stride) {
    Vec16 v[kBlocks];
    for (int b = 0; b < kBlocks; ++b) {
      v[b] = LoadKv(values + b * 16);
      if constexpr (sizeof(T) == 2) __builtin_prefetch(next + b * 16, 0, 3);
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
void AttendPageOf(const PageTile<T>& t, float* o, float* m, float* l) {
  alignas(64) float p[kR][kPagePositions];
  Scores<kR>(t, p);
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
    Outputs<kR, kBlocks>(t, p, factor, column, o);
  }
  for (; column < t.stride; column += 16) Outputs<kR, 1>(t, p, factor, column, o);
}

// o: (pairs, stride), m and l: (pairs), the running softmax.
template <class T>
HWY_INLINE void AttendPage(const PageTile<T>& t, float* o, float* m, float* l) {
  switch (t.pairs) {
    case 1:
      return AttendPageOf<1>(t, o, m, l);
    case 2:
      return AttendPageOf<2>(t, o, m, l);
    case 3:
      return AttendPageOf<3>(t, o, m, l);
    case 4:
      return AttendPageOf<4>(t, o, m, l);
    case 5:
      return AttendPageOf<5>(t, o, m, l);
    case 6:
      return AttendPageOf<6>(t, o, m, l);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace catena
HWY_AFTER_NAMESPACE();

#endif  // include guard per target
