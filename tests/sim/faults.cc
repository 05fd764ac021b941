#include "tests/sim/faults.h"

#include <fmt/format.h>

namespace catena::sim {

std::string ToString(const Fault& f) {
  constexpr const char* kNames[] = {"kill",   "drain",   "hang",  "slow",
                                    "refuse", "silence", "delay", "break"};
  const auto ms = [](Nanoseconds t) { return static_cast<double>(t.count()) / 1e6; };
  std::string where = fmt::format("{}", f.process);
  if (f.of_edge()) where += fmt::format("->{}", f.other);
  return fmt::format("{} {} at {} ms for {} ms, factor {}", kNames[static_cast<int>(f.kind)], where,
                     ms(f.at), ms(f.lasts), f.factor);
}

}  // namespace catena::sim
