// The arithmetic that kernels.h prescribes to its ops, in numbers: for host and device code, so
// that nothing is included but what both know.
#pragma once

#include "kernels/base/batch_view.h"

namespace catena {

// exp(x) of the ops, on every backend: x is clamped to [-87, 88]; n = rint(x * 1.44269504f);
// r = fma(n, 2.12194440e-4f, fma(n, -0.693359375f, x)); p is the polynomial of Cephes' expf by
// Horner's rule with fma; the result is fma(p, r*r, r) + 1, times 2^n. NaN stays NaN.
inline constexpr float kExpLow = -87.0f, kExpHigh = 88.0f;
inline constexpr float kExpLog2e = 1.44269504f;
inline constexpr float kExpLn2High = 0.693359375f, kExpLn2Low = -2.12194440e-4f;
inline constexpr float kExpPolynomial[6] = {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                                            4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};

// Sin(x) and Cos(x) of the ops, on every backend: in binary64, rounded to binary32 at the end.
//   t = fma(x, kTwoOverPi, kRoundToInteger); n = t - kRoundToInteger; q = the low 2 bits of t
//   r = fma(-n, kPiOver2Low, fma(-n, kPiOver2High, x)); z = r * r
//   s = fma(r * z, S(z), r); c = fma(z * z, C(z), fma(-0.5, z, 1)), S and C by Horner's rule
//   Sin = q is odd ? c : s, negated where q >= 2
//   Cos = q is odd ? s : c, negated where q is 1 or 2
// Reduction after Cody and Waite (1980): the inner fma of r is exact, since x and n * kPiOver2High
// are multiples of 2^-52 and their difference is below 1; the outer one is within 2^-73 of x - n *
// pi/2, which for a float32 x below 2^36 is 2^-29 at the least. So 44 bits are right, and nearly
// every result is the correctly rounded one. The polynomials, with fma, are those of fdlibm's
// k_sin.c and k_cos.c, for |r| up to pi/4.
inline constexpr double kTwoOverPi = 0x1.45f306dc9c883p-1;
inline constexpr double kPiOver2High = 0x1.921fb54442d18p0, kPiOver2Low = 0x1.1a62633145c07p-54;
inline constexpr double kRoundToInteger = 0x1.8p52;  // makes n an integer, in t's low bits
inline constexpr double kSinPolynomial[6] = {
    1.58969099521155010221e-10,  -2.50507602534068634195e-08, 2.75573137070700676789e-06,
    -1.98412698298579493134e-04, 8.33333333332248946124e-03,  -1.66666666666666324348e-01};
inline constexpr double kCosPolynomial[6] = {
    -1.13596475577881948265e-11, 2.08757232129817482790e-09,  -2.75573143513906633035e-07,
    2.48015872894767294178e-05,  -1.38888888888741095749e-03, 4.16666666666666019037e-02};

// -2u of GELU's tanh approximation, g * (1 + tanh(u)) / 2 = g / (1 + exp(-2u)), where
// u = sqrt(2 / pi) * (g + 0.044715 g^3).
inline constexpr float kGeluLinear = -1.5957691216f, kGeluCubic = -0.0713548163f;

inline constexpr float kSoftmaxFloor = -64.0f;   // E(x) = 0 below
inline constexpr float kSoftmaxStart = -1e30f;   // the running maximum of nothing
inline constexpr float kQuantiseFloor = 1e-30f;  // a block of smaller values is zero
inline constexpr int kSplitPositions = 512;      // one softmax run
static_assert(kSplitPositions % kPagePositions == 0);

}  // namespace catena
