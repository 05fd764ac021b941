// Ctrl-C as a flag: the first asks the work to end at the next step, the second ends the process.
#pragma once

#include <atomic>

namespace catena::cli {

// Installs the handlers of SIGINT and SIGTERM, once; true after either.
const std::atomic<bool>& InterruptFlag();

// Lowers the flag and takes the next signal again.
void ClearInterrupt();

// The exit status of what was interrupted: 128 + SIGINT, as shells expect.
inline constexpr int kInterruptedStatus = 130;

}  // namespace catena::cli
