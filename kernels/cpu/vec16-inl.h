// Sixteen float lanes on every instruction set: one AVX-512 register, two AVX2 ones. What is
// written with it gives the same bits everywhere. Included once a target by files that use
// Highway's foreach_target.h; see https://google.github.io/highway/ for the pattern of the guards.
#if defined(CATENA_KERNELS_CPU_VEC16_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CATENA_KERNELS_CPU_VEC16_INL_H_
#undef CATENA_KERNELS_CPU_VEC16_INL_H_
#else
#define CATENA_KERNELS_CPU_VEC16_INL_H_
#endif

#include <cstddef>
#include <cstdint>

#include "hwy/highway.h"

#include "kernels/kernels.h"

HWY_BEFORE_NAMESPACE();
namespace catena {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::CappedTag<float, 16>;
using IntTag = hn::RebindToSigned<FloatTag>;
using HalfTag = hn::Rebind<hwy::float16_t, FloatTag>;
using Bf16Tag = hn::Rebind<uint16_t, FloatTag>;
using BitsTag = hn::RebindToUnsigned<FloatTag>;
using FloatPart = hn::Vec<FloatTag>;

// Registers that make up sixteen lanes, and lanes of one.
inline constexpr int kPartLanes = HWY_MAX_BYTES >= 64 ? 16 : HWY_MAX_BYTES / 4;
inline constexpr int kParts = 16 / kPartLanes;

struct Vec16 {
  FloatPart part[kParts];
};

// Applies an op of Highway to the parts of its arguments.
#define CATENA_EACH_PART(expr)                           \
  Vec16 out;                                             \
  for (int i = 0; i < kParts; ++i) out.part[i] = (expr); \
  return out

HWY_INLINE Vec16 Set(float x) { CATENA_EACH_PART(hn::Set(FloatTag(), x)); }
HWY_INLINE Vec16 Load(const float* p) {
  CATENA_EACH_PART(hn::LoadU(FloatTag(), p + i * kPartLanes));
}
HWY_INLINE Vec16 LoadHalf(const uint16_t* p) {
  CATENA_EACH_PART(hn::PromoteTo(
      FloatTag(),
      hn::LoadU(HalfTag(), reinterpret_cast<const hwy::float16_t*>(p) + i * kPartLanes)));
}
HWY_INLINE Vec16 Add(Vec16 a, Vec16 b) { CATENA_EACH_PART(hn::Add(a.part[i], b.part[i])); }
HWY_INLINE Vec16 Sub(Vec16 a, Vec16 b) { CATENA_EACH_PART(hn::Sub(a.part[i], b.part[i])); }
HWY_INLINE Vec16 Mul(Vec16 a, Vec16 b) { CATENA_EACH_PART(hn::Mul(a.part[i], b.part[i])); }
HWY_INLINE Vec16 Div(Vec16 a, Vec16 b) { CATENA_EACH_PART(hn::Div(a.part[i], b.part[i])); }
HWY_INLINE Vec16 Max(Vec16 a, Vec16 b) { CATENA_EACH_PART(hn::Max(a.part[i], b.part[i])); }
// a * b + c, rounded once.
HWY_INLINE Vec16 Fma(Vec16 a, Vec16 b, Vec16 c) {
  CATENA_EACH_PART(hn::MulAdd(a.part[i], b.part[i], c.part[i]));
}
// c - a * b, rounded once.
HWY_INLINE Vec16 NegFma(Vec16 a, Vec16 b, Vec16 c) {
  CATENA_EACH_PART(hn::NegMulAdd(a.part[i], b.part[i], c.part[i]));
}
HWY_INLINE void Store(Vec16 v, float* p) {
  for (int i = 0; i < kParts; ++i) hn::StoreU(v.part[i], FloatTag(), p + i * kPartLanes);
}

// Saturating, to nearest even; NaN stays NaN (the clamp compares, so that NaN fails both).
HWY_INLINE void StoreHalf(Vec16 v, uint16_t* p) {
  const FloatTag d;
  const auto high = hn::Set(d, 65504.0f), low = hn::Set(d, -65504.0f);
  for (int i = 0; i < kParts; ++i) {
    auto x = v.part[i];
    x = hn::IfThenElse(hn::Gt(x, high), high, x);
    x = hn::IfThenElse(hn::Lt(x, low), low, x);
    hn::StoreU(hn::DemoteTo(HalfTag(), x), HalfTag(),
               reinterpret_cast<hwy::float16_t*>(p) + i * kPartLanes);
  }
}

// The first n values of p, zero in the other lanes, and back. REQUIRES: 0 < n <= 16.
HWY_INLINE Vec16 LoadPartial(const float* p, int n) {
  float lanes[16] = {};
  for (int i = 0; i < n; ++i) lanes[i] = p[i];
  return Load(lanes);
}
HWY_INLINE void StorePartial(Vec16 v, float* p, int n) {
  float lanes[16];
  Store(v, lanes);
  for (int i = 0; i < n; ++i) p[i] = lanes[i];
}
HWY_INLINE Vec16 LoadUpTo16(const float* p, int64_t n) {
  return HWY_LIKELY(n >= 16) ? Load(p) : LoadPartial(p, static_cast<int>(n));
}
HWY_INLINE void StoreUpTo16(Vec16 v, float* p, int64_t n) {
  if (HWY_LIKELY(n >= 16)) {
    Store(v, p);
  } else {
    StorePartial(v, p, static_cast<int>(n));
  }
}

// Lane i += lane i+8, then i+4, i+2, i+1: the tree of lanes16 in kernels.h.
HWY_INLINE float SumTree(Vec16 v) {
  const hn::CappedTag<float, 4> d4;
#if HWY_MAX_BYTES >= 64
  const hn::CappedTag<float, 8> d8;
  const auto eight = hn::Add(hn::LowerHalf(d8, v.part[0]), hn::UpperHalf(d8, v.part[0]));
#else
  const auto eight = hn::Add(v.part[0], v.part[1]);
#endif
  auto four = hn::Add(hn::LowerHalf(d4, eight), hn::UpperHalf(d4, eight));
  four = hn::Add(four, hn::Shuffle1032(four));
  four = hn::Add(four, hn::Shuffle2301(four));
  return hn::GetLane(four);
}

HWY_INLINE float MaxLane(Vec16 v) {
  const FloatTag d;
  auto m = v.part[0];
  for (int i = 1; i < kParts; ++i) m = hn::Max(m, v.part[i]);
  return hn::GetLane(hn::MaxOfLanes(d, m));
}

// exp of kernels.h.
HWY_INLINE Vec16 Exp(Vec16 x) {
  const FloatTag d;
  const IntTag di;
  Vec16 out;
  for (int i = 0; i < kParts; ++i) {
    auto v = x.part[i];
    v = hn::IfThenElse(hn::Lt(v, hn::Set(d, kExpLow)), hn::Set(d, kExpLow), v);
    v = hn::IfThenElse(hn::Gt(v, hn::Set(d, kExpHigh)), hn::Set(d, kExpHigh), v);
    const auto n = hn::Round(hn::Mul(v, hn::Set(d, kExpLog2e)));
    auto r = hn::NegMulAdd(n, hn::Set(d, kExpLn2High), v);
    r = hn::NegMulAdd(n, hn::Set(d, kExpLn2Low), r);
    auto p = hn::Set(d, kExpPolynomial[0]);
    for (int c = 1; c < 6; ++c) p = hn::MulAdd(p, r, hn::Set(d, kExpPolynomial[c]));
    const auto e = hn::Add(hn::MulAdd(p, hn::Mul(r, r), r), hn::Set(d, 1.0f));
    const auto power = hn::ShiftLeft<23>(hn::Add(hn::ConvertTo(di, n), hn::Set(di, 127)));
    out.part[i] = hn::Mul(e, hn::BitCast(d, power));
  }
  return out;
}

// SoftCap of kernels.h.
HWY_INLINE Vec16 SoftCap(Vec16 x, float cap) {
  const Vec16 denominator = Add(Exp(Mul(x, Set(2.0f / cap))), Set(1.0f));
  return Add(Sub(Set(cap), Div(Set(2.0f * cap), denominator)), Sub(x, x));
}

// E of kernels.h.
HWY_INLINE Vec16 SoftmaxExp(Vec16 x) {
  const Vec16 e = Exp(x);
  const FloatTag d;
  CATENA_EACH_PART(hn::IfThenZeroElse(hn::Lt(x.part[i], hn::Set(d, kSoftmaxFloor)), e.part[i]));
}
HWY_INLINE float SoftmaxExp(float x) {
  float lanes[16];
  Store(SoftmaxExp(Set(x)), lanes);
  return lanes[0];
}

#undef CATENA_EACH_PART

}  // namespace HWY_NAMESPACE
}  // namespace catena
HWY_AFTER_NAMESPACE();

#endif  // include guard per target
