// Quantised safetensors by hand: values of each layout, what is rounded, and what is refused.
#include "model/weights/quantised/quantised_weights.h"

#include <cmath>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/base/dequantise.h"
#include "kernels/base/float16.h"
#include "model/weights/quantised/quant_matrix.h"
#include "tests/model/quant_scheme.h"
#include "tests/model/safetensors_writer.h"
#include "tests/temp_dir.h"

namespace catena {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

constexpr char kAwq[] = R"({"quant_method": "awq", "bits": 4, "group_size": 32})";
constexpr char kGptq[] = R"({"quant_method": "gptq", "bits": 4, "group_size": 32})";
constexpr char kCompressed[] = R"({"quant_method": "compressed-tensors"})";
constexpr char kFp8[] = R"({"quant_method": "fp8", "weight_block_size": [2, 32]})";

class QuantisedWeightsTest : public ::testing::Test {
 protected:
  QuantisedWeights Open(const std::string& scheme) {
    bytes_ = file_.Bytes();
    return QuantisedWeights(
        *SafetensorsFile::Parse({reinterpret_cast<const uint8_t*>(bytes_.data()), bytes_.size()},
                                "m/f.safetensors"),
        *Scheme(scheme), "m");
  }

  // Of "a.weight".
  std::vector<float> Values(const std::string& scheme, DType want) {
    const auto view = Open(scheme).Find("a.weight");
    EXPECT_TRUE(view.ok()) << view.status();
    if (!view.ok()) return {};
    EXPECT_EQ(Name(view->dtype), Name(want));
    std::vector<float> values(static_cast<size_t>(view->rows * view->cols));
    for (int64_t r = 0; r < view->rows; ++r) {
      WidenRow(view->dtype, view->bytes.data() + r * RowBytes(view->dtype, view->cols), view->cols,
               values.data() + r * view->cols);
    }
    return values;
  }

  void ExpectRefused(const std::string& scheme, absl::StatusCode code,
                     const std::vector<std::string>& parts) {
    const absl::Status status = Open(scheme).Find("a.weight").status();
    EXPECT_EQ(status.code(), code) << status;
    for (const std::string& part : parts) {
      EXPECT_THAT(std::string(Message(status)), HasSubstr(part));
    }
  }

  // Eight rows of 64 inputs, whose code is (row + input) % 16, in groups of 32.
  void AddAwq() {
    constexpr int kOrder[8] = {0, 2, 4, 6, 1, 3, 5, 7};
    std::vector<uint32_t> codes(64);
    for (int k = 0; k < 64; ++k) {
      for (int i = 0; i < 8; ++i) codes[k] |= static_cast<uint32_t>((kOrder[i] + k) % 16) << i * 4;
    }
    file_.Add("a.qweight", "I32", {64, 1}, codes);
    // Rows 0, 2, 4, 6, 1, 3, 5, 7 from the lowest nibble on.
    file_.Add("a.qzeros", "I32", {2, 1}, std::vector<uint32_t>{0x75316420u, 0xfdb9eca8u});
    file_.Add("a.scales", "F16", {2, 8}, Scales());
  }

  // As many codes, by words of eight inputs.
  void AddGptq(uint32_t zeros) {
    std::vector<uint32_t> codes(64);
    for (int k = 0; k < 64; ++k) {
      for (int r = 0; r < 8; ++r) codes[k / 8 * 8 + r] |= uint32_t((r + k) % 16) << k % 8 * 4;
    }
    file_.Add("a.qweight", "I32", {8, 8}, codes);
    file_.Add("a.qzeros", "I32", {2, 1}, std::vector<uint32_t>{zeros, zeros});
    file_.Add("a.scales", "F16", {2, 8}, Scales());
  }

  // By group and row: (row + 1) * 2^-4, and 2^-8 of that.
  static float ScaleOf(int row, int k) {
    return static_cast<float>(row + 1) * (k < 32 ? 0x1p-4f : 0x1p-12f);
  }
  static std::vector<uint16_t> Scales() {
    std::vector<uint16_t> scales;
    for (const int k : {0, 32}) {
      for (int r = 0; r < 8; ++r) scales.push_back(F32ToF16Saturating(ScaleOf(r, k)));
    }
    return scales;
  }

