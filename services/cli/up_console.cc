#include "services/cli/up_console.h"

#include <algorithm>
#include <csignal>

#include "services/cli/output.h"

namespace catena::cli {
namespace {

constexpr const char* kClearLine = "\r\x1b[K";
constexpr const char* kColours[] = {"36", "33", "32", "35", "34", "96", "93", "92", "95", "94"};

}  // namespace

UpConsole::UpConsole(const std::vector<up::ClusterProcess>& processes, UpConsoleOptions options)
    : options_(options), start_(std::chrono::steady_clock::now()) {
  for (const up::ClusterProcess& p : processes) {
    // Inclusive, as users count blocks.
    const std::string layers =
        p.layers ? fmt::format("{}-{}", p.layers->begin, p.layers->end - 1) : "";
    processes_.push_back(
        {.name = p.spec.name, .role = p.role, .layers = layers, .address = {}, .http = {}});
    name_width_ = std::max(name_width_, p.spec.name.size());
  }
}

UpConsole::~UpConsole() {
  if (options_.terminal && !all_were_ready_) fmt::print(stderr, "{}", kClearLine);
}

void UpConsole::OnStarted(int process, pid_t pid) {
  processes_[process].pid = pid;
  processes_[process].ready = false;
  ShowProgress();
}

void UpConsole::OnLine(int process, std::string_view line) {
  Print(process, line);
  ShowProgress();
}

void UpConsole::OnReady(int process, std::string_view address, std::string_view http) {
  Process& p = processes_[process];
  p.address = address;
  p.http = http;
  p.ready = true;
  if (all_were_ready_) return Print(process, fmt::format("serves again, process {}", p.pid));
  all_were_ready_ = std::all_of(processes_.begin(), processes_.end(),
                                [](const Process& other) { return other.ready; });
  if (!all_were_ready_) return ShowProgress();
  if (options_.terminal) fmt::print(stderr, "{}", kClearLine);
  written_ = WriteResult();
  if (!written_.ok()) raise(SIGTERM);
}

void UpConsole::OnDied(int process, std::string_view how, std::chrono::milliseconds delay) {
  const std::string when =
      delay.count() == 0 ? ""
                         : fmt::format(" in {:.1f} s", static_cast<double>(delay.count()) / 1e3);
  Print(process, fmt::format("{}; it is started again{}", how, when));
  ShowProgress();
}

void UpConsole::OnDrained(int process, std::string_view how) {
  Print(process,
        fmt::format("was drained and {}; it stays out until `catena up` starts anew", how));
}

void UpConsole::Print(int process, std::string_view line) {
  const bool progress = options_.terminal && !all_were_ready_;
  if (options_.json_log) {
    const std::string text =
        line.starts_with('{')
            ? std::string(line)
            : nlohmann::ordered_json(
                  {{"role", "up"}, {"process", processes_[process].name}, {"message", line}})
                  .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    fmt::print(stderr, "{}{}\n", progress ? kClearLine : "", text);
    return;
  }
  const std::string name = fmt::format("{:<{}}", processes_[process].name, name_width_);
  const std::string prefix =
      options_.colour
          ? fmt::format("\x1b[{}m{} │\x1b[0m", kColours[process % std::size(kColours)], name)
          : name + " |";
  fmt::print(stderr, "{}{} {}\n", progress ? kClearLine : "", prefix, line);
}

void UpConsole::ShowProgress() {
  if (!options_.terminal || all_were_ready_) return;
  const auto ready =
      std::count_if(processes_.begin(), processes_.end(), [](const Process& p) { return p.ready; });
  fmt::print(stderr, "{}starting {} processes … {} ready", kClearLine, processes_.size(), ready);
  std::fflush(stderr);
}

std::string UpConsole::Table() const {
  const int width = static_cast<int>(name_width_) + 2;
  std::string t = fmt::format("{:<{}}{:<8}{:>8}  {}\n", "process", std::max(width, 9), "blocks",
                              "pid", "address");
  for (const Process& p : processes_) {
    t += fmt::format("{:<{}}{:<8}{:>8}  {}\n", p.name, std::max(width, 9), p.layers, p.pid,
                     p.address);
  }
  return t;
}

absl::Status UpConsole::WriteResult() const {
  const auto gateway = std::find_if(processes_.begin(), processes_.end(),
                                    [](const Process& p) { return p.role == "gateway"; });
  if (!options_.json) {
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start_;
    return Write(
        fmt::format("{}\nReady after {:.1f} s. In another terminal:\n"
                    "  catena generate --gateway {} --prompt \"Once upon a time\"\n"
                    "Ctrl-C stops it.\n",
                    Table(), took.count(), gateway->address));
  }
  nlohmann::ordered_json list = nlohmann::json::array();
  for (const Process& p : processes_) {
    list.push_back({{"role", p.role},
                    {"layers", p.layers.empty() ? nlohmann::json() : nlohmann::json(p.layers)},
                    {"address", p.address},
                    {"pid", p.pid},
                    {"metrics", p.http}});
  }
  return WriteJson({{"gateway", gateway->address}, {"processes", list}});
}

}  // namespace catena::cli
