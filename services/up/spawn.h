// Child processes that cannot outlive us: the kernel kills them when the thread that spawned them
// ends, however it ends. Each is the leader of a process group of its own, so that a terminal's
// Ctrl-C reaches us and not them; stdin is empty, stdout and stderr are one pipe that we read.
//
// Thread rules: Spawn on the thread that will live as long as the children.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <sys/types.h>

#include "kernels/base/status.h"

namespace catena::up {

// A file descriptor that is closed with its owner; -1 is none.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept;
  ~Fd() { Close(); }
  int get() const { return fd_; }
  void Close();

 private:
  int fd_ = -1;
};

// The descriptors of a child on which it says that it serves, and that it drains.
inline constexpr int kReadyFd = 3, kDrainFd = 4;

struct Child {
  pid_t pid = -1;
  Fd exited;  // readable once it has ended; it is then to be reaped by waitpid
  Fd output;  // its stdout and stderr, not blocking
  Fd ready;   // what it writes to kReadyFd, not blocking
  Fd drain;   // what it writes to kDrainFd, not blocking
};

// Runs argv[0], a path, with arguments argv. Where that cannot be run, the child says so in its
// output and ends with 127. Ours that are not close-on-exec would reach the child: there are none.
absl::StatusOr<Child> Spawn(const std::vector<std::string>& argv);

}  // namespace catena::up
