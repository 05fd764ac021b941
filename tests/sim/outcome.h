// One request of a simulated client, and what became of it.
//
// Thread rules: one thread.
#pragma once

#include <optional>
#include <vector>

#include "runtime/chain/token_loop.h"
#include "tests/sim/clock.h"

namespace catena::sim {

struct Outcome final : LoopListener {
  // `gateway`: the process that is asked.
  Outcome(LoopRequest r, size_t g, const Clock* c) : request(std::move(r)), gateway(g), clock(c) {}

  void OnStart(PublicId sequence) override {
    CATENA_CHECK(!ended);
    id = sequence;
    started = true;
    moved_at = clock->now();
  }
  void OnToken(const Token& token) override {
    CATENA_CHECK(started && !ended);
    tokens.push_back(token);
    token_at.push_back(clock->now());
    moved_at = clock->now();
  }
  void OnMoved(const Moved& moved) override { moves.push_back(moved.moves); }
  void OnEnd(const absl::Status& s, FinishReason r, const LoopStats&) override {
    CATENA_CHECK(!ended);
    ended = true;
    status = s;
    reason = r;
    moved_at = clock->now();
  }
  // Whether something should come of it soon.
  bool open() const { return submitted && !ended && !lost && !stalled; }

  // It goes on with another gateway, behind what it has.
  void Resume(size_t other) {
    gateway = other;
    lost = started = false;
    ++resumed;
  }
  const LoopRequest request;
  size_t gateway;
  const Clock* const clock;
  bool submitted = false;
  bool probe = false;      // through one stage, or not at all
  bool cancelled = false;  // somebody asked for it
  bool lost = false;       // with its gateway: nobody will say how it ended
  bool stalled = false;    // its gateway hangs
  bool started = false;    // a route was reserved
  PublicId id{};           // then
  int resumed = 0;         // times that its client sent it again, with what it had
  bool ended = false;
  Instant submitted_at{}, moved_at{};
  Instant waited_at{};   // when it was last seen to wait for a place, in which others go first
  Instant untried_at{};  // or for its trial, which those that may be queries of death get in turn
  absl::Status status;
  FinishReason reason = FinishReason::kLength;
  std::vector<Token> tokens;
  std::vector<Instant> token_at;  // when each of them came
  std::vector<Moves> moves;       // each time that it had gone on elsewhere
};

}  // namespace catena::sim
