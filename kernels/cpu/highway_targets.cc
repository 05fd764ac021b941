// Which instruction sets this machine has, as Highway's dispatch asks for it. libhwy would say the
// same; Debian has it as a shared object only, and nothing else of it is needed.
#include "hwy/targets.h"

namespace hwy {
namespace {

int64_t mocked = 0;  // for tests; 0: none

// The groups of hwy/detect_targets.h.
int64_t Detect() {
  int64_t targets = 0;
  if (!__builtin_cpu_supports("ssse3")) return targets;
  targets |= HWY_SSSE3;
  if (!__builtin_cpu_supports("sse4.1") || !__builtin_cpu_supports("sse4.2")) return targets;
  targets |= HWY_SSE4;
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  if (!avx2) return targets;
  targets |= HWY_AVX2;
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512cd");
  return avx512 ? targets | HWY_AVX3 : targets;
}

}  // namespace

int64_t SupportedTargets() {
  static const int64_t detected = Detect();
  return (mocked != 0 ? mocked : detected) | HWY_EMU128 | HWY_SCALAR;  // every machine has these
}

void SetSupportedTargetsForTest(int64_t targets) { mocked = targets; }

ChosenTarget& GetChosenTarget() {
  static ChosenTarget chosen;
  return chosen;
}

}  // namespace hwy
