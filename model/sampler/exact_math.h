// exp and log in double from + - * / alone, so that every machine and compiler gives the same bits:
// a sampled token must not depend on whose libm is installed. No fused multiply-add either: it is a
// library call on the baseline instruction set, and one rounding less where it is not. Needs
// -ffp-contract=off and rounding to nearest. vocab_ops.cc has the same exp, lane by lane.
//
// Method: argument reduction by ln 2 in two parts (Cody & Waite, "Software Manual for the
// Elementary Functions", 1980), then Taylor series of exp and of atanh. Within 2 units in the last
// place.
//
// Thread rules: pure functions.
#pragma once

#include <bit>
#include <cstdint>

namespace catena::exact {

// ln 2 = kLn2Hi + kLn2Lo; kLn2Hi ends in 21 zero bits, so that n * kLn2Hi is exact for every
// exponent n. (The constants of fdlibm's e_exp.c.)
inline constexpr double kLn2Hi = 0x1.62e42feep-1;
inline constexpr double kLn2Lo = 0x1.a39ef35793c76p-33;
inline constexpr double kLog2E = 0x1.71547652b82fep+0;
// Adding it rounds a double below 2^51 to an integer, which is then in the low bits.
inline constexpr double kRoundToInt = 0x1.8p52;
// Below, the result would be subnormal: 0 instead.
inline constexpr double kExpLowest = -708.0;
// 1/k! from k = 13 down to 0.
inline constexpr int kExpTerms = 14;
inline constexpr double kExpTaylor[kExpTerms] = {1.0 / 6227020800,
                                                 1.0 / 479001600,
                                                 1.0 / 39916800,
                                                 1.0 / 3628800,
                                                 1.0 / 362880,
                                                 1.0 / 40320,
                                                 1.0 / 5040,
                                                 1.0 / 720,
                                                 1.0 / 120,
                                                 1.0 / 24,
                                                 1.0 / 6,
                                                 1.0 / 2,
                                                 1.0,
                                                 1.0};

// e^x. REQUIRES: x <= 709. 0 for x below -708, -infinity included.
inline double Exp(double x) {
  if (!(x >= kExpLowest)) return 0.0;
  const double shifted = x * kLog2E + kRoundToInt;
  const double n = shifted - kRoundToInt;
  const double r = (x - n * kLn2Hi) - n * kLn2Lo;
  double sum = kExpTaylor[0];
  for (int k = 1; k < kExpTerms; ++k) sum = sum * r + kExpTaylor[k];
  // 2^n: the exponent field from the low 12 bits of n + 1023.
  return sum * std::bit_cast<double>((std::bit_cast<uint64_t>(shifted) + 1023) << 52);
}

// The natural logarithm. REQUIRES: x is positive, finite and not subnormal.
inline double Log(double x) {
  constexpr double kSqrt2 = 0x1.6a09e667f3bcdp+0;
  const uint64_t bits = std::bit_cast<uint64_t>(x);
  int n = static_cast<int>(bits >> 52) - 1023;
  double m = std::bit_cast<double>((bits & 0xfffffffffffffULL) | 0x3ff0000000000000ULL);
  if (m > kSqrt2) {
    m *= 0.5;
    ++n;
  }
  // log m = 2 atanh(s) = 2s (1 + s^2/3 + s^4/5 + …) with s = (m - 1) / (m + 1), |s| < 0.1716.
  const double f = m - 1.0;
  const double s = f / (f + 2.0);
  const double s2 = s * s;
  double tail = 0.0;
  for (int k = 23; k >= 3; k -= 2) tail = (tail + 1.0 / k) * s2;
  const double log_m = 2.0 * s + 2.0 * s * tail;
  return n * kLn2Hi + (log_m + n * kLn2Lo);
}

}  // namespace catena::exact
