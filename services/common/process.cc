#include "services/common/process.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <random>

#include <unistd.h>

#include "model/rope_frequencies.h"

namespace catena {
namespace {

constexpr int kAsk = SIGUSR1;

}  // namespace

StopSignals::StopSignals() {
  sigemptyset(&signals_);
  sigaddset(&signals_, SIGINT);
  sigaddset(&signals_, SIGTERM);
  waited_ = signals_;
  sigaddset(&waited_, kAsk);
  pthread_sigmask(SIG_BLOCK, &waited_, nullptr);
}

void StopSignals::Wait() {
  int signal = 0;
  while (sigwait(&waited_, &signal) != 0) {
  }
}

void StopSignals::Ask() { kill(getpid(), kAsk); }

bool StopSignals::WaitUntil(const std::function<bool()>& done, std::chrono::milliseconds most) {
  constexpr timespec kPause{.tv_sec = 0, .tv_nsec = 10'000'000};
  const auto end = std::chrono::steady_clock::now() + most;
  while (!done()) {
    if (std::chrono::steady_clock::now() >= end) return false;
    if (sigtimedwait(&signals_, nullptr, &kPause) > 0) return false;
  }
  return true;
}

absl::Status ReportReady(int fd, const std::string& address, const std::string& http_address) {
  if (fd < 0) return absl::OkStatus();
  const std::string line = address + (http_address.empty() ? "" : " " + http_address) + "\n";
  const ssize_t written = write(fd, line.data(), line.size());
  close(fd);
  if (written == static_cast<ssize_t>(line.size())) return absl::OkStatus();
  return absl::UnavailableError(
      fmt::format("--ready-fd {}: cannot write to it: {}", fd, std::strerror(errno)));
}

void ReportDrain(int fd) {
  if (fd < 0) return;
  constexpr std::string_view kLine = "draining\n";
  const ssize_t written = write(fd, kLine.data(), kLine.size());
  close(fd);
  (void)written;  // whoever does not read it does not care
}

Incarnation NewIncarnation() {
  std::random_device random;
  Incarnation incarnation = 0;
  while (incarnation == 0) incarnation = (uint64_t{random()} << 32) | random();
  return incarnation;
}

std::string ReleaseVersion() { return CATENA_VERSION; }

ReplicaInfo DescribeProcess(Role role, const std::string& address, Incarnation incarnation) {
  char host[256] = {};
  gethostname(host, sizeof host - 1);
  ReplicaInfo info;
  info.replica = {.address = address, .incarnation = incarnation};
  info.role = role;
  info.version = ReleaseVersion();
  info.host = host;
  info.pid = getpid();
  return info;
}

std::string ModelNameOf(const std::string& path) {
  const std::filesystem::path normal = std::filesystem::path(path).lexically_normal();
  const std::string own = normal.filename().string();
  return own.empty() ? normal.parent_path().filename().string() : own;
}

ModelInfo DescribeModel(const std::string& name, const std::string& path,
                        const std::string& fingerprint, const ModelConfig& config,
                        int64_t context) {
  return {.name = name.empty() ? ModelNameOf(path) : name,
          .fingerprint = fingerprint,
          .n_layers = config.n_layers,
          .vocab_size = config.vocab_size,
          .hidden_size = config.hidden_size,
          .context_length = context,
          .rotary_switch = RotarySwitch(config)};
}

}  // namespace catena
