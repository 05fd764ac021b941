// Quantisers of the types of 256 values. Each first finds a scale (and a minimum) for each of its
// eight blocks or sixteen groups, then rounds those to whole multiples of the super-block's, then
// the values by what these have become.
#include "kernels/base/float16.h"
#include "kernels/base/quant_block.h"
#include "kernels/base/quantise_parts.h"
#include "kernels/base/status.h"

namespace catena::quantise {
namespace {

constexpr int kMaxGroups = 16;

// A super-block before it is packed. Group g is scale[g] * d, its minimum minimum[g] * m.
struct SuperBlock {
  uint16_t d = 0, m = 0;  // fp16
  int scale[kMaxGroups] = {};
  int minimum[kMaxGroups] = {};
  uint8_t code[kQuantSuperBlock] = {};
};

// --- one group's scale, without a minimum ---

struct ScaleFit {
  float scale = 0;
  float merit = 0;  // how much the weighted error is less than with scale 0
};

// The best scale of the codes that `inverse` gives, weighted by x^2: codes -half to half - 1.
ScaleFit TryScale(const float* x, int n, int half, float inverse) {
  float xq = 0, qq = 0;
  for (int i = 0; i < n; ++i) {
    const float q = static_cast<float>(std::clamp(Nearest(inverse * x[i]), -half, half - 1));
    const float weight = x[i] * x[i];
    xq += weight * x[i] * q;
    qq += weight * q * q;
  }
  if (!(qq > 0)) return {};
  return {xq / qq, xq / qq * xq};
}

// The value of the largest magnitude near the lowest code, which there is one more of.
float FitScale(const float* x, int n, int half) {
  constexpr int kTries = 9;
  const float largest = Largest(x, n);
  if (std::fabs(largest) < 1e-15f) return 0;
  ScaleFit best;
  for (int t = -kTries; t <= kTries; ++t) {
    const ScaleFit fit =
        TryScale(x, n, half, -(static_cast<float>(half) + 0.1f * static_cast<float>(t)) / largest);
    if (fit.merit > best.merit) best = fit;
  }
  return best.scale;
}

// --- with a minimum ---

// x ~ scale * code - minimum, where minimum >= 0.
struct AffineFit {
  float scale = 0, minimum = 0;
  float error = INFINITY;  // weighted
};

// How the scales of a type are looked for: steps of 0.1 codes from `first` on (ggml's choices).
struct AffineSearch {
  int most;  // the highest code
  float first;
  int steps;
  bool absolute;  // whether errors count by their magnitude, and weights are |x|
};

float ErrorOf(const float* x, const float* weight, int n, const AffineSearch& s, float inverse,
              float low, const AffineFit& fit) {
  float error = 0;
  for (int i = 0; i < n; ++i) {
    const int q = std::clamp(Nearest(inverse * (x[i] - low)), 0, s.most);
    const float off = fit.scale * static_cast<float>(q) - fit.minimum - x[i];
    error += weight[i] * (s.absolute ? std::fabs(off) : off * off);
  }
  return error;
}

// Least squares for the codes that `inverse` and `low` give.
AffineFit TryAffine(const float* x, const float* weight, int n, const AffineSearch& s,
                    float inverse, float low) {
  float sw = 0, sx = 0, sq = 0, sqq = 0, sxq = 0;
  for (int i = 0; i < n; ++i) {
    const float q = static_cast<float>(std::clamp(Nearest(inverse * (x[i] - low)), 0, s.most));
    sw += weight[i];
    sx += weight[i] * x[i];
    sq += weight[i] * q;
    sqq += weight[i] * q * q;
    sxq += weight[i] * x[i] * q;
  }
  AffineFit fit;
  const float determinant = sw * sqq - sq * sq;
  if (!(determinant > 0)) return fit;
  fit.scale = (sw * sxq - sx * sq) / determinant;
  fit.minimum = -(sqq * sx - sq * sxq) / determinant;
  if (fit.minimum < 0) {
    fit.minimum = 0;
    fit.scale = sxq / sqq;
  }
  fit.error = ErrorOf(x, weight, n, s, inverse, low, fit);
  return fit;
}

AffineFit FitAffine(const float* x, int n, const AffineSearch& s) {
  float weight[kQuantBlock], low = 0, high = x[0], squares = 0;
  for (int i = 0; i < n; ++i) {
    low = std::min(low, x[i]);
    high = std::max(high, x[i]);
    squares += x[i] * x[i];
  }
  const float mean = s.absolute ? 0 : std::sqrt(squares / static_cast<float>(n));
  for (int i = 0; i < n; ++i) weight[i] = mean + std::fabs(x[i]);
  if (!(high - low > 1e-15f)) return {0, -low, 0};
  const float most = static_cast<float>(s.most), inverse = most / (high - low);
  AffineFit best{1 / inverse, -low, 0};
  best.error = ErrorOf(x, weight, n, s, inverse, low, best);
  for (int t = 0; t <= s.steps; ++t) {
    const AffineFit fit = TryAffine(
        x, weight, n, s, (most + s.first + 0.1f * static_cast<float>(t)) / (high - low), low);
    if (fit.error < best.error) best = fit;
  }
  return best;
}

// --- super-blocks ---

// Scales and minima as whole numbers of at most `most`, then codes.
void FillAffine(const float* x, int groups, int most, const AffineSearch& search, SuperBlock* s) {
  const int n = kQuantSuperBlock / groups;
  AffineFit fit[kMaxGroups];
  float largest_scale = 0, largest_minimum = 0;
  for (int g = 0; g < groups; ++g) {
    fit[g] = FitAffine(x + g * n, n, search);
    largest_scale = std::max(largest_scale, fit[g].scale);
    largest_minimum = std::max(largest_minimum, fit[g].minimum);
  }
  const float to_scale = static_cast<float>(most) * Inverse(largest_scale);
  const float to_minimum = static_cast<float>(most) * Inverse(largest_minimum);
  s->d = F32ToF16Saturating(largest_scale / static_cast<float>(most));
  s->m = F32ToF16Saturating(largest_minimum / static_cast<float>(most));
  for (int g = 0; g < groups; ++g) {
    s->scale[g] = std::clamp(Nearest(to_scale * fit[g].scale), 0, most);
    s->minimum[g] = std::clamp(Nearest(to_minimum * fit[g].minimum), 0, most);
    const float inverse = Inverse(F16ToF32(s->d) * static_cast<float>(s->scale[g]));
    const float minimum = F16ToF32(s->m) * static_cast<float>(s->minimum[g]);
    for (int i = g * n; i < (g + 1) * n; ++i) {
      s->code[i] =
          static_cast<uint8_t>(std::clamp(Nearest((x[i] + minimum) * inverse), 0, search.most));
    }
  }
}

// `least`: the lowest of the whole scales, which go up to -least - 1; codes are half above their
// numbers.
void FillSymmetric(const float* x, int half, int least, SuperBlock* s) {
  constexpr int kGroup = kQuantSuperBlock / kMaxGroups;
  float scale[kMaxGroups];
  for (int g = 0; g < kMaxGroups; ++g) scale[g] = FitScale(x + g * kGroup, kGroup, half);
  const float d = Largest(scale, kMaxGroups) / static_cast<float>(least), to_scale = Inverse(d);
  s->d = F32ToF16Saturating(d);
  for (int g = 0; g < kMaxGroups; ++g) {
    s->scale[g] = std::clamp(Nearest(to_scale * scale[g]), least, -least - 1);
    const float inverse = Inverse(F16ToF32(s->d) * static_cast<float>(s->scale[g]));
    for (int i = g * kGroup; i < (g + 1) * kGroup; ++i) {
      s->code[i] =
          static_cast<uint8_t>(std::clamp(Nearest(x[i] * inverse), -half, half - 1) + half);
    }
  }
}

void FillIq4Xs(const float* x, SuperBlock* s) {
  constexpr int kBlocks = kQuantSuperBlock / kQuantBlock, kLeast = -32;
  float scale[kBlocks];
  for (int b = 0; b < kBlocks; ++b) scale[b] = FitIq4Scale(x + b * kQuantBlock);
  const float d = Largest(scale, kBlocks) / kLeast, to_scale = Inverse(d);
  s->d = F32ToF16Saturating(d);
  for (int b = 0; b < kBlocks; ++b) {
    s->scale[b] = std::clamp(Nearest(to_scale * scale[b]), kLeast, -kLeast - 1);
    EncodeIq4(x + b * kQuantBlock, F16ToF32(s->d) * static_cast<float>(s->scale[b]),
              s->code + b * kQuantBlock);
  }
}

// --- the layouts of quant_block.h ---

// Adds the `bits` lowest bits of n codes, from bit `from` on, at `shift` of each byte.
void Put(const uint8_t* code, int n, int from, int bits, int shift, uint8_t* q) {
  for (int i = 0; i < n; ++i) {
    q[i] = static_cast<uint8_t>(q[i] | (code[i] >> from & ((1 << bits) - 1)) << shift);
  }
}

// Two bits of each code, as q2_k and q3_k have them.
void PutPairs(const SuperBlock& s, uint8_t* q) {
  for (int b = 0; b < 8; ++b) Put(s.code + 32 * b, 32, 0, 2, 2 * (b % 4), q + 32 * (b / 4));
}
void PutNibbles(const SuperBlock& s, uint8_t* q) {
  for (int b = 0; b < 8; ++b) Put(s.code + 32 * b, 32, 0, 4, 4 * (b % 2), q + 32 * (b / 2));
}

void PackQ2K(const SuperBlock& s, uint8_t* p) {
  for (int g = 0; g < 16; ++g) p[g] = static_cast<uint8_t>(s.scale[g] | s.minimum[g] << 4);
  PutPairs(s, p + 16);
  Store16(s.d, p + 80);
  Store16(s.m, p + 82);
}

void PackQ3K(const SuperBlock& s, uint8_t* p) {
  for (int b = 0; b < 8; ++b) Put(s.code + 32 * b, 32, 2, 1, b, p);
  PutPairs(s, p + 32);
  for (int g = 0; g < 16; ++g) {
    const uint8_t scale = static_cast<uint8_t>(s.scale[g] + 32);
    Put(&scale, 1, 0, 4, 4 * (g / 8), p + 96 + g % 8);
    Put(&scale, 1, 4, 2, 2 * (g / 4), p + 104 + g % 4);
  }
  Store16(s.d, p + 108);
}

// Scales and minima of q4_k and q5_k, six bits each of twelve bytes.
void PackSixBits(const SuperBlock& s, uint8_t* p) {
  for (int b = 0; b < 8; ++b) {
    const uint8_t scale = static_cast<uint8_t>(s.scale[b]);
    const uint8_t minimum = static_cast<uint8_t>(s.minimum[b]);
    if (b < 4) {
      Put(&scale, 1, 0, 6, 0, p + b);
      Put(&minimum, 1, 0, 6, 0, p + b + 4);
    } else {
      Put(&scale, 1, 0, 4, 0, p + b + 4);
      Put(&minimum, 1, 0, 4, 4, p + b + 4);
      Put(&scale, 1, 4, 2, 6, p + b - 4);
      Put(&minimum, 1, 4, 2, 6, p + b);
    }
  }
}

void PackQ4K(const SuperBlock& s, uint8_t* p) {
  Store16(s.d, p);
  Store16(s.m, p + 2);
  PackSixBits(s, p + 4);
  PutNibbles(s, p + 16);
}

void PackQ5K(const SuperBlock& s, uint8_t* p) {
  Store16(s.d, p);
  Store16(s.m, p + 2);
  PackSixBits(s, p + 4);
  for (int b = 0; b < 8; ++b) Put(s.code + 32 * b, 32, 4, 1, b, p + 16);
  PutNibbles(s, p + 48);
}

void PackQ6K(const SuperBlock& s, uint8_t* p) {
  for (int b = 0; b < 8; ++b) {
    const int half = b / 4, j = b % 4;
    Put(s.code + 32 * b, 32, 0, 4, 4 * (j / 2), p + 64 * half + 32 * (j % 2));
    Put(s.code + 32 * b, 32, 4, 2, 2 * j, p + 128 + 32 * half);
  }
  for (int g = 0; g < 16; ++g) p[192 + g] = static_cast<uint8_t>(s.scale[g]);
  Store16(s.d, p + 208);
}

void PackIq4Xs(const SuperBlock& s, uint8_t* p) {
  uint16_t high = 0;
  for (int b = 0; b < 8; ++b) {
    const uint8_t scale = static_cast<uint8_t>(s.scale[b] + 32);
    Put(&scale, 1, 0, 4, 4 * (b % 2), p + 4 + b / 2);
    high = static_cast<uint16_t>(high | (scale >> 4) << 2 * b);
    PackHalves(s.code + 32 * b, p + 8 + 16 * b);
  }
  Store16(s.d, p);
  Store16(high, p + 2);
}

}  // namespace

void QuantiseSuperBlock(DType dtype, const float* x, uint8_t* out) {
  SuperBlock s;
  std::memset(out, 0, static_cast<size_t>(Info(dtype).block_bytes));
  switch (dtype) {
    case DType::kQ2_K:
      FillAffine(x, 16, 15, {.most = 3, .first = -0.5f, .steps = 15, .absolute = true}, &s);
      return PackQ2K(s, out);
    case DType::kQ3_K:
      FillSymmetric(x, 4, -32, &s);
      return PackQ3K(s, out);
    case DType::kQ4_K:
      FillAffine(x, 8, 63, {.most = 15, .first = -1.0f, .steps = 20, .absolute = false}, &s);
      return PackQ4K(s, out);
    case DType::kQ5_K:
      FillAffine(x, 8, 63, {.most = 31, .first = -0.5f, .steps = 15, .absolute = false}, &s);
      return PackQ5K(s, out);
    case DType::kQ6_K:
      FillSymmetric(x, 32, -128, &s);
      return PackQ6K(s, out);
    default:
      CATENA_CHECK(dtype == DType::kIQ4_XS);
      FillIq4Xs(x, &s);
      return PackIq4Xs(s, out);
  }
}

}  // namespace catena::quantise
