// A sequence as its gateway holds it.
//
// Thread rules: plain state, one thread at a time.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/chain/core.h"
#include "runtime/chain/router.h"
#include "runtime/chain/sequence_ids.h"
#include "runtime/chain/token_loop.h"
#include "runtime/chain/watchdog.h"

namespace catena {

// A sequence as its gateway holds it, and its name at the stages.
struct SequenceAtGateway {
  SequenceKey key;
  SequenceView view;
};

// A sequence in a list of all.
struct SequenceSummary {
  enum class State { kWaiting, kOpening, kRunning };
  struct Stage {
    Role role = Role::kShard;
    LayerRange layers;  // a shard's
    std::string address;
  };
  PublicId id{};
  State state = State::kWaiting;  // for a place; for its stages; for its end
  Nanoseconds age{};
  int64_t prompt_tokens = 0;
  int64_t output_tokens = 0;
  Nanoseconds still{};       // since it last came further, as far as this process was awake
  std::vector<Stage> route;  // empty while it waits
};

struct GatewaySequence {
  using State = SequenceSummary::State;

  uint64_t ticket = 0;
  PublicId id{};
  LoopRequest request;
  std::shared_ptr<LoopListener> listener;
  State state = State::kWaiting;
  bool told = false;  // that it has started
  int breaks = 0;     // of links and the like, before it has a token
  Instant submitted, started, first_token;

  // While it is on a route.
  SequenceKey key;
  Route route;
  std::vector<bool> opened;  // by stage of the route
  Instant asked_at;          // when Opens were last sent
  int64_t max_length = 0;
  std::optional<SequenceIds> ids;
  int64_t last_token = 0;  // the newest that came (scored: the newest score); 0: none
  SequenceProgress progress;

  int64_t prompt_length() const { return static_cast<int64_t>(request.prompt.size()); }
  // The first position whose token (scored: whose score) has not come.
  int64_t next_token() const { return request.score ? last_token + 1 : ids->known(); }
  // A stage failed it before it had a token: whether it may try another. One that finds no stage
  // which stays is ended.
  bool MayTryAgain() { return ++breaks <= kMaxBreaks; }
  static constexpr int kMaxBreaks = 5;
  bool is_open() const {
    return std::all_of(opened.begin(), opened.end(), [](bool o) { return o; });
  }
  // What a stage of the route is asked to open. One that has it open already answers how far it has
  // come.
  ChainMessage MakeOpen(size_t stage) const;
  // The stage that it waits for, as far as is known.
  size_t StandsAt() const;
  SequenceSummary Summary(Instant now, WatchTime watched) const;
  LoopStats Stats(Instant now) const;
};

// Sequences that are on a route, by their number.
using SequencesOnRoutes = std::map<uint64_t, GatewaySequence*>;

// What all stages are told from time to time: which sequences are open, of those up to `newest`.
std::vector<Envelope> MakeHeartbeats(const SequencesOnRoutes& sequences, uint64_t newest);
// What first stages are told from time to time: what was sent, where it is not acknowledged.
std::vector<Envelope> MakeSentLengths(const SequencesOnRoutes& sequences);

}  // namespace catena
