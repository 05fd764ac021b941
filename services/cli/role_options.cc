#include "services/cli/role_options.h"

#include <charconv>
#include <fstream>
#include <limits>

#include <spdlog/spdlog.h>
#include <unistd.h>

namespace catena::cli {

void LogWarning(const std::string& line) { spdlog::warn("{}", line); }

namespace {

bool IsUnix(const std::string& text) { return text.rfind("unix:", 0) == 0; }

bool IsHostAndPort(const std::string& text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0) return false;
  int port = -1;
  const char* end = text.data() + text.size();
  const auto read = std::from_chars(text.data() + colon + 1, end, port);
  return read.ec == std::errc() && read.ptr == end && 0 <= port && port < 65536;
}

}  // namespace

std::string CheckListenAddress(const std::string& text) {
  if (IsUnix(text) ? text.size() > 5 : IsHostAndPort(text)) return "";
  return fmt::format("{} is no address; write host:port or unix:/path", Quoted(text));
}

std::string CheckHttpAddress(const std::string& text) {
  if (!IsUnix(text) && IsHostAndPort(text)) return "";
  return fmt::format("{} is no address; write host:port", Quoted(text));
}

std::string CheckBytes(const std::string& text) {
  const absl::Status status = ParseBytes("", text).status();
  return status.ok() ? "" : fmt::format("{}: write bytes as 512MiB or 2GiB", Quoted(text));
}

void RoleOptions::Declare(App& app) {
  app.AddOption("--listen", &listen, "host:port (port 0: any) or unix:/path (default 127.0.0.1:0)")
      .Check(CheckListenAddress);
  app.AddOption("--ready-fd", &ready_fd, "Write the address to this descriptor once it serves")
      .Range(3, 1 << 20);
  app.AddOption("--drain-fd", &drain_fd, "Write a line to this one when `catena drain` ends it")
      .Range(3, 1 << 20);
  app.AddOption("--log-level", &log_level, "trace, debug, info (default), warn, error or off");
  app.AddOption("--grace", &grace_s, "Seconds that what runs may go on on SIGTERM (default 20)")
      .Range(0, 3600);
  app.AddOption("--log-format", &log_format, "text (default) or json, one object a line")
      .OneOf({"text", "json"});
  app.AddOption("--http", &http,
                "host:port (port 0: any) of /metrics, /livez and /readyz (default: none)")
      .Check(CheckHttpAddress);
  app.AddOption("--tls-cert", &tls.certificate, "PEM file: this process's certificate");
  app.AddOption("--tls-key", &tls.key, "PEM file: its key");
  app.AddOption("--tls-ca", &tls.authority, "PEM file: the authority that peers must be of");
}

LogOptions RoleOptions::Log(const std::string& role) const {
  return {.role = role, .level = log_level, .format = log_format};
}

std::function<void()> BeginDrain(const RoleOptions& options, StopSignals* stop) {
  return [fd = options.drain_fd, stop] {
    spdlog::info("asked to drain");
    ReportDrain(fd);
    stop->Ask();
  };
}

void StageOptionsOfRole::Declare(App& app) {
  model.Declare(app);
  app.AddOption("--name", &name, "What clients call the model (default: its file's name)");
  app.AddOption("--context", &context, "Positions a sequence may have (default: the model's)")
      .Positive();
  compute.Declare(app);
  detection.DeclareForStage(app);
  role.Declare(app);
}

absl::StatusOr<int64_t> StageOptionsOfRole::Context(const ModelConfig& config) const {
  if (context > config.context_length) {
    return absl::InvalidArgumentError(
        fmt::format("--context {}: the model's context is {}", context, config.context_length));
  }
  return context > 0 ? context : config.context_length;
}

absl::StatusOr<int64_t> ParseBytes(std::string_view flag, std::string_view text) {
  constexpr std::pair<std::string_view, int64_t> kUnits[] = {{"", 1},
                                                             {"KiB", int64_t{1} << 10},
                                                             {"MiB", int64_t{1} << 20},
                                                             {"GiB", int64_t{1} << 30},
                                                             {"TiB", int64_t{1} << 40}};
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view rest(end, static_cast<size_t>(text.data() + text.size() - end));
  for (const auto& [unit, factor] : kUnits) {
    const double bytes = number * static_cast<double>(factor);
    if (error == std::errc() && rest == unit && 1 <= bytes && bytes < 1e15) {
      return static_cast<int64_t>(bytes);
    }
  }
  return absl::InvalidArgumentError(
      fmt::format("{} {}: write bytes as 512MiB or 2GiB", flag, Quoted(text)));
}

int64_t DefaultKvBytes() {
  int64_t bytes = int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
  int64_t limit = std::numeric_limits<int64_t>::max();
  if (std::ifstream file("/sys/fs/cgroup/memory.max"); file >> limit) {
    bytes = std::min(bytes, limit);
  }
  return bytes / 4;
}

}  // namespace catena::cli
