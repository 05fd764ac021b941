#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/rotary_factors.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/vec16-inl.h"

HWY_BEFORE_NAMESPACE();
namespace catena {
namespace HWY_NAMESPACE {

using HalfPartTag = hn::Half<FloatTag>;
using DoubleTag = hn::Rebind<double, HalfPartTag>;
using Doubles = hn::Vec<DoubleTag>;

struct SineCosine {
  Doubles sine, cosine;
};

HWY_INLINE Doubles Horner(const double (&coefficients)[6], Doubles z) {
  const DoubleTag d;
  Doubles p = hn::Set(d, coefficients[0]);
  for (int i = 1; i < 6; ++i) p = hn::MulAdd(p, z, hn::Set(d, coefficients[i]));
  return p;
}

// Sin and Cos of kernels.h, before they are rounded to float32.
HWY_INLINE SineCosine SinCos(Doubles x) {
  const DoubleTag d;
  const hn::RebindToUnsigned<DoubleTag> bits;
  const Doubles round = hn::Set(d, kRoundToInteger);
  const Doubles t = hn::MulAdd(x, hn::Set(d, kTwoOverPi), round);
  const Doubles n = hn::Sub(t, round);
  Doubles r = hn::NegMulAdd(n, hn::Set(d, kPiOver2High), x);
  r = hn::NegMulAdd(n, hn::Set(d, kPiOver2Low), r);
  const Doubles z = hn::Mul(r, r);
  const Doubles s = hn::MulAdd(hn::Mul(r, z), Horner(kSinPolynomial, z), r);
  const Doubles c = hn::MulAdd(hn::Mul(z, z), Horner(kCosPolynomial, z),
                               hn::MulAdd(hn::Set(d, -0.5), z, hn::Set(d, 1.0)));
  // The quadrant's bits: 1 swaps sine and cosine; 2 is the sine's sign, and of quadrant + 1 the
  // cosine's.
  const auto quadrant = hn::BitCast(bits, t);
  const auto one = hn::Set(bits, 1), two = hn::Set(bits, 2);
  const auto odd = hn::RebindMask(d, hn::Eq(hn::And(quadrant, one), one));
  const auto sine_sign = hn::ShiftLeft<62>(hn::And(quadrant, two));
  const auto cosine_sign = hn::ShiftLeft<62>(hn::And(hn::Add(quadrant, one), two));
  return {.sine = hn::Xor(hn::IfThenElse(odd, c, s), hn::BitCast(d, sine_sign)),
          .cosine = hn::Xor(hn::IfThenElse(odd, s, c), hn::BitCast(d, cosine_sign))};
}

void FactorsRow(float position, const float* frequencies, int64_t half, float scale, float* out) {
  const FloatTag d;
  const HalfPartTag dh;
  const DoubleTag dd;
  for (int64_t i = 0; i < half; i += 16) {
    const Vec16 angle = Mul(Set(position), LoadUpTo16(frequencies + i, half - i));
    Vec16 sine, cosine;
    for (int part = 0; part < kParts; ++part) {
      const SineCosine low = SinCos(hn::PromoteTo(dd, hn::LowerHalf(dh, angle.part[part])));
      const SineCosine high = SinCos(hn::PromoteTo(dd, hn::UpperHalf(dh, angle.part[part])));
      sine.part[part] = hn::Combine(d, hn::DemoteTo(dh, high.sine), hn::DemoteTo(dh, low.sine));
      cosine.part[part] =
          hn::Combine(d, hn::DemoteTo(dh, high.cosine), hn::DemoteTo(dh, low.cosine));
    }
    StoreUpTo16(Mul(cosine, Set(scale)), out + i, half - i);
    StoreUpTo16(Mul(sine, Set(scale)), out + half + i, half - i);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace catena
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace catena {
HWY_EXPORT(FactorsRow);
namespace cpu {

void RotaryFactors(Workers& workers, const BatchView& batch, const float* frequencies, float scale,
                   const FloatRows& out) {
  const auto row_fn = HWY_DYNAMIC_DISPATCH(FactorsRow);
  const int64_t half = out.cols / 2;
  constexpr int kRunRows = 8;
  workers.pool.For((batch.rows() + kRunRows - 1) / kRunRows, [&](int64_t run, int) {
    const int begin = static_cast<int>(run) * kRunRows;
    for (int r = begin; r < begin + kRunRows && r < batch.rows(); ++r) {
      row_fn(static_cast<float>(batch.positions[r]), frequencies + batch.span_of(r).rotary * half,
             half, scale, out.row(r));
    }
  });
}

}  // namespace cpu
}  // namespace catena
#endif  // HWY_ONCE
