// What every role of a cluster does as a process: says that it serves, runs until it is asked to
// stop, and has an identity.
//
// Thread rules: StopSignals is made before the process's other threads, which inherit that these
// signals are blocked; the rest is plain functions.
#pragma once

#include <chrono>
#include <csignal>
#include <functional>
#include <string>

#include "model/config.h"
#include "runtime/chain/replica_info.h"

namespace catena {

// SIGINT and SIGTERM as something to wait for.
class StopSignals {
 public:
  StopSignals();
  void Wait();  // returns after the next of them, or once somebody asks
  // As the first of those signals would, and nothing where one has come. From any thread.
  void Ask();
  // Waits until `done`, which is asked again and again, holds; false where `most` is over before,
  // or another of them has come.
  bool WaitUntil(const std::function<bool()>& done, std::chrono::milliseconds most);

 private:
  sigset_t signals_, waited_;  // waited_: and the one by which Ask wakes
};

// Writes "ADDRESS\n" to `fd` and closes it, or "ADDRESS HTTP_ADDRESS\n" where the process has an
// operators' port; -1: nobody waits for it. UNAVAILABLE where it cannot.
absl::Status ReportReady(int fd, const std::string& address, const std::string& http_address);

// Writes "draining\n" to `fd` and closes it: whoever watches over the process is not to start it
// again. -1: nobody does.
void ReportDrain(int fd);

// Random, never 0.
Incarnation NewIncarnation();

// Of this program: "0.1.0".
std::string ReleaseVersion();

// Address, pid, host and version of this process; the rest is the role's.
ReplicaInfo DescribeProcess(Role role, const std::string& address, Incarnation incarnation);

// What a model is called by the path of its file or folder.
std::string ModelNameOf(const std::string& path);

// Facts of the model that a replica with `context` positions serves, by the name of its file or
// folder unless `name` gives another.
ModelInfo DescribeModel(const std::string& name, const std::string& path,
                        const std::string& fingerprint, const ModelConfig& config, int64_t context);

}  // namespace catena
