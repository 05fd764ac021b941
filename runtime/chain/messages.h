// What the processes of a chain say to one another, as plain values. services/link/codec turns
// them into the messages of proto/catena/v1/chain.proto and back, and checks what came from
// outside.
//
//   gateway ─ Open, Go, Close, Heartbeat ─▶ every stage of a route   (control)
//   gateway ─ Steps, SentLengths ─▶ first shard ─ the same ─▶ … ─▶ head   (decode and bulk)
//   stage ─ NeedFrom, Lengths ─▶ whoever sends it steps
//   stage ─ Opened, Refused, Unknown, Condition, head also Tokens ─▶ gateway
//
// Every message may be lost, or come twice; within one lane of one link, order is kept.
// Thread rules: plain values.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "kernels/base/status.h"
#include "model/sampler/params.h"
#include "model/sampler/sampler.h"
#include "runtime/chain/public_id.h"

namespace catena {

// One run of one process: random, never 0. A restarted process is another peer.
using Incarnation = uint64_t;

// A process of the chain, as another reaches it.
struct Replica {
  std::string address;  // host:port or unix:/path
  Incarnation incarnation = 0;
  friend bool operator==(const Replica&, const Replica&) = default;
};

// A sequence, unique for all time.
struct SequenceKey {
  Incarnation gateway = 0;
  uint64_t number = 0;  // counted by the gateway
  friend auto operator<=>(const SequenceKey&, const SequenceKey&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const SequenceKey& k) {
    return H::combine(std::move(h), k.gateway, k.number);
  }
};

// As stages are asked about it: "1f3a…-12". Clients know another name (public_id.h).
std::string ToString(const SequenceKey& key);
absl::StatusOr<SequenceKey> ParseSequenceKey(std::string_view text);

// Which of its lives a message about a sequence is of. `epoch` is raised by a Move (another route),
// `round` by a roll-back (the ids from a position on are others). Lower ones are dropped.
struct Life {
  uint32_t epoch = 0;
  uint32_t round = 0;
  friend auto operator<=>(const Life&, const Life&) = default;
};

// --- control: from the gateway ---

// Makes a sequence at a shard and sets KV pages aside for its first positions, or takes one that is
// there into a newer epoch: it keeps what it has computed, forgets what is queued, and sends
// nothing on until it hears Go. In the first epoch, where nobody has anything, there is no Go.
// Again with the same epoch: answered again. Where pages run short as sequences grow, those that
// came last make place (Refused with RESOURCE_EXHAUSTED).
struct OpenStage {
  SequenceKey sequence;
  Life life;
  Incarnation upstream = 0;   // who sends its steps: the gateway, or the shard before
  Replica next;               // where its rows go
  bool next_is_head = false;  // which needs rows only from first_wanted on
  int64_t prompt_length = 0;  // positions from there on are decodes
  int64_t max_length = 0;     // positions it may ever have
  int64_t first_wanted = 0;   // first position whose logits are wanted
  int64_t window_rows = 0;    // it may send so many past next's length
  int32_t decode_groups = 1;  // stages of the route with a device of their own
  PublicId public_id{};       // what the log calls it
  int64_t reserve = 0;        // positions that pages are set aside for; 0: all
  int64_t came = 0;           // to its gateway, ns since 1970
  bool started = false;       // it ran elsewhere before
  // It may be what makes stages fail, until a position from here on comes: of all gateways'
  // sequences that may, one at a time is here (Refused with kAwaitsTrial). 0: it is not suspected.
  int64_t trial_end = 0;
};

// The same at a head. `ids`: those that one that is made begins with (a Move), of which none is
// sampled again below `first_token`; a head that has the sequence keeps its own.
struct OpenHead {
  SequenceKey sequence;
  Life life;
  Incarnation upstream = 0;  // who sends its steps
  std::vector<int32_t> ids;
  int64_t prompt_length = 0;
  int64_t max_length = 0;
  int64_t first_wanted = 0;  // below prompt_length - 1: positions that are scored, not sampled
  int64_t first_token = 0;   // the first position whose token the gateway lacks
  int64_t window_rows = 0;   // the last shard may send so many past its length
  int32_t score_top = 0;     // the likeliest ids that a score names
  uint32_t sequence_index = 0;
  SamplingParams params;  // without stop strings, which are the gateway's
  PublicId public_id{};   // what the log calls it
  int64_t trial_end = 0;  // as OpenStage's
};

// All stages of the route are in this epoch. Of what a shard has computed `length` positions hold
// in this round; it sends on from the position that the next stage has come to. Again: does
// nothing.
struct Go {
  SequenceKey sequence;
  Life life;
  int64_t length = 0;
  int64_t next_length = 0;
  // Positions below were computed before, by whomever: to compute them is a replay.
  int64_t replay_end = 0;
};

struct Close {
  SequenceKey sequence;
};

// Renews the leases of the sequences it names; what the gateway opened up to number `newest` and
// does not name is closed. `next_token`: results below this position have come. `tell`: how far the
// stage has come is to be said (Opened).
struct Heartbeat {
  uint64_t newest = 0;
  struct Entry {
    SequenceKey sequence;
    Life life = {};
    int64_t next_token = 0;
    bool tell = false;
  };
  std::vector<Entry> open;
};

// --- control: to the gateway ---

struct Opened {
  SequenceKey sequence;
  Life life;           // its round is the one that the stage is in
  int64_t length = 0;  // positions that it has computed
  bool waits = false;  // for Go
};

// An Open that cannot be (RESOURCE_EXHAUSTED: no KV pages now), or a sequence that cannot go on
// here. Of the status' facts (error_facts.h) its reason goes with it.
struct Refused {
  SequenceKey sequence;
  Life life;
  absl::Status status;
  bool draining = false;  // the stage is about to stop: no failure of it, nor of its edges
};

// A message came for a sequence that is not open here; `life` is the message's.
struct Unknown {
  SequenceKey sequence;
  Life life;
};

// How a stage is: said anew whenever that changes.
struct Edge {
  Incarnation to = 0;
  absl::Status why;
};
struct Condition {
  std::vector<Edge> broken;  // its links to next stages that are, all of them
  bool draining = false;     // it takes no new sequences, and those that it has had better leave
};

// The token for `position`, or, for positions of the prompt, what the model expected there.
struct Token {
  SequenceKey sequence;
  Life life;
  int64_t position = 0;
  SampledToken token;
};
struct Tokens {
  std::vector<Token> tokens;
};

// --- hops: down the chain ---

// Positions [position, position + ids.size()) of one sequence, with the rows of the last `rows` of
// these positions: all of them between shards, none from the gateway, those wanted to the head.
// `round_begin`: positions from there on may be others than those of any earlier round that the
// receiver may have, so one that has not seen this round yet forgets them. `rotary`: which rotary
// factors the positions of this round are computed with (ModelInfo::rotary_switch); another value
// than before comes with round_begin 0.
struct Step {
  SequenceKey sequence;
  Life life;
  int64_t round_begin = 0;
  int32_t rotary = 0;
  int64_t position = 0;
  std::vector<int32_t> ids;
  std::vector<uint64_t> row_hashes;  // one a row that is carried
  int64_t end() const { return position + static_cast<int64_t>(ids.size()); }
  int64_t rows() const { return static_cast<int64_t>(row_hashes.size()); }
  int64_t first_row() const { return end() - rows(); }
};

// Residual rows, little-endian, one after another; shared by all who queue a part of them.
using RowPayload = std::shared_ptr<const std::string>;

struct Steps {
  uint64_t batch = 0;  // the sender's count: decodes of one batch stay together (convoys)
  std::vector<Step> steps;
  RowPayload rows;  // of all steps, in order; null where there are none
};

// What a length is of: in SentLengths the positions sent, in Lengths those computed.
struct Length {
  SequenceKey sequence;
  Life life;
  int64_t length = 0;
};
struct SentLengths {
  std::vector<Length> lengths;
};

// --- hops: up the chain ---

struct Lengths {
  std::vector<Length> lengths;
};

// Positions from `position` on, please, again or at last. `number` counts the questions about a
// sequence and hop: each rewinds the sender once.
struct NeedFrom {
  SequenceKey sequence;
  Life life;
  uint64_t number = 0;
  int64_t position = 0;
};

using ChainMessage =
    std::variant<OpenStage, OpenHead, Go, Close, Heartbeat, Opened, Refused, Unknown, Condition,
                 Tokens, Steps, SentLengths, Lengths, NeedFrom>;

// Each lane of a link is a stream of its own, so that bulk rows never delay a decode.
enum class Lane : uint8_t { kControl, kDecode, kBulk };
inline constexpr int kLanes = 3;

struct Envelope {
  Incarnation to = 0;
  Lane lane = Lane::kControl;
  ChainMessage message;
};

}  // namespace catena
