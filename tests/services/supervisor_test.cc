// The supervisor of `catena up`, with shell scripts in the place of roles. A script is called as
// `sh -c SCRIPT name --listen ADDRESS --ready-fd 3 --drain-fd 4 --http ADDRESS`: $2 is the address,
// $8 the other.
#include "services/up/supervisor.h"

#include <csignal>
#include <functional>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/temp_dir.h"

namespace catena::up {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;

// Serves until it is asked to end.
constexpr char kServe[] = "echo $2 >&3; exec sleep 1000";

bool Runs(pid_t pid) { return kill(pid, 0) == 0; }

// What the supervisor told, and what to do then.
struct Recorder : SupervisorListener {
  void OnStarted(int process, pid_t pid) override {
    pids[process].push_back(pid);
    if (on_started) on_started(process, pid);
  }
  void OnLine(int process, std::string_view line) override {
    lines.push_back(fmt::format("{}: {}", process, line));
    if (on_line) on_line(line);
  }
  void OnReady(int process, std::string_view address, std::string_view at) override {
    http = at;
    ready.push_back(fmt::format("{}: {}", process, address));
    if (on_ready) on_ready(process);
  }
  void OnDied(int process, std::string_view how, milliseconds delay) override {
    died.push_back(fmt::format("{} {}", process, how));
    delays.push_back(delay);
    if (on_died) on_died();
  }
  void OnDrained(int process, std::string_view how) override {
    drained.push_back(fmt::format("{} {}", process, how));
    if (on_drained) on_drained();
  }

  std::map<int, std::vector<pid_t>> pids;
  std::vector<std::string> lines, ready, died, drained;
  std::string http;  // of the last that was ready
  std::vector<milliseconds> delays;
  std::function<void(int, pid_t)> on_started;
  std::function<void(std::string_view)> on_line;
  std::function<void(int)> on_ready;
  std::function<void()> on_died, on_drained;
};

class SupervisorTest : public testing::Test {
 protected:
  static ProcessSpec Shell(const std::string& name, const std::string& script,
                           const std::string& listen = "a", int stop_phase = 0) {
    return {.name = name,
            .argv = {"/bin/sh", "-c", script, "sh"},
            .listen = listen,
            .http = "",
            .serves = "",
            .stop_phase = stop_phase};
  }
  absl::Status Run(std::vector<ProcessSpec> specs, milliseconds stop_bound = milliseconds(60000)) {
    Supervisor supervisor(std::move(specs), {.stop_bound = stop_bound}, &recorder_);
    return supervisor.Run(stop_.get());
  }
  void Stop() { ASSERT_EQ(eventfd_write(stop_.get(), 1), 0); }

