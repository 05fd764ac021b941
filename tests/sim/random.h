// The one source of chance of a simulated run: the same seed gives the same run.
//
// Thread rules: one thread.
#pragma once

#include <cstdint>
#include <random>

#include "runtime/chain/instant.h"

namespace catena::sim {

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed * 0x9e3779b97f4a7c15u + 1) {}

  uint64_t Bits() { return engine_(); }
  // [0, 1)
  double Uniform() { return static_cast<double>(engine_() >> 11) * 0x1p-53; }
  bool Chance(double p) { return p > 0 && Uniform() < p; }
  // [0, n). REQUIRES: n > 0.
  int64_t Below(int64_t n) { return static_cast<int64_t>(engine_() % static_cast<uint64_t>(n)); }
  // [low, high]
  int64_t Between(int64_t low, int64_t high) { return low + Below(high - low + 1); }
  // [0, most)
  Nanoseconds UpTo(Nanoseconds most) {
    return Nanoseconds(static_cast<int64_t>(Uniform() * static_cast<double>(most.count())));
  }

 private:
  std::mt19937_64 engine_;
};

}  // namespace catena::sim
