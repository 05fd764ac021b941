// exp, log and the vector passes: near libm, and the same bits on every machine and vector target.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include "model/sampler/exact_math.h"
#include "model/sampler/vocab_ops.h"

namespace catena {
namespace {

int64_t UlpsApart(double a, double b) {
  return std::abs(std::bit_cast<int64_t>(a) - std::bit_cast<int64_t>(b));
}

double RandomIn(std::mt19937_64* rng, double low, double high) {
  return low + (high - low) * static_cast<double>((*rng)() >> 11) * 0x1p-53;
}

TEST(ExactMath, ExpIsWithinTwoUlpsOfLibm) {
  std::mt19937_64 rng(1);
  for (double range : {1e-9, 0.3, 1.0, 30.0, 700.0}) {
    for (int i = 0; i < 100000; ++i) {
      const double x = RandomIn(&rng, -range, range);
      ASSERT_LE(UlpsApart(exact::Exp(x), std::exp(x)), 2) << x;
    }
  }
}

TEST(ExactMath, ExpAtTheEdges) {
  EXPECT_EQ(exact::Exp(0.0), 1.0);
  EXPECT_EQ(exact::Exp(-0.0), 1.0);
  EXPECT_EQ(exact::Exp(-std::numeric_limits<double>::infinity()), 0.0);
  EXPECT_EQ(exact::Exp(-1e300), 0.0);
  EXPECT_EQ(exact::Exp(std::nextafter(-708.0, -709.0)), 0.0);
  EXPECT_LE(UlpsApart(exact::Exp(-708.0), std::exp(-708.0)), 2);
  EXPECT_LE(UlpsApart(exact::Exp(709.0), std::exp(709.0)), 2);
}

TEST(ExactMath, LogIsWithinTwoUlpsOfLibm) {
  std::mt19937_64 rng(2);
  EXPECT_EQ(exact::Log(1.0), 0.0);
  for (auto [low, high] : {std::pair{0.999, 1.001}, {0.5, 2.0}, {1.0, 3e5}, {1e-300, 1e-290}}) {
    for (int i = 0; i < 100000; ++i) {
      const double x = RandomIn(&rng, low, high);
      ASSERT_LE(UlpsApart(exact::Log(x), std::log(x)), 2) << x;
    }
  }
  EXPECT_NEAR(exact::Log(std::numeric_limits<double>::max()), 709.782712893384, 1e-12);
}

// FNV-1a over the bits of many results. A change here changes what running requests draw.
template <typename F>
uint64_t HashResults(F f, double low, double high) {
  std::mt19937_64 rng(3);
  uint64_t hash = 0xcbf29ce484222325;
  for (int i = 0; i < 100000; ++i) {
    hash = (hash ^ std::bit_cast<uint64_t>(f(RandomIn(&rng, low, high)))) * 0x100000001b3;
  }
  return hash;
}

TEST(ExactMath, BitsAreTheSameOnEveryMachine) {
  EXPECT_EQ(HashResults(exact::Exp, -50, 5), 13694351480405073026u);
  EXPECT_EQ(HashResults(exact::Log, 1e-9, 1e6), 11960117699254801688u);
}

// Runs `check` once for each vector target that this machine has, by name.
template <typename F>
void ForEachTarget(F check) {
  for (int64_t targets = hwy::SupportedTargets(); targets != 0; targets &= targets - 1) {
    const int64_t target = targets & -targets;
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    check();
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

std::vector<float> RandomLogits(size_t n, uint32_t seed) {
  std::mt19937_64 rng(seed);
  std::vector<float> logits(n);
  for (float& z : logits) z = static_cast<float>(RandomIn(&rng, -40, 20));
  if (n > 5) logits[n / 2] = -std::numeric_limits<float>::infinity();  // a masked one
  return logits;
}

TEST(VocabOps, WeightsAreTheScalarExpOnEveryTarget) {
  ForEachTarget([] {
    for (size_t n : {1, 3, 7, 8, 9, 64, 255, 1000}) {
      const std::vector<float> logits = RandomLogits(n, n);
      const double max = *std::max_element(logits.begin(), logits.end());
      std::vector<double> weights(n);
      SoftmaxWeights(logits, max, 1 / 0.7, weights.data());
      for (size_t i = 0; i < n; ++i) {
        ASSERT_EQ(weights[i], exact::Exp((logits[i] - max) * (1 / 0.7))) << i;
      }
    }
  });
}

TEST(VocabOps, TheTotalWeightHasTheSameBitsOnEveryTarget) {
  for (size_t n : {1, 255, 256, 257, 5000}) {
    const std::vector<float> logits = RandomLogits(n, n);
    const double max = *std::max_element(logits.begin(), logits.end());
    const double total = TotalWeight(logits, max, 1.0);
    double plain = 0;
    for (float z : logits) plain += std::exp(z - max);
    EXPECT_NEAR(total, plain, 1e-12 * plain);
    ForEachTarget([&] {
      std::vector<double> blocks;
      EXPECT_EQ(TotalWeight(logits, max, 1.0, &blocks), total);
      EXPECT_EQ(blocks.size(), (n + 255) / 256);
    });
  }
}

TEST(VocabOps, TheScanFindsTheFirstMaximumAndWhatIsNotFinite) {
  ForEachTarget([] {
    LogitScan scan;
    for (size_t n : {1, 5, 63, 64, 65, 128, 500}) {
      for (size_t at = 0; at < n; at += 7) {
        std::vector<float> logits = RandomLogits(n, at);
        logits[n / 2] = -100;
        logits[at] = 50;
        logits[n - 1] = 50;
        ScanLogits(logits, &scan);
        ASSERT_TRUE(scan.finite);
        ASSERT_EQ(scan.argmax, static_cast<int32_t>(at));
        ASSERT_EQ(scan.max, 50);
        for (size_t g = 0; g < scan.group_max.size(); ++g) {
          const size_t end = std::min(n, (g + 1) * kLogitGroup);
          ASSERT_EQ(scan.group_max[g],
                    *std::max_element(logits.begin() + g * kLogitGroup, logits.begin() + end));
        }
        for (float bad :
             {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
              -std::numeric_limits<float>::infinity()}) {
          std::vector<float> broken = logits;
          broken[at] = bad;
          ScanLogits(broken, &scan);
          ASSERT_FALSE(scan.finite) << n << " " << at << " " << bad;
        }
      }
    }
  });
}

}  // namespace
}  // namespace catena
