#include "kernels/peak/machine_peak.h"

#include <cmath>
#include <cstring>
#include <numeric>
#include <type_traits>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/peak/loops.h"

namespace catena {
namespace {

using namespace cpu::peak;

constexpr int64_t kRounds = 37;

float Value(float v) { return v; }
int32_t Value(uint8_t v) { return v; }
int32_t Value(int8_t v) { return v; }
float Value(uint16_t bfloat16) {
  const uint32_t bits = uint32_t{bfloat16} << 16;
  float v;
  std::memcpy(&v, &bits, sizeof v);
  return v;
}

// `v`, a small whole number, as a T.
template <class T>
T Operand(int v) {
  if constexpr (std::is_same_v<T, uint16_t>) {
    const auto value = static_cast<float>(v);
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return static_cast<uint16_t>(bits >> 16);
  }
  return static_cast<T>(v);
}

// All numbers are whole and small, so each instruction's own order and rounding give the same sums.
template <class Loop>
void ExpectSumsOfPlainLoops(const Loop& loop) {
  SCOPED_TRACE(loop.instructions);
  const int values = loop.lanes * Loop::kGroup;
  std::vector<typename Loop::A> a;
  std::vector<typename Loop::B> b;
  for (int i = 0; i < values; ++i) {
    a.push_back(Operand<typename Loop::A>(1 + i * 7 % 101));
    b.push_back(Operand<typename Loop::B>(i * 5 % 61 - 30));
  }
  std::vector<typename Loop::Sum> sums(kSums * loop.lanes);
  std::iota(sums.begin(), sums.end(), 1);  // no chain is another's copy
  std::vector<typename Loop::Sum> want = sums;
  for (int64_t round = 0; round < kRounds; ++round) {
    for (size_t sum = 0; sum < want.size(); ++sum) {
      const size_t first = sum % loop.lanes * Loop::kGroup;
      for (size_t i = first; i < first + Loop::kGroup; ++i) want[sum] += Value(a[i]) * Value(b[i]);
    }
  }
  loop.run(kRounds, a.data(), b.data(), sums.data());
  EXPECT_EQ(sums, want);
  EXPECT_EQ(loop.macs_per_round(), static_cast<int64_t>(sums.size()) * Loop::kGroup);
}

TEST(PeakLoops, EveryInstructionSetMultipliesAndAddsAsAPlainLoopDoes) {
  for (const F32Loop& loop : F32Loops()) ExpectSumsOfPlainLoops(loop);
  for (const Int8Loop& loop : Int8Loops()) ExpectSumsOfPlainLoops(loop);
  for (const Bf16Loop& loop : Bf16Loops()) ExpectSumsOfPlainLoops(loop);
}

TEST(PeakLoops, EveryInstructionSetReadsEveryByte) {
  constexpr int64_t kSteps = 5, kWords = kSteps * kReadStepBytes / 8;
  alignas(64) uint64_t words[kWords];
  uint64_t want = 0;
  for (int64_t i = 0; i < kWords; ++i) {
    words[i] = 0x9E3779B97F4A7C15u * static_cast<uint64_t>(i + 1);
    want += words[i];
  }
  for (const ReadLoop& loop : ReadLoops()) {
    SCOPED_TRACE(loop.instructions);
    const auto* bytes = reinterpret_cast<const uint8_t*>(words);
    EXPECT_EQ(loop.sum(bytes, sizeof words), want);
    EXPECT_EQ(loop.sum_prefetched(bytes, sizeof words), want);
  }
}

// A core comes nowhere near 10^13 bytes or MACs a second; a loop that the compiler had elided
// would.
void ExpectPlausible(const Peak& peak, int threads) {
  EXPECT_TRUE(std::isfinite(peak.per_second));
  EXPECT_GT(peak.per_second, 0);
  EXPECT_LT(peak.per_second, 1e13 * threads);
  EXPECT_FALSE(peak.instructions.empty());
}

TEST(MachinePeak, EveryFigureOfEveryThreadCountIsPositiveAndFinite) {
  const auto peaks = MeasureMachinePeak(
      {.threads = {1, 3}, .seconds_each = 0.001, .read_bytes = (int64_t{8} << 20) + 1});
  ASSERT_TRUE(peaks.ok()) << peaks.status();
  ASSERT_EQ(peaks->size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    const MachinePeak& peak = (*peaks)[i];
    EXPECT_EQ(peak.threads, i == 0 ? 1 : 3);
    ExpectPlausible(peak.read_bytes, peak.threads);
    ExpectPlausible(peak.f32_macs, peak.threads);
    ExpectPlausible(peak.int8_macs, peak.threads);
    EXPECT_EQ(peak.bf16_macs.has_value(), !Bf16Loops().empty());
    if (peak.bf16_macs) ExpectPlausible(*peak.bf16_macs, peak.threads);
  }
}

TEST(MachinePeak, MemoryThatIsNotThereEndsInAMessageThatSaysWhatToDo) {
  const auto peaks = MeasureMachinePeak({.read_bytes = int64_t{1} << 45});
  EXPECT_EQ(peaks.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(Message(peaks.status()).find("give fewer threads"), std::string_view::npos);
}

}  // namespace
}  // namespace catena
