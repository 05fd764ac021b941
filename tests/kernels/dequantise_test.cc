// Every quantised type against gguf-py's reading of the same blocks, bit by bit.
#include "kernels/base/dequantise.h"

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/base/float16.h"
#include "kernels/base/quant_block.h"

namespace catena {
namespace {

std::vector<uint8_t> FromHex(const std::string& hex) {
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<uint8_t>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

DType DTypeNamed(const std::string& name) {
  for (int t = 0; t <= static_cast<int>(DType::kIQ4_XS); ++t) {
    if (Name(static_cast<DType>(t)) == name) return static_cast<DType>(t);
  }
  ADD_FAILURE() << "unknown type " << name;
  return DType::kF32;
}

// The cases are written by make_dequantise_cases.py.
TEST(Dequantise, EveryTypeGivesTheBitsOfItsReference) {
  const char* source = std::getenv("CATENA_SOURCE");
  ASSERT_NE(source, nullptr);
  std::ifstream in(std::string(source) + "/tests/kernels/dequantise_cases.txt");
  std::string name, blocks, values;
  std::set<DType> seen;
  while (in >> name >> blocks >> values) {
    const DType type = DTypeNamed(name);
    seen.insert(type);
    std::vector<uint8_t> bytes = FromHex(blocks);
    bytes.insert(bytes.begin(), 0);  // unaligned
    const std::vector<uint8_t> want = FromHex(values);
    const auto n = static_cast<int64_t>(want.size() / sizeof(float));
    ASSERT_EQ(RowBytes(type, n) + 1, static_cast<int64_t>(bytes.size())) << name;
    std::vector<float> out(n);
    WidenRow(type, bytes.data() + 1, n, out.data());
    for (int64_t i = 0; i < n; ++i) {
      float expected;
      std::memcpy(&expected, want.data() + i * sizeof(float), sizeof expected);
      EXPECT_EQ(out[i], expected) << name << " value " << i;
    }
  }
  for (int t = 0; t <= static_cast<int>(DType::kIQ4_XS); ++t) {
    const auto type = static_cast<DType>(t);
    EXPECT_EQ(seen.count(type) == 1, IsQuantised(type)) << Name(type);
  }
}

// The largest of all scales and quants, so that products are as long as they get.
TEST(Dequantise, TheLargestProductsAreExact) {
  std::vector<uint8_t> block(Info(DType::kQ6_K).block_bytes);
  std::memset(block.data() + 192, -127, 16);  // scales
  const uint16_t d = 0x7BFF;                  // 65504, the largest half
  std::memcpy(block.data() + 208, &d, 2);
  std::vector<float> out(256);
  WidenRow(DType::kQ6_K, block.data(), 256, out.data());  // quants 0: -32
  EXPECT_EQ(out[0], 65504.0f * 127 * 32);
  std::memset(block.data(), 0xff, 192);  // quants 63: 31
  WidenRow(DType::kQ6_K, block.data(), 256, out.data());
  EXPECT_EQ(out[255], -65504.0f * 127 * 31);
}

}  // namespace
}  // namespace catena
