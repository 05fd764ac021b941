// What the gateway's front (gRPC, later HTTP) asks of its token loop: run this sequence, tell me
// its tokens.
//
// Thread rules: TokenLoop's methods from any thread, they never block. A listener is called on the
// loop's thread and must not block it: it hands over and returns.
#pragma once

#include <chrono>
#include <memory>
#include <optional>

#include "absl/types/span.h"

#include "model/sampler/finish.h"
#include "runtime/chain/messages.h"
#include "runtime/chain/public_id.h"

namespace catena {

using LoopClock = std::chrono::steady_clock;

// One sequence; a request with n > 1 submits n of them.
struct LoopRequest {
  std::vector<int32_t> prompt;  // not empty, within the context, ids within the vocabulary
  SamplingParams params;        // validated
  // Ids that the text has already: of one that broke off with another gateway, and goes on behind
  // them. Fewer than params.max_tokens; none where it scores.
  std::vector<int32_t> output = {};
  uint32_t sequence_index = 0;
  // Scores every position of the prompt, `score_top` ids each, and samples nothing. Token::token.id
  // is then the prompt's next id, or -1 after the last.
  bool score = false;
  int32_t score_top = 0;
  std::optional<LoopClock::time_point> deadline;
  // A route through this replica and no other will do: for probes.
  std::optional<Incarnation> through = std::nullopt;
};

// How often a sequence went on elsewhere, and what that took.
struct Moves {
  int64_t count = 0;
  int64_t replayed = 0;                // positions that its stages had to compute again, at least
  std::chrono::nanoseconds noticed{};  // from the token before each to when its need was seen
  std::chrono::nanoseconds paused{};   // from the token before each to the next: with `noticed`
  void Add(const Moves& other) {
    count += other.count;
    replayed += other.replayed;
    noticed += other.noticed;
    paused += other.paused;
  }
};

// That a sequence has gone on, with its next token or its end.
struct Moved {
  PublicId sequence{};
  std::string why;
  Moves moves;  // since the token before
};

struct LoopStats {
  std::chrono::nanoseconds queue{}, prefill{}, decode{};  // as Finish of generation.proto
  int64_t drafted = 0, accepted = 0;                      // tokens guessed, and right
  Moves moves = {};
  // Of a status that says to send it again: when, as far as the queue tells; 0: it does not say so.
  std::chrono::nanoseconds retry_after{};
};

class LoopListener {
 public:
  virtual ~LoopListener() = default;
  // A route is reserved.
  virtual void OnStart(PublicId sequence) = 0;
  virtual void OnToken(const Token& token) = 0;
  virtual void OnMoved(const Moved&) {}
  // The last call. A finish reason where the status is OK (kLength after scores).
  virtual void OnEnd(const absl::Status& status, FinishReason reason, const LoopStats& stats) = 0;
};

class TokenLoop {
 public:
  virtual ~TokenLoop() = default;
  // Returns a ticket for Cancel. RESOURCE_EXHAUSTED and the like come by OnEnd.
  virtual uint64_t Submit(LoopRequest request, std::shared_ptr<LoopListener> listener) = 0;
  // Frees all that the sequence holds, everywhere; OnEnd(CANCELLED) follows unless it has ended.
  virtual void Cancel(uint64_t ticket) = 0;
};

}  // namespace catena
