// A sequence as its gateway holds it.
//
// Thread rules: plain state, one thread at a time.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/chain/core.h"
#include "runtime/chain/limits.h"
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
  enum class State {
    kWaiting,   // for a place
    kOpening,   // for all stages of a route to open it
    kRunning,   //
    kMoving,    // for all stages of its new route to be in the epoch
    kStranded,  // for a route on which it can go on, or for its trial
  };
  struct Stage {
    Role role = Role::kShard;
    LayerRange layers;  // a shard's
    std::string address;
  };
  PublicId id{};
  State state = State::kWaiting;
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
  Instant submitted, started, first_token;
  int64_t came = 0;    // ns since 1970
  int64_t growth = 0;  // positions beyond those that it has that it wants set aside

  // From when it was on a route for the first time.
  SequenceKey key;
  int64_t max_length = 0;
  std::optional<SequenceIds> ids;
  std::optional<ReplicaInfo> like;  // a stage of its first route: its model, its arithmetic

  // While it is on a route.
  Route route;
  // What a stage has said when it came into the epoch.
  struct Answer {
    uint32_t round = 0;
    int64_t length = 0;
  };
  std::vector<std::optional<Answer>> opened;  // by stage of the route
  // They are asked one after another: the head, which has no pages to lose, then shards in layer
  // order. Of those that several stages take one at a time whoever got the first gets the others.
  bool in_turn = false;
  std::vector<int64_t> lengths;  // valid positions of each, when it went on
  Instant asked_at;              // when Opens were last sent

  // When it cannot go on where it is.
  absl::Status why;                     // as its end would say
  std::optional<Instant> broken_since;  // until it goes on
  std::optional<Instant> move_at;       // not before, so that moves do not come in storms
  int setbacks = 0;                     // since the newest token
  // What failed while it was computed there, since the newest token: a process that is gone, as far
  // as is known, or 0 for what was told of a failure and lives.
  std::vector<Incarnation> failed;
  size_t excused = 0;         // what failed meanwhile and was not counted: another may have done it
  bool turned_away = false;   // by a stage that drains
  Moves moves;                // that are over
  std::optional<Moved> move;  // until the next token
  Instant token_at;           // when the newest came, or it started

  int64_t last_token = 0;  // the newest that came (scored: the newest score); 0: none
  SequenceProgress progress;

  int64_t prompt_length() const { return static_cast<int64_t>(request.prompt.size()); }
  // Positions that the request comes with.
  int64_t given() const { return prompt_length() + std::ssize(request.output); }
  // The first position whose token (scored: whose score) has not come.
  int64_t next_token() const { return request.score ? last_token + 1 : ids->known(); }
  bool is_open() const {
    return std::all_of(opened.begin(), opened.end(), [](const auto& o) { return o.has_value(); });
  }
  // It may be what makes stages fail: of those that may, a stage takes one at a time.
  bool suspected() const { return failed.size() >= limits::kFailuresToSuspect; }
  // As OpenStage says it. Behind a Move there are no guesses: what is longer holds a new token.
  int64_t TrialEnd() const { return suspected() ? ids->known() : 0; }
  // It waits for the stages of its route, or for their tokens.
  bool is_on_route() const { return state != State::kWaiting && state != State::kStranded; }
  // All stages have told: what of their lengths holds.
  void SetLengths();
  Go MakeGo(size_t stage) const;
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
// Of those that `doubt` names, stages are to tell how far they have come. A stage where nothing is
// open any more hears that too: a Close may have been lost.
std::vector<Envelope> MakeHeartbeats(const SequencesOnRoutes& sequences, uint64_t newest,
                                     const std::vector<ReplicaInfo>& all,
                                     const std::function<bool(const GatewaySequence&)>& doubt);
// What first stages are told from time to time: what was sent, where it is not acknowledged.
std::vector<Envelope> MakeSentLengths(const SequencesOnRoutes& sequences);

}  // namespace catena
