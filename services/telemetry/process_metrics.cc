#include "services/telemetry/process_metrics.h"

#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>

#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

namespace catena {
namespace {

// Of /proc/self/stat (proc(5)), what follows the command's name: field 3 is the first here.
struct Stat {
  double start_ticks = 0;  // since the machine's start
  double virtual_bytes = 0;
  double resident_pages = 0;
  double threads = 0;
};

std::optional<Stat> ReadStat() {
  std::ifstream file("/proc/self/stat");
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  std::istringstream fields(line.substr(line.rfind(')') + 1));
  Stat stat;
  std::string skipped;
  for (int field = 3; field <= 24; ++field) {
    double* const wanted = field == 20   ? &stat.threads
                           : field == 22 ? &stat.start_ticks
                           : field == 23 ? &stat.virtual_bytes
                           : field == 24 ? &stat.resident_pages
                                         : nullptr;
    wanted == nullptr ? fields >> skipped : fields >> *wanted;
  }
  if (!fields) return std::nullopt;
  return stat;
}

// Since 1970.
std::optional<double> MachineStartSeconds() {
  std::ifstream file("/proc/stat");
  std::string key;
  double seconds = 0;
  while (file >> key) {
    if (key == "btime" && file >> seconds) return seconds;
    std::getline(file, key);
  }
  return std::nullopt;
}

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// -1: unknown.
double OpenFiles() {
  std::error_code error;
  double count = -1;  // the descriptor of the folder itself
  for (auto it = std::filesystem::directory_iterator("/proc/self/fd", error);
       !error && it != std::filesystem::directory_iterator(); it.increment(error)) {
    ++count;
  }
  return error ? -1 : count;
}

}  // namespace

void AddProcessMetrics(std::string_view role, std::string_view version, Exposition& page) {
  page.Family("catena_build_info", Exposition::kGauge, "1, of this release and role.");
  page.Sample(1, {{"role", role}, {"version", version}});
  page.Counter("process_cpu_seconds_total", "User and system CPU time spent.", CpuSeconds());
  if (const auto stat = ReadStat()) {
    page.Gauge("process_resident_memory_bytes", "Memory in RAM, mapped weights included.",
               stat->resident_pages * static_cast<double>(sysconf(_SC_PAGESIZE)));
    page.Gauge("process_virtual_memory_bytes", "Address space.", stat->virtual_bytes);
    page.Gauge("process_threads", "Threads.", stat->threads);
    if (const auto boot = MachineStartSeconds()) {
      page.Gauge("process_start_time_seconds", "When it started, since 1970.",
                 *boot + stat->start_ticks / static_cast<double>(sysconf(_SC_CLK_TCK)));
    }
  }
  if (const double open = OpenFiles(); open >= 0) {
    page.Gauge("process_open_fds", "Open file descriptors.", open);
  }
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur != RLIM_INFINITY) {
    page.Gauge("process_max_fds", "File descriptors that may be open.",
               static_cast<double>(files.rlim_cur));
  }
}

}  // namespace catena
