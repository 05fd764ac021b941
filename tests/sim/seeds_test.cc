// Thousands of small clusters, each drawn from a seed with all that may go wrong. Every one must
// keep what the checkers ask, and together they must have taken every branch that is marked in the
// protocol's code (runtime/chain/reached.h): what was never reached was never tested.
//
// SIM_SEEDS  how many (20000)
// SIM_SEED   this one alone, which is made smaller if it fails, and its story told
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <thread>

#include <gtest/gtest.h>

#include "runtime/chain/reached.h"
#include "tests/sim/scenario.h"

namespace catena::sim {
namespace {

constexpr uint64_t kSeeds = 20'000;
// After so many the others would tell little more.
constexpr size_t kMaxFailures = 3;

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

// What several threads find out.
struct Findings {
  std::mutex mutex;
  std::vector<uint64_t> failures;  // seeds
  ReachedCounts reached{};
};

void RunSeeds(uint64_t count, std::atomic<uint64_t>* next, Findings* findings) {
  std::vector<uint64_t> failures;
  for (uint64_t seed; (seed = ++*next) <= count;) {
    if (Run(ScenarioOf(seed)).empty()) continue;
    const std::lock_guard lock(findings->mutex);
    findings->failures.push_back(seed);
    if (findings->failures.size() >= kMaxFailures) *next = count;
  }
  const std::lock_guard lock(findings->mutex);
  for (size_t i = 0; i < kBranches; ++i) findings->reached[i] += reached[i];
}

void ExpectGood(uint64_t seed, bool with_story) {
  const Scenario scenario = ScenarioOf(seed);
  const std::string problems = Run(scenario);
  if (problems.empty()) return;
  Scenario smallest = Shrink(scenario);
  std::string story;
  if (with_story) smallest.world.network.story = &story;
  const std::string smaller = Run(smallest);
  ADD_FAILURE() << "SIM_SEED=" << seed << "\n"
                << ToString(scenario) << problems << "\nand smaller:\n"
                << story << ToString(smallest) << smaller;
}

TEST(Seeds, EveryClusterKeepsItsPromisesAndEveryBranchIsReached) {
  if (const uint64_t seed = FromEnvironment("SIM_SEED", 0); seed != 0) {
    return ExpectGood(seed, true);
  }
  const uint64_t count = FromEnvironment("SIM_SEEDS", kSeeds);
  std::atomic<uint64_t> next = 0;
  Findings findings;
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < std::max(1u, std::thread::hardware_concurrency()); ++i) {
    threads.emplace_back(RunSeeds, count, &next, &findings);
  }
  for (std::thread& thread : threads) thread.join();
  for (const uint64_t seed : findings.failures) ExpectGood(seed, false);
  for (size_t i = 0; i < kBranches; ++i) {
    std::printf("%12llu  %s\n", static_cast<unsigned long long>(findings.reached[i]),
                kBranchNames[i].data());
    EXPECT_GT(findings.reached[i], 0u) << kBranchNames[i] << " was never reached";
  }
}

}  // namespace
}  // namespace catena::sim
