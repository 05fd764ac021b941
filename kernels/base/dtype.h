// Element types of tensors as they lie in files: plain floats, and GGUF's blocks of 32 or 256
// values (quant_block.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace catena {

enum class DType : uint8_t {
  kF32,
  kF16,
  kBF16,
  kQ8_0,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kIQ4_NL,
  kMXFP4,
  kQ2_K,
  kQ3_K,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kIQ4_XS
};

inline constexpr DType kAllDTypes[] = {DType::kF32,    DType::kF16,   DType::kBF16, DType::kQ8_0,
                                       DType::kQ4_0,   DType::kQ4_1,  DType::kQ5_0, DType::kQ5_1,
                                       DType::kIQ4_NL, DType::kMXFP4, DType::kQ2_K, DType::kQ3_K,
                                       DType::kQ4_K,   DType::kQ5_K,  DType::kQ6_K, DType::kIQ4_XS};
inline constexpr int kDTypes = sizeof(kAllDTypes) / sizeof(kAllDTypes[0]);

inline constexpr int kQuantBlock = 32;        // values that activations have a scale for
inline constexpr int kQuantSuperBlock = 256;  // values a block of the K types and IQ4_XS

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
    case DType::kQ5_0:
      return {"q5_0", kQuantBlock, 22};
    case DType::kQ5_1:
      return {"q5_1", kQuantBlock, 24};
    case DType::kIQ4_NL:
      return {"iq4_nl", kQuantBlock, 18};
    case DType::kMXFP4:
      return {"mxfp4", kQuantBlock, 17};
    case DType::kQ2_K:
      return {"q2_k", kQuantSuperBlock, 84};
    case DType::kQ3_K:
      return {"q3_k", kQuantSuperBlock, 110};
    case DType::kQ4_K:
      return {"q4_k", kQuantSuperBlock, 144};
    case DType::kQ5_K:
      return {"q5_k", kQuantSuperBlock, 176};
    case DType::kQ6_K:
      return {"q6_k", kQuantSuperBlock, 210};
    case DType::kIQ4_XS:
      return {"iq4_xs", kQuantSuperBlock, 136};
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
