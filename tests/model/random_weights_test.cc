#include "model/weights/random_weights.h"

#include <cmath>
#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/base/dequantise.h"

// Under AddressSanitizer an allocation that is too large fails as it does without.
extern "C" const char* __asan_default_options() { return "allocator_may_return_null=1"; }

namespace catena {
namespace {

using ::testing::HasSubstr;

float ValueAt(const TensorView& t, int64_t row, int64_t col) {
  std::vector<float> values(t.cols);
  WidenRow(t.dtype, t.bytes.data() + row * RowBytes(t.dtype, t.cols), t.cols, values.data());
  return values[col];
}

uint64_t Hash(absl::Span<const uint8_t> bytes) {
  uint64_t h = 0xcbf29ce484222325u;
  for (const uint8_t b : bytes) h = (h ^ b) * 0x100000001b3u;
  return h;
}

TensorView Draw(uint64_t seed, DType format, const TensorSpec& spec) {
  const auto weights = RandomWeights::Make(seed, format, {spec});
  EXPECT_TRUE(weights.ok()) << weights.status();
  const auto view = (*weights)->Find(spec.name);
  EXPECT_TRUE(view.ok()) << view.status();
  return *view;
}

TEST(RandomWeights, HaveTheSpreadThatKeepsActivationsSane) {
  constexpr int64_t kRows = 64, kCols = 1024;
  for (const DType format : kAllDTypes) {
    const TensorView t = Draw(1, format, {"w", kRows, kCols});
    ASSERT_EQ(t.bytes.size(), static_cast<size_t>(kRows * RowBytes(format, kCols)));
    double sum = 0, squares = 0;
    for (int64_t r = 0; r < kRows; ++r) {
      std::vector<float> values(kCols);
      WidenRow(format, t.bytes.data() + r * RowBytes(format, kCols), kCols, values.data());
      for (const double v : values) {
        sum += v;
        squares += v * v;
      }
    }
    const double n = kRows * kCols, wanted = 1.2 / std::sqrt(double{kCols});
    EXPECT_NEAR(std::sqrt(squares / n), wanted, 0.15 * wanted) << Name(format);
    // Where 32 values share a random minimum, they move together.
    const double independent = Info(format).block_values == kQuantSuperBlock ? n / 32 : n;
    EXPECT_NEAR(sum / n, 0, 5 * wanted / std::sqrt(independent)) << Name(format);
  }
}

TEST(RandomWeights, NormGainsLieBetweenOneHalfAndThreeHalves) {
  const TensorView t = Draw(1, DType::kQ4_0, {"norm", 1, 1000, true});
  EXPECT_EQ(t.dtype, DType::kF32);
  double sum = 0;
  for (int64_t c = 0; c < t.cols; ++c) {
    EXPECT_GE(ValueAt(t, 0, c), 0.5f);
    EXPECT_LT(ValueAt(t, 0, c), 1.5f);
    sum += ValueAt(t, 0, c);
  }
  EXPECT_NEAR(sum / 1000, 1.0, 0.05);
}

// A change of these bits makes every recorded run with random weights worthless.
TEST(RandomWeights, AreTheSameBitsOnEveryMachine) {
  const std::pair<DType, uint64_t> table[] = {
      {DType::kF32, 0xa1003dc265b6d318u},  {DType::kF16, 0xd73e28995f425f64u},
      {DType::kBF16, 0x7421c12b79b0b031u}, {DType::kQ8_0, 0x9b4068653ac3a6c6u},
      {DType::kQ4_0, 0xe7196c0cff7de8d7u}, {DType::kQ4_1, 0xf349f6f1a363b852u},
  };
  for (const auto& [format, hash] : table) {
    EXPECT_EQ(Hash(Draw(7, format, {"w", 3, 64}).bytes), hash) << Name(format);
  }
  EXPECT_EQ(Hash(Draw(7, DType::kBF16, {"w", 1, 64, true}).bytes), 0x9b958ec994a1466fu);
}

TEST(RandomWeights, DependOnSeedNameAndRowOnly) {
  const TensorSpec a{"a", 4, 256}, b{"b", 4, 256};
  for (const DType format : kAllDTypes) {
    const TensorView alone = Draw(1, format, a);
    const auto both = *RandomWeights::Make(1, format, {b, a});
    ASSERT_TRUE(both->Find("b").ok());
    EXPECT_EQ(alone.bytes, both->Find("a")->bytes) << Name(format);
    EXPECT_NE(alone.bytes, both->Find("b")->bytes) << Name(format);
    EXPECT_NE(alone.bytes, Draw(2, format, a).bytes) << Name(format);

    std::vector<uint8_t> rows(RowBytes(format, 256) * 2);
    DrawRows(1, a, format, 1, 3, rows.data());
    EXPECT_EQ(alone.bytes.subspan(RowBytes(format, 256), rows.size()), absl::MakeConstSpan(rows))
        << Name(format);
    EXPECT_NE(absl::MakeConstSpan(rows).subspan(0, RowBytes(format, 256)),
              absl::MakeConstSpan(rows).subspan(RowBytes(format, 256)));
  }
}

TEST(RandomWeights, RefuseRowsThatAreNotWholeBlocksAndNameTheTensor) {
  for (const DType format : kAllDTypes) {
    if (!IsQuantised(format)) continue;
    const absl::Status status = RandomWeights::Make(1, format, {{"w", 4, 172}}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(Message(status)), HasSubstr("tensor \"w\" has rows of 172"));
  }
  EXPECT_TRUE(RandomWeights::Make(1, DType::kQ4_0, {{"norm", 1, 172, true}}).ok());
  EXPECT_TRUE(RandomWeights::Make(1, DType::kBF16, {{"w", 4, 172}}).ok());
}

TEST(RandomWeights, SayWhereMemoryLacks) {
  const auto weights = *RandomWeights::Make(1, DType::kF32, {{"w", int64_t{1} << 40, 1 << 17}});
  EXPECT_EQ(weights->Find("w").status().code(), absl::StatusCode::kResourceExhausted);
}

TEST(RandomWeights, EightBitCodesLeaveOutMinus128) {
  const TensorView t = Draw(3, DType::kQ8_0, {"w", 64, 320});
  for (size_t i = 0; i < t.bytes.size(); ++i) {
    if (i % 34 >= 2) {
      EXPECT_NE(t.bytes[i], 0x80);
    }
  }
}

}  // namespace
}  // namespace catena
