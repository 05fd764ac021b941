// Time as the cores see it: a value that their driver hands in. They never read a clock, so a test
// can run a day in a second and twice alike.
#pragma once

#include <chrono>

namespace catena {

using Instant = std::chrono::steady_clock::time_point;
using Nanoseconds = std::chrono::nanoseconds;

// As people and monitoring read it.
inline double ToSeconds(Nanoseconds time) { return std::chrono::duration<double>(time).count(); }

}  // namespace catena
