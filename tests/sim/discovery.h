// How a simulated gateway learns of its replicas: it asks each to Describe itself every so often,
// as services/gateway/discovery does over gRPC. Who refuses is gone at once; who is silent, after
// so many questions; who answers and makes no progress, when the limit for that has passed.
//
// Thread rules: one thread.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/sim/process.h"

namespace catena::sim {

class Discovery {
 public:
  // Asks for ever, from now on. `stages` and the others outlive it.
  Discovery(Process* gateway, const std::vector<std::unique_ptr<Process>>* stages,
            const Network* network, Clock* clock);

 private:
  struct Member {
    bool answers = false;
    int failures = 0;  // in a row
    ReplicaInfo info;
    Instant moved_at{};  // when its work was last seen to move
  };

  void AskAll();
  void Ask(const Process& stage, Member* member);

  Process* const gateway_;
  const std::vector<std::unique_ptr<Process>>* const stages_;
  const Network* const network_;
  Clock* const clock_;
  const limits::DetectionLimits limits_;
  std::map<std::string, Member> members_;
};

}  // namespace catena::sim
