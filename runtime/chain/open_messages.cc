#include "runtime/chain/open_messages.h"

#include <set>

#include "runtime/chain/limits.h"

namespace catena {
namespace {

int64_t PromptLength(const LoopRequest& request) {
  return static_cast<int64_t>(request.prompt.size());
}

// The first position whose logits are wanted.
int64_t FirstWanted(const LoopRequest& request) {
  return request.score ? 0 : PromptLength(request) + std::ssize(request.output) - 1;
}

// Shards that share a host share its cores.
int32_t Devices(const Route& route) {
  std::set<std::string_view> hosts;
  for (const ReplicaInfo& r : route.stages) {
    if (r.role == Role::kShard) hosts.insert(r.host);
  }
  return static_cast<int32_t>(hosts.size());
}

}  // namespace

int64_t MaxLength(const LoopRequest& request, int64_t context) {
  const int64_t prompt = PromptLength(request);
  return request.score ? prompt : PositionsNeeded(prompt, request.params, context);
}

OpenStage MakeOpenStage(const SequenceKey& key, const Life& life, const LoopRequest& request,
                        int64_t max_length, const Route& route, size_t stage) {
  return {.sequence = key,
          .life = life,
          .upstream = stage == 0 ? key.gateway : route.stages[stage - 1].replica.incarnation,
          .next = route.stages[stage + 1].replica,
          .next_is_head = stage + 1 == route.shards(),
          .prompt_length = PromptLength(request),
          .max_length = max_length,
          .first_wanted = FirstWanted(request),
          .window_rows = limits::kDefaultWindowRows,
          .decode_groups = Devices(route)};
}

OpenHead MakeOpenHead(const SequenceKey& key, const Life& life, const LoopRequest& request,
                      int64_t max_length, const Route& route) {
  OpenHead open{.sequence = key,
                .life = life,
                .upstream = route.stages[route.shards() - 1].replica.incarnation,
                .ids = {},
                .prompt_length = PromptLength(request),
                .max_length = max_length,
                .first_wanted = FirstWanted(request),
                .first_token = 0,
                .window_rows = limits::kDefaultWindowRows,
                .score_top = request.score ? request.score_top : 0,
                .sequence_index = request.sequence_index,
                .params = request.params};
  // Stop strings are text, and guesses are made here.
  open.params.stop.clear();
  open.params.speculate = 0;
  return open;
}

}  // namespace catena