  SafetensorsWriter file_;
  std::string bytes_;
};

TEST_F(QuantisedWeightsTest, AwqIsCodesLessZerosTimesScales) {
  AddAwq();
  const auto values = Values(kAwq, DType::kQ5_0);
  ASSERT_EQ(values.size(), 512u);
  for (int r = 0; r < 8; ++r) {
    for (int k = 0; k < 64; ++k) {
      const int zero = k < 32 ? r : r + 8;
      const float want = static_cast<float>((r + k) % 16 - zero) * ScaleOf(r, k);
      ASSERT_EQ(values[r * 64 + k], want) << r << " " << k;
    }
  }
}

TEST_F(QuantisedWeightsTest, GptqAddsOneToItsZerosInTheFirstFormatOnly) {
  AddGptq(0x77777777u);
  const auto first = Values(kGptq, DType::kQ4_0);
  const auto second = Values(
      R"({"quant_method": "gptq", "bits": 4, "checkpoint_format": "gptq_v2"})", DType::kQ5_0);
  ASSERT_EQ(first.size(), 512u);
  for (int r = 0; r < 8; ++r) {
    for (int k = 0; k < 64; ++k) {
      const int code = (r + k) % 16;
      ASSERT_EQ(first[r * 64 + k], static_cast<float>(code - 8) * ScaleOf(r, k));
      ASSERT_EQ(second[r * 64 + k], static_cast<float>(code - 7) * ScaleOf(r, k));
    }
  }
}

// One is subtracted from a whole word of zero points, so one of 0 borrows from the next.
TEST_F(QuantisedWeightsTest, AGptqZeroPointOfNoneBorrows) {
  constexpr uint32_t kZeros = 0x0f018000u;
  AddGptq(kZeros - 0x11111111u);
  const auto first = Values(kGptq, DType::kQ5_0);
  ASSERT_EQ(first.size(), 512u);
  for (int r = 0; r < 8; ++r) {
    const int zero = kZeros >> r * 4 & 15;
    ASSERT_EQ(first[r * 64], static_cast<float>(r - zero) * ScaleOf(r, 0)) << r;
  }
}

TEST_F(QuantisedWeightsTest, AGptqZeroPointOfNoneBorrowsInBytesToo) {
  constexpr uint32_t kZeros = 0x00ff0000u;
  file_.Add("a.qweight", "I32", {8, 4}, std::vector<uint32_t>(32, 0x02020202u));
  file_.Add("a.qzeros", "I32", {1, 1}, std::vector<uint32_t>{kZeros - 0x01010101u});
  file_.Add("a.scales", "F32", {1, 4}, std::vector<float>(4, 1.0f));
  const auto values = Values(R"({"quant_method": "gptq", "bits": 8})", DType::kF16);
  ASSERT_EQ(values.size(), 128u);
  EXPECT_THAT((std::vector<float>{values[0], values[32], values[64], values[96]}),
              ElementsAre(2, 2, 2 - 255, 2));
}

TEST_F(QuantisedWeightsTest, GroupsInOrderAreReadAndOthersRefused) {
  AddGptq(0x77777777u);
  std::vector<int32_t> index(64);
  for (int k = 0; k < 64; ++k) index[k] = k / 32;
  file_.Add("a.g_idx", "I32", {64}, index);
  EXPECT_TRUE(Open(kGptq).Find("a.weight").ok());
  index[3] = 1;
  file_ = {};
  AddGptq(0x77777777u);
  file_.Add("a.g_idx", "I32", {64}, index);
  ExpectRefused(kGptq, absl::StatusCode::kInvalidArgument,
                {"m: tensor \"a.g_idx\"", "desc_act", "desc_act=false"});
}

// 64 inputs in groups of 48 are one of 48 and one of 16.
TEST_F(QuantisedWeightsTest, TheLastGroupOfAGptqRowMayBeShort) {
  constexpr char kOf48[] = R"({"quant_method": "gptq", "group_size": 48})";
  AddGptq(0x77777777u);
  std::vector<int32_t> index(64);
  for (int k = 0; k < 64; ++k) index[k] = k / 48;
  file_.Add("a.g_idx", "I32", {64}, index);
  const auto values = Values(kOf48, DType::kF16);
  ASSERT_EQ(values.size(), 512u);
  for (const int k : {32, 47, 48, 63}) {
    const float scale = ScaleOf(1, k < 48 ? 0 : 32);
    EXPECT_EQ(values[64 + k], static_cast<float>((1 + k) % 16 - 8) * scale) << k;
  }
  ExpectRefused(R"({"quant_method": "gptq", "group_size": -1})", absl::StatusCode::kDataLoss,
                {"\"a.scales\"", "groups of 64"});
}

TEST_F(QuantisedWeightsTest, SignedBytesHaveEveryValueOfInt8) {
  std::vector<int8_t> codes;
  for (int i = -128; i < 128; ++i) codes.push_back(static_cast<int8_t>(i));
  file_.Add("a.weight", "I8", {2, 128}, codes);
  file_.Add("a.weight_scale", "BF16", {2, 1},
            std::vector<uint16_t>{F32ToBF16(0.5f), F32ToBF16(-3.0f)});
  const auto values = Values(kCompressed, DType::kQ8_0);
  ASSERT_EQ(values.size(), 256u);
  for (int i = 0; i < 256; ++i) {
    EXPECT_EQ(values[i], static_cast<float>(i - 128) * (i < 128 ? 0.5f : -3.0f));
  }
}

TEST_F(QuantisedWeightsTest, ZerosOfEightBitsMakeFloats) {
  file_.Add("a.weight", "I8", {1, 32}, std::vector<int8_t>(32, -128));
  file_.Add("a.weight_scale", "F32", {1}, std::vector<float>{0.1f});
  file_.Add("a.weight_zero_point", "I8", {1}, std::vector<int8_t>{127});
  EXPECT_EQ(Values(kCompressed, DType::kF16)[0], F16ToF32(F32ToF16Saturating(-25.5f)));
}

TEST_F(QuantisedWeightsTest, PackedZerosAreOfRows) {
  file_.Add("a.weight_packed", "I32", {2, 4}, std::vector<uint32_t>(8, 0x99999999u));
  file_.Add("a.weight_shape", "I64", {2}, std::vector<int64_t>{2, 32});
  file_.Add("a.weight_scale", "F16", {2, 1},
            std::vector<uint16_t>{F32ToF16Saturating(1), F32ToF16Saturating(2)});
  file_.Add("a.weight_zero_point", "I32", {1, 1}, std::vector<uint32_t>{0x38u});
  const auto values = Values(kCompressed, DType::kQ5_0);
  ASSERT_EQ(values.size(), 64u);
  EXPECT_EQ(values[0], 1.0f);
  EXPECT_EQ(values[63], 12.0f);
}

std::string CompressedBy(const std::string& weights) {
  return R"({"quant_method": "compressed-tensors", "config_groups": )" + weights + "}";
}

TEST_F(QuantisedWeightsTest, CompressedGroupsAreThoseThatTheConfigStates) {
  file_.Add("a.weight", "I8", {1, 96}, std::vector<int8_t>(96, 1));
  file_.Add("a.weight_scale", "F32", {1, 2}, std::vector<float>{1, 2});
  const auto values = Values(
      CompressedBy(R"({"g": {"weights": {"strategy": "group", "group_size": 64}}})"), DType::kQ8_0);
  ASSERT_EQ(values.size(), 96u);
  EXPECT_EQ(values[63], 1.0f);
  EXPECT_EQ(values[64], 2.0f);
  const auto kLoss = absl::StatusCode::kDataLoss;
  ExpectRefused(CompressedBy(R"({"g": {"weights": {"strategy": "group", "group_size": 32}}})"),
                kLoss, {"\"a.weight_scale\"", "(1, 2)", "groups of 32"});
  ExpectRefused(CompressedBy(R"({"g": {"weights": {"strategy": "channel"}}})"), kLoss,
                {"groups of 96"});
  // Of two that both fit nothing says which it is; of two of which one fits it is that.
  const std::string two = R"({"g": {"weights": {"group_size": 64}}, "h": {"weights": )";
  ExpectRefused(CompressedBy(two + R"({"group_size": 48}}})"), kLoss, {"groups of 48 or 64"});
  EXPECT_EQ(Values(CompressedBy(two + R"({"group_size": 32}}})"), DType::kQ8_0)[63], 1.0f);
}

TEST_F(QuantisedWeightsTest, OneCompressedScaleIsOfAllInputs) {
  file_.Add("a.weight", "I8", {2, 96}, std::vector<int8_t>(192, 1));
  file_.Add("a.weight_scale", "F32", {1}, std::vector<float>{2});
  EXPECT_TRUE(Open(CompressedBy(R"({"g": {"weights": {}}})")).Find("a.weight").ok());
  EXPECT_TRUE(
      Open(CompressedBy(R"({"g": {"weights": {"group_size": 128}}})")).Find("a.weight").ok());
  ExpectRefused(CompressedBy(R"({"g": {"weights": {"group_size": 32}}})"),
                absl::StatusCode::kDataLoss, {"\"a.weight_scale\"", "(1)", "groups of 32"});
}

TEST_F(QuantisedWeightsTest, ACompressedGroupIndexThatWasNeverSetIsNone) {
  const auto with = [&](int32_t last) {
    file_ = {};
    file_.Add("a.weight", "I8", {1, 32}, std::vector<int8_t>(32, 1));
    file_.Add("a.weight_scale", "F32", {1}, std::vector<float>{1});
    std::vector<int32_t> index(32, -1);
    index.back() = last;
    file_.Add("a.weight_g_idx", "I32", {32}, index);
  };
  with(-1);
  EXPECT_TRUE(Open(kCompressed).Find("a.weight").ok());
  with(0);
  ExpectRefused(kCompressed, absl::StatusCode::kInvalidArgument, {"\"a.weight_g_idx\""});
}

// The group of 16 is no whole block, nor is the row of 40.
TEST_F(QuantisedWeightsTest, WhatIsNoWholeBlocksBecomesFloats) {
  for (const auto& [cols, groups] : std::vector<std::pair<int64_t, int64_t>>{{32, 2}, {40, 1}}) {
    file_ = {};
    file_.Add("a.weight", "I8", {1, cols}, std::vector<int8_t>(cols, 3));
    file_.Add("a.weight_scale", "F32", {1, groups}, std::vector<float>(groups, 0.25f));
    EXPECT_EQ(Values(kCompressed, DType::kF16)[cols - 1], 0.75f);
  }
}

TEST_F(QuantisedWeightsTest, ScalesThatFp16CannotHoldMakeFloats) {
  const std::vector<std::pair<float, DType>> cases = {
      {0x1.004p0f, DType::kQ8_0},   // fp16 has these bits
      {0x1.001p0f, DType::kQ8_0},   // rounded, by less than 2^-11
      {0x1p-20f, DType::kQ8_0},     // a small fp16, exact
      {0x1.01p-20f, DType::kBF16},  // would lose bits that a large one keeps
      {65504.0f, DType::kQ8_0},    {70000.0f, DType::kBF16}, {0.0f, DType::kQ8_0}};
  for (const auto& [scale, dtype] : cases) {
    file_ = {};
    file_.Add("a.weight", "I8", {1, 32}, std::vector<int8_t>(32, -7));
    file_.Add("a.weight_scale", "F32", {1}, std::vector<float>{scale});
    const float value = Values(kCompressed, dtype)[5];
    EXPECT_LE(std::fabs(value + 7 * scale), 7 * scale * 0x1p-8f) << scale;
  }
}

TEST_F(QuantisedWeightsTest, BlocksOfScalesReachPastTheEdges) {
  std::vector<uint8_t> codes(3 * 40, 0x38);  // 1.0
  codes[39] = 0x7e;                          // 448
  codes[119] = 0x81;                         // -2^-9
  file_.Add("a.weight", "F8_E4M3", {3, 40}, codes);
  file_.Add("a.weight_scale_inv", "F32", {2, 2}, std::vector<float>{1, 2, 4, 1.0f / 3});
  const auto values = Values(kFp8, DType::kBF16);
  ASSERT_EQ(values.size(), 120u);
  EXPECT_EQ(values[0], 1.0f);
  EXPECT_EQ(values[39], 896.0f);
  EXPECT_EQ(values[40 + 32], 2.0f);
  EXPECT_EQ(values[80], 4.0f);
  EXPECT_EQ(values[119], BF16ToF32(F32ToBF16(-0x1p-9f / 3)));
}

TEST_F(QuantisedWeightsTest, BlocksOfFp8AreOf128WhereTheConfigStatesNone) {
  file_.Add("a.weight", "F8_E4M3", {130, 140}, std::vector<uint8_t>(130 * 140, 0x38));
  file_.Add("a.weight_scale_inv", "F32", {2, 2}, std::vector<float>{1, 2, 4, 8});
  const auto values = Values(R"({"quant_method": "fp8"})", DType::kBF16);
  ASSERT_EQ(values.size(), 130u * 140);
  EXPECT_EQ(values[127 * 140 + 127], 1.0f);
  EXPECT_EQ(values[128], 2.0f);
  EXPECT_EQ(values[128 * 140], 4.0f);
  EXPECT_EQ(values[129 * 140 + 139], 8.0f);
}

// A row of scales is a row of blocks, not of equal groups, where blocks are stated.
TEST_F(QuantisedWeightsTest, BlocksOfOneRowAreOfTheColumnsStated) {
  file_.Add("a.weight", "F8_E4M3", {1, 40}, std::vector<uint8_t>(40, 0x38));
  file_.Add("a.weight_scale_inv", "F32", {1, 2}, std::vector<float>{1, 2});
  const auto values = Values(kFp8, DType::kBF16);
  ASSERT_EQ(values.size(), 40u);
  EXPECT_EQ(values[31], 1.0f);
  EXPECT_EQ(values[32], 2.0f);
}

// Bytes that mean other values have another fingerprint.
TEST_F(QuantisedWeightsTest, WhatIsFingerprintedTellsTheSizesOfBlocksAndGroups) {
  file_.Add("a.weight", "F8_E4M3", {1, 1}, std::vector<uint8_t>{1});
  std::set<std::string> types;
  for (const char* scheme :
       {R"({"quant_method": "fp8", "weight_block_size": [2, 32]})",
        R"({"quant_method": "fp8", "weight_block_size": [3, 32]})",
        R"({"quant_method": "fp8", "weight_block_size": [2, 33]})",
        R"({"quant_method": "gptq", "group_size": 48})",
        R"({"quant_method": "gptq", "group_size": 64})", R"({"quant_method": "gptq"})"}) {
    types.insert(Open(scheme).FindStored("a.weight")->type);
  }
  EXPECT_EQ(types.size(), 6u);
}

TEST(E4M3, HasTheValuesOfItsBits) {
  EXPECT_EQ(E4M3ToF32(0x00), 0.0f);
  EXPECT_TRUE(std::signbit(E4M3ToF32(0x80)));
  EXPECT_EQ(E4M3ToF32(0x01), 0x1p-9f);
  EXPECT_EQ(E4M3ToF32(0x07), 7 * 0x1p-9f);
  EXPECT_EQ(E4M3ToF32(0x08), 0x1p-6f);
  EXPECT_EQ(E4M3ToF32(0xb9), -1.125f);
  EXPECT_EQ(E4M3ToF32(0x7e), 448.0f);
  EXPECT_TRUE(std::isnan(E4M3ToF32(0x7f)));
}

TEST_F(QuantisedWeightsTest, NamesAreThoseOfTheModelAndOthersLieAsTheyAre) {
  AddAwq();
  file_.Add("n.weight", "F32", {2}, std::vector<float>{1, 2});
  file_.Add("a.bias", "F16", {8}, std::vector<uint16_t>(8));
  file_.Add("n.bias", "F16", {1}, std::vector<uint16_t>(1));
  const QuantisedWeights weights = Open(kAwq);
  EXPECT_THAT(weights.Names(), UnorderedElementsAre("a.weight", "n.weight", "a.bias", "n.bias"));
  EXPECT_TRUE(weights.Has("a.weight"));
  EXPECT_FALSE(weights.Has("a.bias"));  // of zeros, beside a quantised weight
  EXPECT_TRUE(weights.Has("n.bias"));
  EXPECT_FALSE(weights.Has("b.weight"));
  EXPECT_EQ(weights.Find("n.weight")->cols, 2);
  EXPECT_EQ(weights.Find("b.weight").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(QuantisedWeightsTest, ABiasThatIsNotZeroIsOne) {
  AddAwq();
  file_.Add("a.bias", "F16", {2}, std::vector<uint16_t>{0, 1});
  EXPECT_TRUE(Open(kAwq).Has("a.bias"));
}

TEST_F(QuantisedWeightsTest, ABiasOfNegativeZerosIsNone) {
  AddAwq();
  file_.Add("a.bias", "BF16", {2}, std::vector<uint16_t>{0x8000, 0});
  EXPECT_FALSE(Open(kAwq).Has("a.bias"));
  file_.Add("a.bias", "F32", {2}, std::vector<float>{0.0f, -0.0f});
  EXPECT_FALSE(Open(kAwq).Has("a.bias"));
  file_.Add("a.bias", "F16", {2}, std::vector<uint16_t>{0, 0x0080});
  EXPECT_TRUE(Open(kAwq).Has("a.bias"));
  file_.Add("a.bias", "F16", {2}, std::vector<uint16_t>{0x8001, 0});
  EXPECT_TRUE(Open(kAwq).Has("a.bias"));
}

// The index has a quantised weight by the names of its parts.
TEST_F(QuantisedWeightsTest, AShardThatIsMissingIsNamed) {
  for (const char* codes : {"b.qweight", "b.weight_packed"}) {
    file_ = {};
    AddGptq(0x77777777u);
    const TempDir folder;
    folder.Write("model-1.safetensors", file_.Bytes());
    const nlohmann::json index = {
        {"weight_map", {{"a.qweight", "model-1.safetensors"}, {codes, "model-2.safetensors"}}}};
    folder.Write("model.safetensors.index.json", index.dump());
    const QuantisedWeights weights(*OpenSafetensorsFolder(folder.path()), *Scheme(kGptq), "m");
    const absl::Status status = weights.Find("b.weight").status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
    EXPECT_THAT(std::string(Message(status)), HasSubstr("model-2.safetensors"));
    EXPECT_EQ(weights.Find("c.weight").status().code(), absl::StatusCode::kNotFound);
    EXPECT_TRUE(weights.Find("a.weight").ok());
  }
}

// Without them the values would be others.
TEST_F(QuantisedWeightsTest, PartsThatNeedNotBeAreNamedWhereTheirShardIsMissing) {
  AddGptq(0x77777777u);
  const TempDir folder;
  folder.Write("model-1.safetensors", file_.Bytes());
  const nlohmann::json index = {
      {"weight_map", {{"a.qweight", "model-1.safetensors"}, {"a.g_idx", "model-2.safetensors"}}}};
  folder.Write("model.safetensors.index.json", index.dump());
  const QuantisedWeights weights(*OpenSafetensorsFolder(folder.path()), *Scheme(kGptq), "m");
  const absl::Status status = weights.Find("a.weight").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_THAT(std::string(Message(status)), HasSubstr("model-2.safetensors"));
}

TEST_F(QuantisedWeightsTest, PartsThatDoNotBelongTogetherAreRefused) {
  AddAwq();
  const auto without = [&](const char* part, std::string_view type, std::vector<int64_t> shape,
                           size_t bytes) {
    file_ = {};
    AddAwq();
    file_.Add(part, type, std::move(shape), std::string(bytes, '\0'));
  };
  const auto kLoss = absl::StatusCode::kDataLoss, kBad = absl::StatusCode::kInvalidArgument;
  ExpectRefused(R"({"quant_method": "awq", "group_size": 128})", kLoss,
                {"\"a.scales\"", "(2, 8)", "(8, 64)", "groups of 128"});
  without("a.scales", "F16", {3, 8}, 48);
  ExpectRefused(kAwq, kLoss, {"\"a.scales\"", "(3, 8)"});
  without("a.scales", "F16", {2, 7}, 28);
  ExpectRefused(kAwq, kLoss, {"\"a.scales\"", "(2, 7)"});
  without("a.scales", "F64", {2, 8}, 128);
  ExpectRefused(kAwq, kBad, {"\"a.scales\"", "\"F64\"", "F16 or BF16 or F32"});
  without("a.qzeros", "I32", {2, 2}, 16);
  ExpectRefused(kAwq, kLoss, {"\"a.qzeros\" has the shape (2, 2), not (2, 1)"});
  without("a.qweight", "I32", {0, 1}, 0);
  ExpectRefused(kAwq, kLoss, {"\"a.qweight\" is no matrix"});
  without("a.qweight", "I32", {64}, 256);
  ExpectRefused(kAwq, kLoss, {"\"a.qweight\" is no matrix"});
  file_ = {};
  file_.Add("a.qweight", "I32", {64, 1}, std::string(256, '\0'));
  ExpectRefused(kAwq, kLoss, {"no tensor \"a.scales\"", "awq"});
}

TEST_F(QuantisedWeightsTest, ScalesAreFiniteNumbers) {
  file_.Add("a.weight", "I8", {1, 32}, std::vector<int8_t>(32, 1));
  file_.Add("a.weight_scale", "F32", {1}, std::vector<float>{INFINITY});
  ExpectRefused(kCompressed, absl::StatusCode::kDataLoss, {"\"a.weight\"", "no finite numbers"});
}

TEST_F(QuantisedWeightsTest, ShapesThatLieAreRefused) {
  const auto packed = [&](std::vector<int64_t> shape, std::vector<int64_t> words) {
    file_ = {};
    const auto n = static_cast<size_t>(words[0] * words[1] * 4);
    file_.Add("a.weight_packed", "I32", words, std::string(n, '\0'));
    file_.Add("a.weight_shape", "I64", {2}, shape);
    file_.Add("a.weight_scale", "F32", {1}, std::vector<float>{1});
  };
  packed({2, 32}, {2, 5});
  ExpectRefused(kCompressed, absl::StatusCode::kInvalidArgument, {"(2, 5)", "(2, 32)", "4 and 8"});
  packed({3, 32}, {2, 4});
  ExpectRefused(kCompressed, absl::StatusCode::kDataLoss, {"(2, 4), not (3, 4)"});
  for (const int64_t cols : {int64_t{0}, int64_t{-1}, INT64_MIN, INT64_MAX}) {
    packed({2, cols}, {2, 4});
    EXPECT_FALSE(Open(kCompressed).Find("a.weight").ok()) << cols;
  }
}

TEST_F(QuantisedWeightsTest, FloatsWithZeroPointsAreRefused) {
  file_.Add("a.weight", "F8_E4M3", {1, 2}, std::vector<uint8_t>{1, 2});
  file_.Add("a.weight_scale", "F32", {}, std::vector<float>{1});
  file_.Add("a.weight_zero_point", "F8_E4M3", {1}, std::vector<uint8_t>{0x80});
  EXPECT_TRUE(Open(kCompressed).Find("a.weight").ok());
  file_.Add("a.weight_zero_point", "F8_E4M3", {1}, std::vector<uint8_t>{1});
  ExpectRefused(kCompressed, absl::StatusCode::kInvalidArgument, {"zero points of 8-bit floats"});
}

TEST_F(QuantisedWeightsTest, WordsWithoutAConfigAreRefused) {
  AddAwq();
  bytes_ = file_.Bytes();
  const auto file = *SafetensorsFile::Parse(
      {reinterpret_cast<const uint8_t*>(bytes_.data()), bytes_.size()}, "f");
  const absl::Status status = CheckNotQuantised(*file, "m");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(Message(status)), HasSubstr("\"a.qweight\""));
  EXPECT_THAT(std::string(Message(status)), HasSubstr("quantization_config"));
}

}  // namespace
}  // namespace catena
