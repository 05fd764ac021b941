// What a gateway counts of its clients' requests, and what it shows of itself to operators: our own
// names, and beside them those of vLLM, by which the Gateway API's endpoint pickers and many
// dashboards know a server.
//
// Thread rules: any thread.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/base/status.h"
#include "runtime/chain/histogram.h"
#include "runtime/chain/token_loop.h"

namespace catena {

class Exposition;
struct GatewayView;
struct KnownReplica;

class GatewayMetrics {
 public:
  // A request is over, after so long. `method`: of the public API.
  void Ended(const std::string& method, const absl::Status& status, Nanoseconds took);
  // Of a request whose prompt is known.
  void Prompt(int64_t tokens);
  // Ids that go to a client.
  void Output(int64_t tokens);
  // Of one sequence: its first token, since the request came; a further one, since the last.
  void FirstToken(Nanoseconds since);
  void NextToken(Nanoseconds since);
  // One sequence has gone on elsewhere.
  void Moved(const Moves& moves);
  struct MoveTotals {
    int64_t moves = 0, replayed = 0;
    Nanoseconds longest_pause{};
  };
  MoveTotals moves() const;
  // One sequence is over. `finish`: stop, length or error.
  void SequenceEnded(const std::string& finish, const LoopStats& stats);

  // Adds all that, with the names of vLLM for what they have one for.
  void Collect(const std::string& model, Exposition& page) const;

 private:
  struct Counts {
    std::map<std::tuple<std::string, std::string, std::string>, int64_t> requests;
    std::map<std::string, int64_t> sequences;  // by how they ended
    int64_t prompt_tokens = 0, output_tokens = 0;
    int64_t drafted = 0, accepted = 0;
    MoveTotals moves;
    Histogram queue{kSecondsBounds}, first_token{kSecondsBounds}, next_token{kSecondsBounds},
        request{kSecondsBounds}, noticed{kSecondsBounds}, paused{kSecondsBounds};
  };
  Counts counts() const;

  mutable std::mutex mutex_;
  Counts counts_;
};

// How full the KV cache is, from 0 to 1: of the range of blocks whose replicas have the least room.
double KvUse(const std::vector<KnownReplica>& replicas);

// What a gateway sees now: its queue, its replicas, whether it is ready.
void CollectGatewayState(const GatewayView& view, const std::vector<KnownReplica>& replicas,
                         bool ready, Exposition& page);

}  // namespace catena
