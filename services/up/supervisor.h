// Keeps processes running: starts them at once, starts again what dies, stops all of them in order.
//
// The contract with a process: it is run as `argv… --listen ADDRESS --ready-fd 3 --drain-fd 4
// --http ADDRESS`, and writes one line, the addresses it took, to the first descriptor once it
// serves. SIGTERM asks it to end. What it writes to the second says that an operator drains it: it
// stays out when it has ended, and when all have, so does this.
//
// What ends by itself before it has ever been ready cannot start: that ends everything, with its
// own error. What a signal kills before then is started again, kMaxFirstStarts times at most.
// After that nothing gives up: a process that was ready is started again at once, one that was not
// with back-off. As long as others serve what it served it waits a moment: to start takes
// processors, which those want who go on with its work.
//
// Thread rules: one thread, which must live as long as the processes (see spawn.h).
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "services/up/line_reader.h"
#include "services/up/spawn.h"

namespace catena::up {

struct ProcessSpec {
  std::string name;               // as people know it: "shard 0"
  std::vector<std::string> argv;  // argv[0] is a path
  std::string listen;             // unix:/path, or host:port, where the port may be 0
  std::string http;               // host:port of its metrics and health; "": none
  std::string serves;             // what those with the same can do for one another; "": none can
  int stop_phase = 0;             // lower ones are stopped first
};

// What the supervisor tells. Processes are indices into its specs.
class SupervisorListener {
 public:
  virtual ~SupervisorListener() = default;
  virtual void OnStarted(int process, pid_t pid) = 0;
  // A line of its stdout or stderr.
  virtual void OnLine(int process, std::string_view line) = 0;
  // It serves at `address`, and its metrics at `http`.
  virtual void OnReady(int process, std::string_view address, std::string_view http) = 0;
  // It ended though nobody asked it to, and is started again after `delay`. `how`: "was killed by
  // signal 9 (Killed)".
  virtual void OnDied(int process, std::string_view how, std::chrono::milliseconds delay) = 0;
  // It ended since an operator has drained it, and is not started again. `how`: as above.
  virtual void OnDrained(int process, std::string_view how) = 0;
};

struct SupervisorOptions {
  // How long the processes of one stop phase may take before they are killed; two phases and the
  // rest must stay within the 10 s of the user contract.
  std::chrono::milliseconds stop_bound{3500};
};

inline constexpr int kMaxFirstStarts = 5;

// How long one that was ready is waited with as long as others serve the same: all that it did goes
// on elsewhere by then.
inline constexpr std::chrono::milliseconds kWhileOthersServe{500};

// How long to wait before the next start after so many in a row that ended before they were ready.
std::chrono::milliseconds RestartDelay(int failed_starts);

class Supervisor {
 public:
  // `listener` must outlive this.
  Supervisor(std::vector<ProcessSpec> specs, SupervisorOptions options,
             SupervisorListener* listener);
  ~Supervisor();  // kills what still runs

  // Runs until `stop_fd` (a signalfd or an eventfd) is readable, and then until all have ended; an
  // event more, and they are killed. OK, or why a process cannot start.
  absl::Status Run(int stop_fd);

 private:
  using Clock = std::chrono::steady_clock;
  struct Process {
    std::string listen, http;  // after the first start the addresses it took
    Child child;               // pid -1: does not run
    LineReader output, ready;
    bool is_ready = false, was_ready = false;
    int failed_starts = 0;
    std::string error;  // the line with which `catena` commands end
    std::optional<Clock::time_point> start_at;
  };

  void Start(int i);
  void StartDue();
  void HandleExit(int i);
  void HandleEarlyExit(int i, int wait_status);
  void Restart(int i, int wait_status);
  bool OthersServe(int i) const;
  void LeaveOut(int i, int wait_status);
  void ReadOutput(int i);
  void ReadReady(int i);
  void StopRequested(int stop_fd);
  void BeginStop(absl::Status why);
  void StopPhase();
  void Signal(int phase, int signal);
  bool Running(int phase) const;
  void Poll(int stop_fd);
  int PollTimeoutMs() const;

  const std::vector<ProcessSpec> specs_;
  const SupervisorOptions options_;
  SupervisorListener* const listener_;
  std::vector<Process> processes_;
  bool stopping_ = false;
  int phase_ = 0, last_phase_ = 0;
  Clock::time_point phase_ends_;
  absl::Status result_;
};

}  // namespace catena::up