  Recorder recorder_;
  Fd stop_{eventfd(0, EFD_CLOEXEC)};
};

TEST_F(SupervisorTest, AllAreStartedAtOnceAndStoppedWhenAsked) {
  recorder_.on_ready = [&](int) {
    if (recorder_.ready.size() == 2) Stop();
  };
  // Each waits for the other: only processes that run at the same time can be ready.
  const TempDir dir;
  const std::string a = dir.path() + "/a", b = dir.path() + "/b";
  const std::string meet = "touch {}; while ! [ -e {} ]; do :; done; ";
  EXPECT_TRUE(Run({Shell("one", fmt::format(fmt::runtime(meet), a, b) + kServe, "x"),
                   Shell("two", fmt::format(fmt::runtime(meet), b, a) + kServe, "y")})
                  .ok());
  EXPECT_THAT(recorder_.ready, testing::UnorderedElementsAre("0: x", "1: y"));
  EXPECT_THAT(recorder_.died, ElementsAre());
  for (const auto& [process, pids] : recorder_.pids) {
    ASSERT_EQ(pids.size(), 1u);
    EXPECT_FALSE(Runs(pids[0]));
  }
}

TEST_F(SupervisorTest, AProcessIsToldWhereItsMetricsGoAndKeepsTheAddressItTook) {
  ProcessSpec spec = Shell("one", "echo $2 127.0.0.1:7 >&3; echo $8; exec sleep 1000");
  spec.http = "127.0.0.1:0";
  recorder_.on_line = [&](std::string_view line) {
    if (line == "127.0.0.1:7") return Stop();
    kill(recorder_.pids[0].back(), SIGKILL);
  };
  EXPECT_TRUE(Run({spec}).ok());
  EXPECT_THAT(recorder_.lines, ElementsAre("0: 127.0.0.1:0", "0: 127.0.0.1:7"));
  EXPECT_EQ(recorder_.http, "127.0.0.1:7");
}

// All processes of a test that serve the same.
std::vector<ProcessSpec> Replicas(std::vector<ProcessSpec> specs) {
  for (ProcessSpec& spec : specs) spec.serves = "it";
  return specs;
}

TEST_F(SupervisorTest, WhatOthersServeMeanwhileIsStartedALittleLater) {
  using Clock = std::chrono::steady_clock;
  Clock::time_point died, started;
  recorder_.on_died = [&] { died = Clock::now(); };
  recorder_.on_started = [&](int process, pid_t) {
    if (process == 0) started = Clock::now();
  };
  recorder_.on_ready = [&](int) {
    if (recorder_.ready.size() == 2) kill(recorder_.pids[0].back(), SIGKILL);
    if (recorder_.ready.size() == 3) Stop();
  };
  ASSERT_TRUE(Run(Replicas({Shell("one", kServe), Shell("two", kServe)})).ok());
  EXPECT_THAT(recorder_.delays, ElementsAre(kWhileOthersServe));
  EXPECT_GE(started - died, kWhileOthersServe);
}

TEST_F(SupervisorTest, WhatNobodyServesAnyMoreIsStartedAtOnce) {
  using Clock = std::chrono::steady_clock;
  Clock::time_point all_died, started;
  recorder_.on_ready = [&](int) {
    if (recorder_.ready.size() == 2) kill(recorder_.pids[0].back(), SIGKILL);
    if (recorder_.ready.size() == 4) Stop();
  };
  recorder_.on_died = [&] {
    if (recorder_.died.size() == 1) kill(recorder_.pids[1].back(), SIGKILL);
    all_died = Clock::now();
  };
  recorder_.on_started = [&](int process, pid_t) {
    if (process == 0) started = Clock::now();
  };
  ASSERT_TRUE(Run(Replicas({Shell("one", kServe), Shell("two", kServe)})).ok());
  EXPECT_THAT(recorder_.delays, ElementsAre(kWhileOthersServe, milliseconds(0)));
  EXPECT_LT(started - all_died, kWhileOthersServe / 2);
}

TEST_F(SupervisorTest, AProcessIsALeaderOfItsGroupAndSeesNoInput) {
  recorder_.on_ready = [&](int) {
    const pid_t pid = recorder_.pids[0][0];
    EXPECT_EQ(getpgid(pid), pid);
    Stop();
  };
  const std::string script = std::string("read line && echo input; echo out; ") + kServe;
  ASSERT_TRUE(Run({Shell("one", script)}).ok());
  EXPECT_THAT(recorder_.lines, ElementsAre("0: out"));
}

TEST_F(SupervisorTest, WhatDiesOnceReadyIsStartedAgainAtOnceAtTheAddressItTook) {
  recorder_.on_ready = [&](int) {
    if (recorder_.ready.size() == 4) return Stop();
    kill(recorder_.pids[0].back(), SIGKILL);
  };
  // Takes a port of its own only where it is asked for any.
  const std::string script = std::string("[ $2 = host:0 ] && set -- --listen host:$$; ") + kServe;
  ASSERT_TRUE(Run({Shell("one", script, "host:0")}).ok());
  const std::string first = fmt::format("0: host:{}", recorder_.pids[0][0]);
  EXPECT_THAT(recorder_.ready, ElementsAre(first, first, first, first));
  EXPECT_THAT(recorder_.delays, testing::Each(milliseconds(0)));
  EXPECT_THAT(recorder_.died, testing::Each(HasSubstr("0 was killed by signal 9")));
}

TEST_F(SupervisorTest, WhatDiesBeforeItIsReadyAgainIsStartedWithBackOff) {
  const TempDir dir;
  const std::string mark = dir.path() + "/was-ready";
  recorder_.on_ready = [&](int) { kill(recorder_.pids[0].back(), SIGKILL); };
  recorder_.on_died = [&] {
    if (recorder_.died.size() == 4) Stop();
  };
  const std::string script =
      fmt::format("[ -e {0} ] && {{ echo catena: bad >&2; exit 1; }}; touch {0}; ", mark) + kServe;
  ASSERT_TRUE(Run({Shell("one", script)}).ok());
  EXPECT_THAT(recorder_.delays, ElementsAre(milliseconds(0), milliseconds(100), milliseconds(200),
                                            milliseconds(400)));
  EXPECT_EQ(recorder_.died.back(), "0 ended with exit status 1");
  EXPECT_THAT(recorder_.lines, testing::Each("0: catena: bad"));
}

TEST_F(SupervisorTest, BackOffDoublesToABound) {
  EXPECT_EQ(RestartDelay(0), milliseconds(0));
  EXPECT_EQ(RestartDelay(1), milliseconds(100));
  EXPECT_EQ(RestartDelay(5), milliseconds(1600));
  EXPECT_EQ(RestartDelay(1000), milliseconds(5000));
}

TEST_F(SupervisorTest, WhatCannotStartEndsAllWithItsOwnError) {
  const absl::Status status =
      Run({Shell("one", kServe), Shell("two", "echo first; echo 'catena: no model' >&2; exit 1")});
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(status.message(), "two: no model");
  EXPECT_THAT(recorder_.lines, ElementsAre("1: first"));
  EXPECT_FALSE(Runs(recorder_.pids[0][0]));
}

TEST_F(SupervisorTest, AUsageErrorStaysOne) {
  EXPECT_EQ(Run({Shell("one", "echo 'catena: --bad' >&2; exit 2")}),
            absl::InvalidArgumentError("one: --bad"));
}

TEST_F(SupervisorTest, AnEndWithoutAnErrorIsDescribed) {
  EXPECT_THAT(std::string(Run({Shell("one", "exit 0")}).message()),
              HasSubstr("one: ended with exit status 0 before it was ready"));
}

TEST_F(SupervisorTest, WhatSignalsKillBeforeItIsReadyIsTriedAFewTimes) {
  const absl::Status status = Run({Shell("one", "kill -9 $$")});
  EXPECT_THAT(std::string(status.message()), HasSubstr("was killed by signal 9"));
  EXPECT_EQ(recorder_.pids[0].size(), static_cast<size_t>(kMaxFirstStarts));
}

TEST_F(SupervisorTest, AProgramThatIsNotThereIsNamed) {
  EXPECT_THAT(std::string(Run({{.name = "one",
                                .argv = {"/nonexistent/program"},
                                .listen = "a",
                                .http = "",
                                .serves = ""}})
                              .message()),
              HasSubstr("/nonexistent/program"));
}

TEST_F(SupervisorTest, WhatIsDrainedStaysOutAndOthersRunOn) {
  recorder_.on_ready = [&](int process) {
    if (process == 0) return;
    recorder_.pids[1].size() == 1 ? (void)kill(recorder_.pids[1][0], SIGKILL) : Stop();
  };
  // It runs on once the other has been drained, dies, and is started again.
  const std::string waits = "while [ ! -e $0.out ]; do :; done; " + std::string(kServe);
  TempDir folder;
  ProcessSpec drained = Shell("one", "echo $2 >&3; echo draining >&4; exit 0");
  ProcessSpec other = Shell("two", waits);
  other.argv[3] = folder.path() + "/two";
  recorder_.on_drained = [&] { folder.Write("two.out", ""); };
  ASSERT_TRUE(Run({drained, other}).ok());
  EXPECT_THAT(recorder_.drained, ElementsAre("0 ended with exit status 0"));
  EXPECT_EQ(recorder_.pids[0].size(), 1u);
  EXPECT_THAT(recorder_.died, ElementsAre(HasSubstr("1 was killed by signal 9")));
}

TEST_F(SupervisorTest, WhenAllAreDrainedItEndsWithoutAnError) {
  EXPECT_TRUE(Run({Shell("one", "echo $2 >&3; echo draining >&4; exit 0"),
                   Shell("two", "echo draining >&4; kill -9 $$")})
                  .ok());
  EXPECT_EQ(recorder_.drained.size(), 2u);
}

TEST_F(SupervisorTest, PhasesStopInOrder) {
  recorder_.on_ready = [&](int) {
    if (recorder_.ready.size() == 2) Stop();
  };
  const std::string script = "trap 'echo end; exit 0' TERM; echo $2 >&3; while :; do :; done";
  ASSERT_TRUE(Run({Shell("late", script, "a", 1), Shell("early", script, "a", 0)}).ok());
  EXPECT_THAT(recorder_.lines, ElementsAre("1: end", "0: end"));
}

TEST_F(SupervisorTest, WhatDoesNotStopIsKilledAfterTheBound) {
  recorder_.on_ready = [&](int) { Stop(); };
  const std::string script = std::string("trap '' TERM; ") + kServe;
  ASSERT_TRUE(Run({Shell("one", script)}, milliseconds(1)).ok());
  EXPECT_FALSE(Runs(recorder_.pids[0][0]));
}

TEST_F(SupervisorTest, ASecondRequestKillsAtOnce) {
  recorder_.on_ready = [&](int) { Stop(); };
  recorder_.on_line = [&](std::string_view) { Stop(); };  // it was asked to end
  const std::string script = "trap 'echo asked' TERM; echo $2 >&3; while :; do :; done";
  ASSERT_TRUE(Run({Shell("one", script)}).ok());
  EXPECT_THAT(recorder_.lines, ElementsAre("0: asked"));
}

TEST_F(SupervisorTest, AStoppedProcessEndsToo) {
  recorder_.on_ready = [&](int) {
    kill(recorder_.pids[0][0], SIGSTOP);
    Stop();
  };
  const std::string script = "trap 'echo asked; exit 0' TERM; echo $2 >&3; while :; do :; done";
  ASSERT_TRUE(Run({Shell("one", script)}).ok());
  EXPECT_THAT(recorder_.lines, ElementsAre("0: asked"));
}

TEST_F(SupervisorTest, ChildrenDieWithASupervisorThatIsKilled) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const Fd read_end(ends[0]);
  Fd write_end(ends[1]);
  const pid_t parent = fork();
  if (parent == 0) {
    recorder_.on_ready = [&](int) { kill(getpid(), SIGKILL); };
    // The script holds the pipe's other end: once it is gone, reading the pipe ends.
    (void)Run({Shell("one", kServe)});
    _exit(1);
  }
  write_end.Close();
  int wait_status = 0;
  ASSERT_EQ(waitpid(parent, &wait_status, 0), parent);
  EXPECT_TRUE(WIFSIGNALED(wait_status));
  char byte;
  EXPECT_EQ(read(read_end.get(), &byte, 1), 0);
}

TEST_F(SupervisorTest, LongOutputIsNeitherLostNorHeld) {
  const std::string script =
      "i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done; "
      "printf 'no end' >&2; echo $2 >&3; exit 3";
  recorder_.on_died = [&] { Stop(); };
  ASSERT_TRUE(Run({Shell("one", script)}).ok());
  ASSERT_EQ(recorder_.lines.size(), 5001u);
  EXPECT_EQ(recorder_.lines[4999], "0: line 4999");
  EXPECT_EQ(recorder_.lines[5000], "0: no end");
}

}  // namespace
}  // namespace catena::up
