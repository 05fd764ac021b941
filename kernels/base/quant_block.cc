#include "kernels/base/quant_block.h"

#include "kernels/base/status.h"

namespace catena {
namespace {

constexpr uint16_t kSign = 0x8000;  // of a 16-bit float

// `bits` bits at `shift` of each of n bytes.
void Take(const uint8_t* q, int n, int shift, int bits, uint8_t* code) {
  for (int i = 0; i < n; ++i) code[i] = static_cast<uint8_t>(q[i] >> shift & ((1 << bits) - 1));
}
// The same above the `at` bits that are there.
void TakeHigh(const uint8_t* q, int n, int shift, int bits, int at, uint8_t* code) {
  for (int i = 0; i < n; ++i) {
    code[i] = static_cast<uint8_t>(code[i] | (q[i] >> shift & ((1 << bits) - 1)) << at);
  }
}
void TakeHalves(const uint8_t* q, uint8_t* code) {
  Take(q, 16, 0, 4, code);
  Take(q, 16, 4, 4, code + 16);
}
void TakeFifthBits(const uint8_t* high, uint8_t* code) {
  for (int i = 0; i < kQuantBlock; ++i) {
    code[i] = static_cast<uint8_t>(code[i] | (high[i / 8] >> i % 8 & 1) << 4);
  }
}

// Scale and minimum of block b of q4_k and q5_k, six bits each of twelve bytes.
void SixBits(const uint8_t* s, int b, QuantBlock* out) {
  const int scale = b < 4 ? s[b] & 63 : (s[b + 4] & 15) | (s[b - 4] >> 6) << 4;
  const int minimum = b < 4 ? s[b + 4] & 63 : s[b + 4] >> 4 | (s[b] >> 6) << 4;
  out->scale[0] = out->scale[1] = static_cast<int8_t>(scale);
  out->minimum[0] = out->minimum[1] = static_cast<int8_t>(minimum);
}

void ReadQ2K(const uint8_t* p, int b, QuantBlock* out) {
  out->d = Load16(p + 80);
  out->m = Load16(p + 82) ^ kSign;
  for (int g = 0; g < 2; ++g) {
    out->scale[g] = static_cast<int8_t>(p[2 * b + g] & 15);
    out->minimum[g] = static_cast<int8_t>(p[2 * b + g] >> 4);
  }
  Take(p + 16 + 32 * (b / 4), 32, 2 * (b % 4), 2, out->code);
}

void ReadQ3K(const uint8_t* p, int b, QuantBlock* out) {
  const uint8_t* scales = p + 96;
  out->d = Load16(p + 108);
  for (int i = 0; i < 2; ++i) {
    const int g = 2 * b + i;
    const int low = scales[g % 8] >> (4 * (g / 8)) & 15;
    const int high = scales[8 + g % 4] >> (2 * (g / 4)) & 3;
    out->scale[i] = static_cast<int8_t>((low | high << 4) - 32);
  }
  Take(p + 32 + 32 * (b / 4), 32, 2 * (b % 4), 2, out->code);
  TakeHigh(p, 32, b, 1, 2, out->code);
}

void ReadQ4K(const uint8_t* p, int b, QuantBlock* out) {
  out->d = Load16(p);
  out->m = Load16(p + 2) ^ kSign;
  SixBits(p + 4, b, out);
  Take(p + 16 + 32 * (b / 2), 32, 4 * (b % 2), 4, out->code);
}

void ReadQ5K(const uint8_t* p, int b, QuantBlock* out) {
  out->d = Load16(p);
  out->m = Load16(p + 2) ^ kSign;
  SixBits(p + 4, b, out);
  Take(p + 48 + 32 * (b / 2), 32, 4 * (b % 2), 4, out->code);
  TakeHigh(p + 16, 32, b, 1, 4, out->code);
}

void ReadQ6K(const uint8_t* p, int b, QuantBlock* out) {
  const int half = b / 4, j = b % 4;
  out->d = Load16(p + 208);
  for (int g = 0; g < 2; ++g) out->scale[g] = static_cast<int8_t>(p[192 + 2 * b + g]);
  Take(p + 64 * half + 32 * (j % 2), 32, 4 * (j / 2), 4, out->code);
  TakeHigh(p + 128 + 32 * half, 32, 2 * j, 2, 4, out->code);
}

void ReadIq4Xs(const uint8_t* p, int b, QuantBlock* out) {
  out->d = Load16(p);
  const int low = p[4 + b / 2] >> (4 * (b % 2)) & 15, high = Load16(p + 2) >> (2 * b) & 3;
  out->scale[0] = out->scale[1] = static_cast<int8_t>((low | high << 4) - 32);
  TakeHalves(p + 8 + 16 * b, out->code);
}

// 2^(e - 128) as bfloat16, of which the first two are subnormal.
uint16_t PowerOfTwo(uint8_t e) { return static_cast<uint16_t>(e < 2 ? 0x20 << e : (e - 1) << 7); }

// Types of 32 values.
void ReadSmall(DType type, const uint8_t* p, QuantBlock* out) {
  out->d = type == DType::kMXFP4 ? PowerOfTwo(*p) : Load16(p);
  p += type == DType::kMXFP4 ? 1 : 2;
  if (Quantisation(type).minimum) {
    out->m = Load16(p);
    p += 2;
  }
  if (type == DType::kQ8_0) {
    for (int i = 0; i < kQuantBlock; ++i) out->code[i] = p[i] ^ 0x80;
  } else if (Quantisation(type).bits == 5) {
    TakeHalves(p + 4, out->code);
    TakeFifthBits(p, out->code);
  } else {
    TakeHalves(p, out->code);
  }
}

}  // namespace

QuantBlock ReadQuantBlock(DType type, const uint8_t* row, int64_t b) {
  constexpr int kBlocks = kQuantSuperBlock / kQuantBlock;
  QuantBlock out;
  const int64_t bytes = Info(type).block_bytes;
  const uint8_t* super = row + b / kBlocks * bytes;
  const int within = static_cast<int>(b % kBlocks);
  switch (type) {
    case DType::kQ2_K:
      ReadQ2K(super, within, &out);
      break;
    case DType::kQ3_K:
      ReadQ3K(super, within, &out);
      break;
    case DType::kQ4_K:
      ReadQ4K(super, within, &out);
      break;
    case DType::kQ5_K:
      ReadQ5K(super, within, &out);
      break;
    case DType::kQ6_K:
      ReadQ6K(super, within, &out);
      break;
    case DType::kIQ4_XS:
      ReadIq4Xs(super, within, &out);
      break;
    default:
      CATENA_CHECK(IsQuantised(type));
      ReadSmall(type, row + b * bytes, &out);
  }
  return out;
}

}  // namespace catena
