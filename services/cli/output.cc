#include "services/cli/output.h"

#include <cerrno>
#include <cstdio>

#include <sys/resource.h>

namespace catena::cli {

absl::Status Write(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0) {
    return absl::OkStatus();
  }
  if (errno == EINTR) return absl::CancelledError("interrupted");
  return absl::UnavailableError("stdout cannot be written; is the disk full or the reader gone?");
}

absl::Status WriteJson(const nlohmann::ordered_json& object) {
  return Write(object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

int64_t PeakMemoryBytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

std::string HumanBytes(int64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  int unit = 0;
  while (value >= 1024 && unit < 4) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

}  // namespace catena::cli
