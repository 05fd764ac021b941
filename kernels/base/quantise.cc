#include "kernels/base/quantise.h"

#include "kernels/base/float16.h"
#include "kernels/base/quant_block.h"
#include "kernels/base/quantise_parts.h"
#include "kernels/base/status.h"

namespace catena {
namespace {

using namespace quantise;

// Codes as gguf-py rounds them: x is 0 or more but for the last bits, or no number where a
// difference overflowed.
uint8_t Code(float x, int most) {
  return x > 0 ? static_cast<uint8_t>(std::min(x, static_cast<float>(most))) : 0;
}

void PackFifthBits(const uint8_t* code, uint8_t* high) {
  std::memset(high, 0, 4);
  for (int i = 0; i < kQuantBlock; ++i) {
    high[i / 8] = static_cast<uint8_t>(high[i / 8] | (code[i] >> 4 & 1) << i % 8);
  }
}

// Codes of four or five bits behind a block's scales.
void PackCodes(int bits, const uint8_t* code, uint8_t* p) {
  if (bits == 5) {
    PackFifthBits(code, p);
    p += 4;
  }
  PackHalves(code, p);
}

// q4_0, q5_0: the value of the largest magnitude is the lowest code exactly.
void QuantiseSymmetric(int bits, const float* x, uint8_t* out) {
  const int half = 1 << (bits - 1);
  const float d = Largest(x, kQuantBlock) / static_cast<float>(-half);
  const float inverse = Inverse(d);
  uint8_t code[kQuantBlock];
  for (int i = 0; i < kQuantBlock; ++i) {
    code[i] = Code(x[i] * inverse + (static_cast<float>(half) + 0.5f), 2 * half - 1);
  }
  Store16(F32ToF16Saturating(d), out);
  PackCodes(bits, code, out + 2);
}

// q4_1, q5_1: least and largest value are the lowest and the highest code.
void QuantiseAffine(int bits, const float* x, uint8_t* out) {
  const int most = (1 << bits) - 1;
  const float low = *std::min_element(x, x + kQuantBlock);
  const float d = (*std::max_element(x, x + kQuantBlock) - low) / static_cast<float>(most);
  const float inverse = Inverse(d);
  uint8_t code[kQuantBlock];
  for (int i = 0; i < kQuantBlock; ++i) code[i] = Code((x[i] - low) * inverse + 0.5f, most);
  Store16(F32ToF16Saturating(d), out);
  Store16(F32ToF16Saturating(low), out + 2);
  PackCodes(bits, code, out + 4);
}

void QuantiseQ8(const float* x, uint8_t* out) {
  const float d = std::fabs(Largest(x, kQuantBlock)) / 127.0f;
  const float inverse = Inverse(d);
  Store16(F32ToF16Saturating(d), out);
  for (int i = 0; i < kQuantBlock; ++i) {
    const float rounded = std::round(x[i] * inverse);  // half away from zero
    out[2 + i] = static_cast<uint8_t>(static_cast<int8_t>(std::clamp(rounded, -127.0f, 127.0f)));
  }
}

void QuantiseIq4Nl(const float* x, uint8_t* out) {
  uint8_t code[kQuantBlock];
  const float scale = FitIq4Scale(x);
  EncodeIq4(x, scale, code);
  Store16(F32ToF16Saturating(scale), out);
  PackHalves(code, out + 2);
}

void QuantiseMxfp4(const float* x, uint8_t* out) {
  const float largest = std::fabs(Largest(x, kQuantBlock));
  constexpr int kBias = 127, kLargestExponent = 2;  // of E2M1: 6 = 1.5 * 2^2
  const int e =
      largest > 0 ? std::clamp(std::ilogb(largest) - kLargestExponent + kBias, 0, 254) : 0;
  const float d = std::ldexp(1.0f, e - 128);  // of codes that are doubled
  uint8_t code[kQuantBlock];
  for (int i = 0; i < kQuantBlock; ++i) {
    int best = 0;
    for (int c = 1; c < 16; ++c) {
      const auto error = [&](int k) {
        return std::fabs(d * static_cast<float>(kFp4Codebook[k]) - x[i]);
      };
      if (error(c) < error(best)) best = c;
    }
    code[i] = static_cast<uint8_t>(best);
  }
  out[0] = static_cast<uint8_t>(e);
  PackHalves(code, out + 1);
}

// Types of 32 values.
void QuantiseBlock(DType dtype, const float* x, uint8_t* out) {
  switch (dtype) {
    case DType::kQ8_0:
      return QuantiseQ8(x, out);
    case DType::kQ4_0:
      return QuantiseSymmetric(4, x, out);
    case DType::kQ5_0:
      return QuantiseSymmetric(5, x, out);
    case DType::kQ4_1:
      return QuantiseAffine(4, x, out);
    case DType::kQ5_1:
      return QuantiseAffine(5, x, out);
    case DType::kIQ4_NL:
      return QuantiseIq4Nl(x, out);
    default:
      CATENA_CHECK(dtype == DType::kMXFP4);
      return QuantiseMxfp4(x, out);
  }
}

}  // namespace

float quantise::FitIq4Scale(const float* x) {
  const float largest = Largest(x, kQuantBlock);
  constexpr int kTries = 7;
  float scale = 0, best = 0;
  if (std::fabs(largest) < 1e-15f) return scale;
  for (int t = -kTries; t <= kTries; ++t) {
    const float candidate = largest / static_cast<float>(t + kIq4Codebook[0]);
    uint8_t code[kQuantBlock];
    EncodeIq4(x, candidate, code);
    float xq = 0, qq = 0;
    for (int i = 0; i < kQuantBlock; ++i) {
      const float q = kIq4Codebook[code[i]], weight = x[i] * x[i];
      xq += weight * q * x[i];
      qq += weight * q * q;
    }
    if (qq > 0 && xq * xq > best * qq) {
      scale = xq / qq;
      best = scale * xq;
    }
  }
  return scale;
}

void quantise::EncodeIq4(const float* x, float scale, uint8_t* code) {
  const float inverse = Inverse(scale);
  for (int i = 0; i < kQuantBlock; ++i) {
    const float q = x[i] * inverse;
    int place = 0;  // of the nearest: past each middle between two neighbours
    for (int c = 0; c + 1 < 16; ++c) {
      place += q > 0.5f * static_cast<float>(kIq4Codebook[c] + kIq4Codebook[c + 1]);
    }
    code[i] = static_cast<uint8_t>(place);
  }
}

void QuantiseRow(DType dtype, const float* row, int64_t cols, uint8_t* out) {
  const DTypeInfo info = Info(dtype);
  if (dtype == DType::kF32) {
    std::memcpy(out, row, static_cast<size_t>(cols) * 4);
  } else if (dtype == DType::kF16) {
    for (int64_t i = 0; i < cols; ++i) Store16(F32ToF16Saturating(row[i]), out + 2 * i);
  } else if (dtype == DType::kBF16) {
    for (int64_t i = 0; i < cols; ++i) Store16(F32ToBF16(row[i]), out + 2 * i);
  } else {
    CATENA_CHECK(cols % info.block_values == 0);
    for (int64_t b = 0; b < cols / info.block_values; ++b) {
      const float* x = row + b * info.block_values;
      uint8_t* to = out + b * info.block_bytes;
      info.block_values == kQuantBlock ? QuantiseBlock(dtype, x, to)
                                       : QuantiseSuperBlock(dtype, x, to);
    }
  }
}

}  // namespace catena
