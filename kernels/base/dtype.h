// Element types of tensors as they lie in files: plain floats, and GGUF's blocks of 32 or 256
// values.
//
// Block layouts are GGUF's (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md and
// ggml-common.h), little-endian, along the row:
//   Q8_0: fp16 d, int8 q[32]                       value = d * q
//   Q4_0: fp16 d, uint8 q[16]                      value = d * (nibble - 8)
//   Q4_1: fp16 d, fp16 m, uint8 q[16]              value = d * nibble + m
// Nibbles: low nibbles are values 0-15 of the block, high nibbles values 16-31.
//   Q6_K: uint8 low[128], uint8 high[64], int8 scale[16], fp16 d   (256 values)
//                                                  value = d * scale[i / 16] * (q - 32)
// Of each half of a Q6_K block (128 values, 64 bytes of low, 32 of high), value 32 j + l has as its
// low four bits nibble j / 2 of low[32 (j % 2) + l], and as its high two bits those at 2 j of
// high[l].
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace catena {

enum class DType : uint8_t { kF32, kF16, kBF16, kQ8_0, kQ4_0, kQ4_1, kQ6_K };

// Those that linear layers compute with, each in its own layout; Q6_K is read, and widened
// (tensor.h).
inline constexpr DType kAllDTypes[] = {DType::kF32,  DType::kF16,  DType::kBF16,
                                       DType::kQ8_0, DType::kQ4_0, DType::kQ4_1};

inline constexpr int kQuantBlock = 32;  // values a block of every quantised type of kAllDTypes
inline constexpr int kQuantSuperBlock = 256;  // of Q6_K

struct DTypeInfo {
  std::string_view name;  // as flags and messages spell it
  int block_values;       // 1, kQuantBlock or kQuantSuperBlock
  int block_bytes;
};

constexpr DTypeInfo Info(DType t) {
  switch (t) {
    case DType::kF32:
      return {"f32", 1, 4};
    case DType::kF16:
      return {"f16", 1, 2};
    case DType::kBF16:
      return {"bf16", 1, 2};
    case DType::kQ8_0:
      return {"q8_0", kQuantBlock, 34};
    case DType::kQ4_0:
      return {"q4_0", kQuantBlock, 18};
    case DType::kQ4_1:
      return {"q4_1", kQuantBlock, 20};
    case DType::kQ6_K:
      return {"q6_k", kQuantSuperBlock, 210};
  }
  return {"?", 1, 0};
}

constexpr std::string_view Name(DType t) { return Info(t).name; }
constexpr bool IsQuantised(DType t) { return Info(t).block_values > 1; }

// Bytes of a row of `cols` values. REQUIRES: cols is a multiple of the block.
constexpr int64_t RowBytes(DType t, int64_t cols) {
  return cols / Info(t).block_values * Info(t).block_bytes;
}

inline std::optional<DType> ParseDType(std::string_view name) {
  for (DType t : kAllDTypes) {
    if (Name(t) == name) return t;
  }
  return std::nullopt;
}

}  // namespace catena
