// Ctrl-C as a flag: the first asks the work to end at the next step, the second ends the process.
#pragma once

#include <atomic>
#include <csignal>
#include <string>

namespace catena::cli {

// Installs the handlers of SIGINT and SIGTERM, once; true after either.
const std::atomic<bool>& InterruptFlag();

// Lowers the flag: the next signal is the first again.
void ClearInterrupt();

// While it lives, a signal that ends the process removes a file first: the second of those above,
// and SIGHUP, where it is not ignored (nohup). One at a time.
class RemovedWhenKilled {
 public:
  explicit RemovedWhenKilled(std::string path);
  ~RemovedWhenKilled();
  RemovedWhenKilled(const RemovedWhenKilled&) = delete;
  RemovedWhenKilled& operator=(const RemovedWhenKilled&) = delete;

 private:
  const std::string path_;
  struct sigaction hangup_ {};  // as it was
};

// The exit status of what was interrupted: 128 + SIGINT, as shells expect.
inline constexpr int kInterruptedStatus = 130;

}  // namespace catena::cli
