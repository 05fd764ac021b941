// QuantiseRow against gguf-py's blocks where gguf-py quantises, and against plain rounding.
#include "kernels/base/quantise.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/base/dequantise.h"
#include "kernels/base/quant_block.h"

namespace catena {
namespace {

using Row = std::vector<float>;
constexpr int64_t kRow = 2 * kQuantSuperBlock;
constexpr int kTypes = static_cast<int>(DType::kIQ4_XS) + 1;

std::string Hex(const std::vector<uint8_t>& bytes) {
  std::string hex;
  for (const uint8_t byte : bytes) {
    for (const int nibble : {byte >> 4, byte & 15}) hex += "0123456789abcdef"[nibble];
  }
  return hex;
}

Row RowOfHex(const std::string& hex) {
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<uint8_t>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  Row row(bytes.size() / sizeof(float));
  std::memcpy(row.data(), bytes.data(), row.size() * sizeof(float));
  return row;
}

std::vector<uint8_t> Quantised(DType type, const Row& row) {
  const auto cols = static_cast<int64_t>(row.size());
  std::vector<uint8_t> out(RowBytes(type, cols) + 2, 0xa5);  // unaligned, a guard behind
  QuantiseRow(type, row.data(), cols, out.data() + 1);
  EXPECT_EQ(out.back(), 0xa5) << Name(type);
  return {out.begin() + 1, out.end() - 1};
}

Row Widened(DType type, const std::vector<uint8_t>& blocks, size_t cols) {
  Row row(cols);
  WidenRow(type, blocks.data(), static_cast<int64_t>(cols), row.data());
  return row;
}

Row RoundTrip(DType type, const Row& row) {
  return Widened(type, Quantised(type, row), row.size());
}

// The root of the mean square difference.
double Distance(const Row& a, const Row& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::pow(double{a[i]} - double{b[i]}, 2);
  return std::sqrt(sum / static_cast<double>(a.size()));
}

std::vector<DType> QuantisedTypes() {
  std::vector<DType> types;
  for (int t = 0; t < kTypes; ++t) {
    if (IsQuantised(static_cast<DType>(t))) types.push_back(static_cast<DType>(t));
  }
  return types;
}

// Weights as models have them: normal, of a size that differs from block to block, with a few
// outliers.
Row Weights(uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  Row row(kRow);
  float size = 0;
  for (int64_t i = 0; i < kRow; ++i) {
    if (i % kQuantBlock == 0) size = 0.02f * std::exp(0.3f * normal(random));
    row[i] = size * normal(random) * (random() % 128 == 0 ? 4.0f : 1.0f);
  }
  return row;
}

// Blocks by extremes and rounding, their scales in float32: least and largest value are the lowest
// and the highest code, or without a minimum the value of the largest magnitude is the lowest.
Row RoundedPlainly(DType type, const Row& row) {
  const QuantFormat format = Quantisation(type);
  const int n = kQuantBlock / format.groups;
  Row out(row.size());
  for (size_t at = 0; at < row.size(); at += n) {
    const auto x = row.begin() + static_cast<int64_t>(at);
    const auto [low, high] = std::minmax_element(x, x + n);
    const float largest = std::fabs(*low) > std::fabs(*high) ? *low : *high;
    const int most = (1 << format.bits) - 1;
    float from = format.minimum ? std::min(*low, 0.0f) : 0.0f;
    float scale = format.minimum ? (*high - from) / static_cast<float>(most)
                                 : -largest / static_cast<float>((most + 1) / 2);
    const float least = format.minimum ? 0 : -static_cast<float>((most + 1) / 2);
    for (int i = 0; i < n; ++i) {
      const float code = std::round((x[i] - from) / scale);
      out[at + i] = from + scale * std::clamp(code, least, least + static_cast<float>(most));
    }
  }
  return out;
}

// The cases are written by make_quantise_cases.py.
TEST(Quantise, GivesTheBytesOfItsReference) {
  const char* source = std::getenv("CATENA_SOURCE");
  ASSERT_NE(source, nullptr);
  std::ifstream in(std::string(source) + "/tests/kernels/quantise_cases.txt");
  std::string type, name, hex;
  std::map<std::string, Row> rows;
  std::set<std::string> unseen = {"bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "mxfp4"};
  while (in >> type >> name >> hex) {
    if (type == "row") {
      rows[name] = RowOfHex(hex);
      continue;
    }
    unseen.erase(type);
    for (int t = 0; t < kTypes; ++t) {
      const auto dtype = static_cast<DType>(t);
      if (Name(dtype) != type) continue;
      EXPECT_EQ(Hex(Quantised(dtype, rows.at(name))), hex) << type << " of row " << name;
    }
  }
  EXPECT_EQ(rows.size(), 12u);
  EXPECT_TRUE(unseen.empty()) << *unseen.begin() << " has no cases";
}

// Shares of plain rounding's error, each a little over what was measured.
TEST(Quantise, TypesThatAreSearchedForAreNearerThanPlainRounding) {
  const std::map<DType, double> most = {
      {DType::kQ2_K, 0.94}, {DType::kQ3_K, 1.0},    {DType::kQ4_K, 0.94},  {DType::kQ5_K, 0.98},
      {DType::kQ6_K, 0.98}, {DType::kIQ4_NL, 0.85}, {DType::kIQ4_XS, 0.86}};
  for (const auto& [type, share] : most) {
    double ours = 0, plain = 0;
    for (uint32_t seed = 1; seed <= 16; ++seed) {
      const Row row = Weights(seed);
      ours += Distance(RoundTrip(type, row), row);
      plain += Distance(RoundedPlainly(type, row), row);
    }
    EXPECT_LT(ours / plain, share) << Name(type);
  }
}

// Values that a type holds exactly come back, or so near that little is lost once more.
TEST(Quantise, ASecondTimeLosesLittle) {
  for (const DType type : QuantisedTypes()) {
    const Row row = Weights(7), once = RoundTrip(type, row), twice = RoundTrip(type, once);
    EXPECT_LT(Distance(twice, once), 0.5 * Distance(once, row)) << Name(type);
  }
}

TEST(Quantise, FloatsAreRounded) {
  const Row row = Weights(5);
  EXPECT_EQ(RoundTrip(DType::kF32, row), row);
  EXPECT_EQ(RoundTrip(DType::kF16, {1 + 0x1p-11f, 1 + 3 * 0x1p-11f, 0x1p-24f, -1e9f}),
            (Row{1, 1 + 0x1p-9f, 0x1p-24f, -65504}));
  EXPECT_EQ(RoundTrip(DType::kBF16, {1 + 0x1p-8f, 1 + 3 * 0x1p-8f, 1e-39f}),
            (Row{1, 1 + 0x1p-6f, 11 * 0x1p-133f}));
}

TEST(Quantise, ZerosStayZeros) {
  const Row zeros(kRow, 0.0f);
  for (const DType type : QuantisedTypes()) EXPECT_EQ(RoundTrip(type, zeros), zeros) << Name(type);
}

TEST(Quantise, ConstantsAreKept) {
  for (const DType type : QuantisedTypes()) {
    for (const float value : {0.3f, -1.7f}) {
      const Row row(kRow, value), back = RoundTrip(type, row);
      const double lost = type == DType::kMXFP4 ? 0.2 : 0.02;  // 2.5 becomes 2 there
      EXPECT_LT(Distance(back, row), lost * std::fabs(value)) << Name(type) << " of " << value;
    }
  }
}

// The blocks without the large value lose nothing by it, unless they share its scale.
TEST(Quantise, AnOutlierIsKept) {
  for (const DType type : QuantisedTypes()) {
    Row row = Weights(3);
    row[40] = 1000;
    const Row back = RoundTrip(type, row);
    EXPECT_NEAR(back[40], row[40], type == DType::kMXFP4 ? 250 : 30) << Name(type);
    const Row rest(row.begin() + kQuantSuperBlock, row.end());
    EXPECT_EQ(Row(back.begin() + kQuantSuperBlock, back.end()), RoundTrip(type, rest))
        << Name(type);
  }
}

// Magnitudes that no scale holds, and differences that overflow.
TEST(Quantise, WhatIsReadBackIsFinite) {
  constexpr float kMost = std::numeric_limits<float>::max();
  constexpr float kLeast = std::numeric_limits<float>::denorm_min();
  for (const DType type : QuantisedTypes()) {
    for (const float size : {kMost, 1e30f, 1e15f, 1e-30f, 1e-39f, kLeast}) {
      Row row(kRow, size);
      for (int64_t i = 0; i < kRow; i += 3) row[i] = -size;
      row[5] = 0;
      for (const float x : RoundTrip(type, row)) {
        ASSERT_TRUE(std::isfinite(x)) << Name(type) << " of " << size;
        if (size < 1) {
          ASSERT_LE(std::fabs(x), 1e-7f) << Name(type) << " of " << size;
        }
      }
    }
  }
}

}  // namespace
}  // namespace catena
