#include "services/up/spawn.h"

#include <cerrno>
#include <csignal>
#include <cstring>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace catena::up {
namespace {

constexpr int kCannotRun = 127;  // the exit status of shells for the same

absl::Status SystemError(const char* what) {
  return absl::ResourceExhaustedError(
      fmt::format("{}: {}; are there too many processes or open files?", what, strerror(errno)));
}

struct Pipe {
  Fd read, write;
};

// Above kDrainFd, so that dup2 onto the child's descriptors meets none of ours. Takes fd.
Fd MoveUp(int fd) {
  const Fd low(fd);
  return Fd(fcntl(fd, F_DUPFD_CLOEXEC, kDrainFd + 1));
}

absl::StatusOr<Pipe> MakePipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return SystemError("pipe");
  Pipe pipe{MoveUp(ends[0]), MoveUp(ends[1])};
  if (pipe.read.get() < 0 || pipe.write.get() < 0) return SystemError("pipe");
  fcntl(pipe.read.get(), F_SETFL, O_NONBLOCK);
  return pipe;
}

struct ChildSetup {
  pid_t parent;
  int null, output, ready, drain;
  char* const* argv;
  std::string cannot_run;  // what it says where exec fails
};

// In the child, between fork and exec: only what POSIX calls async-signal-safe.
[[noreturn]] void BecomeChild(const ChildSetup& setup) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  // The parent may have ended before the line above: then no signal will come.
  if (getppid() != setup.parent) _exit(kCannotRun);
  dup2(setup.null, STDIN_FILENO);
  dup2(setup.output, STDOUT_FILENO);
  dup2(setup.output, STDERR_FILENO);
  dup2(setup.ready, kReadyFd);
  dup2(setup.drain, kDrainFd);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  execv(setup.argv[0], setup.argv);
  const ssize_t written = write(STDERR_FILENO, setup.cannot_run.data(), setup.cannot_run.size());
  (void)written;
  _exit(kCannotRun);
}

}  // namespace

Fd& Fd::operator=(Fd&& other) noexcept {
  if (this != &other) {
    Close();
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

void Fd::Close() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

absl::StatusOr<Child> Spawn(const std::vector<std::string>& argv) {
  CATENA_ASSIGN_OR_RETURN(Pipe output, MakePipe());
  CATENA_ASSIGN_OR_RETURN(Pipe ready, MakePipe());
  CATENA_ASSIGN_OR_RETURN(Pipe drain, MakePipe());
  const Fd null = MoveUp(open("/dev/null", O_RDWR | O_CLOEXEC));
  if (null.get() < 0) return SystemError("/dev/null");
  std::vector<char*> arguments;
  for (const std::string& a : argv) arguments.push_back(const_cast<char*>(a.c_str()));
  arguments.push_back(nullptr);
  const ChildSetup setup{.parent = getpid(),
                         .null = null.get(),
                         .output = output.write.get(),
                         .ready = ready.write.get(),
                         .drain = drain.write.get(),
                         .argv = arguments.data(),
                         .cannot_run = fmt::format("catena: cannot run {}\n", Quoted(argv[0]))};
  const pid_t pid = fork();
  if (pid < 0) return SystemError("fork");
  if (pid == 0) BecomeChild(setup);
  setpgid(pid, pid);  // here too: a signal to the group may be sent before the child runs
  Child child{.pid = pid,
              .exited = Fd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0))),
              .output = std::move(output.read),
              .ready = std::move(ready.read),
              .drain = std::move(drain.read)};
  if (child.exited.get() < 0) {
    const absl::Status why = SystemError("pidfd_open");
    kill(pid, SIGKILL);
    return why;
  }
  return child;
}

}  // namespace catena::up
