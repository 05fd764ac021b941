// The simulator is only worth what it finds: each fault that can be planted in the protocol
// (runtime/chain/planted.h) must be found within as many seeds as a run of seeds_test has.
//
// A fault may make a core stop the process by a CHECK, so each is looked for in a process of its
// own.
#include "runtime/chain/planted.h"

#include <cstdio>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sim/scenario.h"

namespace catena::sim {
namespace {

constexpr uint64_t kSeeds = 20'000;
constexpr unsigned kMostSeconds = 240;
constexpr int kFound = 0, kNotFound = 1;

// In the child: the exit status.
int LookFor(Planted fault) {
  planted = fault;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const std::string problems = Run(ScenarioOf(seed));
    if (problems.empty()) continue;
    std::printf("%-26s seed %llu: %s", kPlantedNames[static_cast<size_t>(fault)].data(),
                static_cast<unsigned long long>(seed), problems.c_str());
    std::fflush(stdout);
    return kFound;
  }
  return kNotFound;
}

class PlantedTest : public ::testing::TestWithParam<size_t> {};

TEST_P(PlantedTest, IsFound) {
  std::fflush(stdout);
  const pid_t child = fork();
  ASSERT_NE(child, -1);
  if (child == 0) {
    alarm(kMostSeconds);
    _exit(LookFor(static_cast<Planted>(GetParam())));
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  const bool stopped_by_check = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
  if (stopped_by_check) std::printf("%s: a CHECK\n", kPlantedNames[GetParam()].data());
  EXPECT_TRUE(stopped_by_check || (WIFEXITED(status) && WEXITSTATUS(status) == kFound))
      << "not found within " << kSeeds << " seeds and " << kMostSeconds << " s, status " << status;
}

INSTANTIATE_TEST_SUITE_P(All, PlantedTest, ::testing::Range<size_t>(0, kPlantedNames.size()),
                         [](const auto& info) { return std::string(kPlantedNames[info.param]); });

}  // namespace
}  // namespace catena::sim
