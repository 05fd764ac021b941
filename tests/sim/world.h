// A simulated cluster: processes with the cores of gateways, shards and heads, a network, faults,
// and checkers that look on. All chance is from one seed. A run is a loop over events in the order
// of simulated time and takes milliseconds.
//
// Thread rules: one thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/sim/checkers.h"
#include "tests/sim/discovery.h"
#include "tests/sim/faults.h"
#include "tests/sim/network.h"
#include "tests/sim/outcome.h"
#include "tests/sim/process.h"

namespace catena::sim {

struct WorldOptions {
  uint64_t seed = 1;
  std::vector<LayerRange> shards;  // replicas with any cuts
  int heads = 1;
  int gateways = 1;
  NetworkOptions network;
  ProcessOptions process;  // what all have in common
  double slow = 0;         // share of the stages whose batches take 50 times as long
  bool stranger = false;   // the last of the shards is of another model,
  bool rival = false;      // and the last of the heads too, so that it may be served in its place
  bool resume = false;     // clients whose gateway dies go on with another
  bool hasty = false;      // requests do not wait until faults are over
  // Whether requests may fail for want of a place, which are otherwise an error.
  bool may_refuse = false;
  // Whether its bounds are looked at as it runs, which costs more the more processes there are.
  bool looks = true;
  // No request stands still for longer.
  Nanoseconds patience = std::chrono::seconds(30);
};

class World {
 public:
  explicit World(const WorldOptions& options);

  // Processes are counted: shards first, as the options have them, then heads, then gateways.
  size_t stages() const { return options_.shards.size() + static_cast<size_t>(options_.heads); }
  size_t processes() const { return processes_.size(); }
  Process* process(size_t i) { return processes_.at(i).get(); }

  // `through`: the stage that the route is to go through.
  std::shared_ptr<Outcome> Submit(LoopRequest request, Nanoseconds at = {}, size_t gateway = 0,
                                  std::optional<size_t> through = {});
  void CancelAt(const std::shared_ptr<Outcome>& outcome, Nanoseconds at);
  void Inject(const Fault& fault);

  // Runs until all requests have ended and all faults are over, and then as long as it takes to
  // notice. What was wrong, or "".
  std::string Run(Nanoseconds limit = std::chrono::hours(1));

  Instant now() const { return clock_.now(); }
  const Network& network() const { return network_; }

 private:
  void Add(Role role, LayerRange layers);
  template <class Fn>
  void ForEachOf(size_t gateway, const Fn& fn);  // that is not over
  void Crash(size_t process);
  void Ask(size_t index);
  void ResumeLost(size_t gateway);
  void Begin(const Fault& fault);
  void End(const Fault& fault);
  Instant WellSince() const;
  void NoteWaiting();
  void Look();
  bool Busy();
  void Note(const std::string& problem);

  const WorldOptions options_;
  Random random_;
  Clock clock_;
  Network network_;
  Processes processes_;
  std::vector<std::unique_ptr<Discovery>> discoveries_;
  Incarnation next_incarnation_ = 1;
  uint64_t next_ticket_ = 1;
  struct Asked {
    std::shared_ptr<Outcome> outcome;
    Incarnation incarnation = 0;
    uint64_t ticket = 0;
    std::optional<Incarnation> through = {};
  };
  std::vector<Asked> asked_;
  Outcomes outcomes_;
  std::vector<Happened> happened_;
  size_t busy_ = 0;  // of the outcomes, the last one for which it was seen to be busy
  int64_t faults_to_come_ = 0;
  int resuming_ = 0;  // gateways whose clients are about to send again
  std::string problems_;
};

}  // namespace catena::sim
