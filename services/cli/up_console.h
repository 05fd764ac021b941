// What `catena up` shows: progress, the lines of its processes with their names, and once all
// serve, where. The result goes to stdout, all else to stderr.
//
// Thread rules: one thread.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "services/up/cluster.h"

namespace catena::cli {

struct UpConsoleOptions {
  bool terminal = false;  // stderr is one: progress is shown
  bool colour = false;    // it takes colours
  bool json = false;
  bool json_log = false;  // lines of the processes are JSON objects, and stay so
};

class UpConsole : public up::SupervisorListener {
 public:
  UpConsole(const std::vector<up::ClusterProcess>& processes, UpConsoleOptions options);
  ~UpConsole() override;  // clears the line of progress

  void OnStarted(int process, pid_t pid) override;
  void OnLine(int process, std::string_view line) override;
  void OnReady(int process, std::string_view address, std::string_view http) override;
  void OnDied(int process, std::string_view how, std::chrono::milliseconds delay) override;
  void OnDrained(int process, std::string_view how) override;

  // Of writing the result: not OK where nobody reads stdout. SIGTERM was raised then.
  const absl::Status& written() const { return written_; }

 private:
  struct Process {
    std::string name, role, layers, address, http;
    pid_t pid = -1;
    bool ready = false;
  };
  void ShowProgress();
  void Print(int process, std::string_view line);
  absl::Status WriteResult() const;
  std::string Table() const;

  const UpConsoleOptions options_;
  std::vector<Process> processes_;
  size_t name_width_ = 0;
  bool all_were_ready_ = false;
  std::chrono::steady_clock::time_point start_;
  absl::Status written_;
};

}  // namespace catena::cli
