#include "services/up/supervisor.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

namespace catena::up {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kFirstDelay{100}, kLastDelay{5000};
constexpr std::string_view kErrorPrefix = "catena: ";  // see services/main.cc
constexpr int kUsageStatus = 2;

std::string HowItEnded(int wait_status) {
  if (!WIFSIGNALED(wait_status)) {
    return fmt::format("ended with exit status {}", WEXITSTATUS(wait_status));
  }
  const int signal = WTERMSIG(wait_status);
  return fmt::format("was killed by signal {} ({})", signal, strsignal(signal));
}

}  // namespace

milliseconds RestartDelay(int failed_starts) {
  if (failed_starts == 0) return milliseconds(0);
  return std::min(kLastDelay, kFirstDelay * (1 << std::min(failed_starts - 1, 16)));
}

Supervisor::Supervisor(std::vector<ProcessSpec> specs, SupervisorOptions options,
                       SupervisorListener* listener)
    : specs_(std::move(specs)), options_(options), listener_(listener), processes_(specs_.size()) {
  for (size_t i = 0; i < specs_.size(); ++i) {
    processes_[i].listen = specs_[i].listen;
    processes_[i].http = specs_[i].http;
    last_phase_ = std::max(last_phase_, specs_[i].stop_phase);
  }
}

Supervisor::~Supervisor() {
  for (Process& p : processes_) {
    if (p.child.pid < 0) continue;
    kill(p.child.pid, SIGKILL);
    waitpid(p.child.pid, nullptr, 0);
  }
}

absl::Status Supervisor::Run(int stop_fd) {
  for (size_t i = 0; i < processes_.size(); ++i) Start(static_cast<int>(i));
  while (!stopping_ || phase_ <= last_phase_) {
    Poll(stop_fd);
    if (stopping_) {
      StopPhase();
    } else {
      StartDue();
    }
  }
  return result_;
}

void Supervisor::Start(int i) {
  Process& p = processes_[i];
  p.start_at.reset();
  p.is_ready = false;
  p.error.clear();
  p.output = p.ready = LineReader();
  std::vector<std::string> argv = specs_[i].argv;
  argv.insert(argv.end(), {"--listen", p.listen, "--ready-fd", fmt::format("{}", kReadyFd),
                           "--drain-fd", fmt::format("{}", kDrainFd)});
  if (!p.http.empty()) argv.insert(argv.end(), {"--http", p.http});
  auto child = Spawn(argv);
  if (!child.ok()) return BeginStop(Annotate(child.status(), specs_[i].name));
  p.child = std::move(*child);
  listener_->OnStarted(i, p.child.pid);
}

void Supervisor::StartDue() {
  const Clock::time_point now = Clock::now();
  for (int i = 0; i < static_cast<int>(processes_.size()) && !stopping_; ++i) {
    const Process& p = processes_[i];
    if (!p.start_at) continue;
    // Those that it waited for may have died meanwhile.
    const bool needed = p.failed_starts == 0 && !OthersServe(i);
    if (needed || *p.start_at <= now) Start(i);
  }
}

bool Supervisor::OthersServe(int i) const {
  if (specs_[i].serves.empty()) return false;
  for (int other = 0; other < static_cast<int>(processes_.size()); ++other) {
    const Process& p = processes_[other];
    if (other == i || specs_[other].serves != specs_[i].serves) continue;
    if (p.child.pid >= 0 && p.is_ready) return true;
  }
  return false;
}

// Before it was ever ready, the line that ends a command is kept: it may end all of this.
void Supervisor::ReadOutput(int i) {
  Process& p = processes_[i];
  const bool more = p.output.Read(p.child.output.get(), [&](std::string_view line) {
    if (!p.was_ready && line.starts_with(kErrorPrefix)) {
      p.error = line.substr(kErrorPrefix.size());
    } else {
      listener_->OnLine(i, line);
    }
  });
  if (!more) p.child.output.Close();
}

void Supervisor::ReadReady(int i) {
  Process& p = processes_[i];
  const bool more = p.ready.Read(p.child.ready.get(), [&](std::string_view line) {
    if (p.is_ready) return;
    const size_t space = line.find(' ');
    p.listen = line.substr(0, space);
    if (space != std::string_view::npos) p.http = line.substr(space + 1);
    p.is_ready = p.was_ready = true;
    p.failed_starts = 0;
    listener_->OnReady(i, p.listen, p.http);
  });
  if (!more) p.child.ready.Close();
}

void Supervisor::HandleExit(int i) {
  Process& p = processes_[i];
  // What it wrote before it ended.
  if (p.child.ready.get() >= 0) ReadReady(i);
  if (p.child.output.get() >= 0) ReadOutput(i);
  int wait_status = 0;
  waitpid(p.child.pid, &wait_status, 0);
  char byte;
  const bool drained = read(p.child.drain.get(), &byte, 1) == 1;
  p.child = Child();
  if (stopping_) return;
  if (drained) return LeaveOut(i, wait_status);
  if (p.was_ready) return Restart(i, wait_status);
  HandleEarlyExit(i, wait_status);
}

