#include "kernels/base/cores.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <thread>

#include <sched.h>

namespace catena {
namespace {

int AffinityCores() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  return static_cast<int>(std::thread::hardware_concurrency());  // more CPUs than the set holds
}

// cgroup v2: "QUOTA PERIOD" in microseconds, or "max PERIOD".
double QuotaCores() {
  std::FILE* f = std::fopen("/sys/fs/cgroup/cpu.max", "r");
  if (f == nullptr) return INFINITY;
  double quota = 0, period = 0;
  const int read = std::fscanf(f, "%lf %lf", &quota, &period);
  std::fclose(f);
  return read == 2 && quota > 0 && period > 0 ? quota / period : INFINITY;
}

}  // namespace

int UsableCores() {
  const double cores = std::min<double>(AffinityCores(), std::ceil(QuotaCores()));
  return std::max(1, static_cast<int>(cores));
}

}  // namespace catena