void Supervisor::HandleEarlyExit(int i, int wait_status) {
  const Process& p = processes_[i];
  if (WIFSIGNALED(wait_status) && p.failed_starts + 1 < kMaxFirstStarts) {
    return Restart(i, wait_status);
  }
  const std::string why = fmt::format(
      "{}: {}", specs_[i].name,
      p.error.empty() ? HowItEnded(wait_status) + " before it was ready; see its lines above"
                      : p.error);
  const bool usage = WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == kUsageStatus;
  BeginStop(usage ? absl::InvalidArgumentError(why) : absl::FailedPreconditionError(why));
}

void Supervisor::Restart(int i, int wait_status) {
  Process& p = processes_[i];
  if (!p.is_ready) ++p.failed_starts;
  const bool may_wait = p.failed_starts == 0 && OthersServe(i);
  const milliseconds delay = may_wait ? kWhileOthersServe : RestartDelay(p.failed_starts);
  listener_->OnDied(i, HowItEnded(wait_status), delay);
  p.start_at = Clock::now() + delay;
}

void Supervisor::LeaveOut(int i, int wait_status) {
  listener_->OnDrained(i, HowItEnded(wait_status));
  const bool any = std::any_of(processes_.begin(), processes_.end(), [](const Process& p) {
    return p.child.pid >= 0 || p.start_at.has_value();
  });
  if (!any) BeginStop(absl::OkStatus());
}

void Supervisor::BeginStop(absl::Status why) {
  if (stopping_) return;
  stopping_ = true;
  result_ = std::move(why);
  for (Process& p : processes_) p.start_at.reset();
  Signal(phase_, SIGTERM);
  phase_ends_ = Clock::now() + options_.stop_bound;
}

void Supervisor::Signal(int phase, int signal) {
  for (size_t i = 0; i < processes_.size(); ++i) {
    if (processes_[i].child.pid < 0 || specs_[i].stop_phase != phase) continue;
    kill(processes_[i].child.pid, signal);
    kill(processes_[i].child.pid, SIGCONT);  // a stopped one would not see it
  }
}

bool Supervisor::Running(int phase) const {
  for (size_t i = 0; i < processes_.size(); ++i) {
    if (processes_[i].child.pid >= 0 && specs_[i].stop_phase == phase) return true;
  }
  return false;
}

// Goes on to the next phase once nothing of this one runs; past its bound, kills.
void Supervisor::StopPhase() {
  while (phase_ <= last_phase_ && !Running(phase_)) {
    ++phase_;
    Signal(phase_, SIGTERM);
    phase_ends_ = Clock::now() + options_.stop_bound;
  }
  if (phase_ <= last_phase_ && Clock::now() >= phase_ends_) {
    Signal(phase_, SIGKILL);
    phase_ends_ = Clock::now() + options_.stop_bound;
  }
}

void Supervisor::StopRequested(int stop_fd) {
  std::array<char, 128> event;  // a signalfd_siginfo has as many bytes
  if (read(stop_fd, event.data(), event.size()) < 0) return;
  if (!stopping_) return BeginStop(absl::OkStatus());
  for (int phase = phase_; phase <= last_phase_; ++phase) Signal(phase, SIGKILL);
}

int Supervisor::PollTimeoutMs() const {
  std::optional<Clock::time_point> next;
  if (stopping_) next = phase_ends_;
  for (const Process& p : processes_) {
    if (p.start_at && (!next || *p.start_at < *next)) next = p.start_at;
  }
  if (!next) return -1;
  const auto left = std::chrono::ceil<milliseconds>(*next - Clock::now());
  return static_cast<int>(std::max<int64_t>(0, left.count()));
}

void Supervisor::Poll(int stop_fd) {
  struct Source {
    int process;
    void (Supervisor::*handle)(int process);
  };
  std::vector<pollfd> fds = {{stop_fd, POLLIN, 0}};
  std::vector<Source> sources = {{}};
  auto add = [&](int process, const Fd& fd, void (Supervisor::*handle)(int)) {
    if (fd.get() < 0) return;
    fds.push_back({fd.get(), POLLIN, 0});
    sources.push_back({process, handle});
  };
  for (size_t i = 0; i < processes_.size(); ++i) {
    const Child& child = processes_[i].child;
    add(static_cast<int>(i), child.output, &Supervisor::ReadOutput);
    add(static_cast<int>(i), child.ready, &Supervisor::ReadReady);
    add(static_cast<int>(i), child.exited, &Supervisor::HandleExit);
  }
  if (poll(fds.data(), fds.size(), PollTimeoutMs()) < 0) return;  // EINTR: asked again
  for (size_t k = 1; k < fds.size(); ++k) {
    if (fds[k].revents != 0) (this->*sources[k].handle)(sources[k].process);
  }
  if (fds[0].revents != 0) StopRequested(stop_fd);
}

}  // namespace catena::up
