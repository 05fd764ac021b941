// Every bound of the chain protocol in one place. What exceeds one is refused with a status or
// dropped and asked for again; nothing grows because a peer says so.
#pragma once

#include <chrono>
#include <cstdint>

namespace catena::limits {

using std::chrono::milliseconds;

// --- messages ---
inline constexpr int kProtocolVersion = 2;          // a release talks to its predecessor
inline constexpr int64_t kMaxMessageRows = 512;     // of one Steps message
inline constexpr int64_t kMaxMessageSteps = 1024;   // sequences in one message of any kind
inline constexpr int64_t kMaxMessageIds = 1 << 20;  // token ids in one message
inline constexpr int64_t kMaxMessageBytes = 64 << 20;
// Of a sequence: an Open at a head names all its ids in one message.
inline constexpr int64_t kMaxPositions = kMaxMessageIds;
// That wait on one lane of a link; what comes then is dropped, and asked for again.
inline constexpr int64_t kMaxQueuedBytes = kMaxMessageBytes;
inline constexpr int64_t kMaxPeers = 1024;      // processes with links to one
inline constexpr int64_t kMaxTopLogprobs = 64;  // alternatives beside a token
inline constexpr int64_t kMaxStopIds = 1024;    // ids that end a sequence
inline constexpr int64_t kMaxAddressBytes = 1024;
inline constexpr int64_t kMaxErrorBytes = 1024;  // of a message that crosses a hop

// --- a stage ---
inline constexpr size_t kMaxMailbox = 1 << 16;         // messages that wait for an actor,
inline constexpr size_t kMaxMailboxBytes = 256 << 20;  // and the rows in them
inline constexpr int64_t kMaxOpenSequences = 4096;     // open at a stage
// That a gateway's heartbeat names: what a stage has open, and what it is being asked to open.
inline constexpr int64_t kMaxHeartbeat = 4 * kMaxOpenSequences;
// A sequence has KV pages set aside for so many positions more than it comes with, and twice as
// many each time that it had to make place for another.
inline constexpr int64_t kGrowthPositions = 256;
inline constexpr int64_t kMaxWindowRows = 4096;     // that a gateway may grant a hop
inline constexpr int64_t kDefaultWindowRows = 512;  // rows in flight past the receiver's length
// A sequence ends where more stages fail in a row while they compute it, without a new token: it
// may be what makes them fail.
inline constexpr size_t kMaxFailures = 8;
// It ends too where it had to go on elsewhere so often in a row, whatever the reasons.
inline constexpr int kMaxSetbacks = 64;
// After so many it is suspected, and of the suspects one is tried at a time.
inline constexpr size_t kFailuresToSuspect = 4;

// --- time ---
// By what failures are noticed. Operators choose them, by flags of the roles and of `up`.
struct DetectionLimits {
  milliseconds heartbeat{500};          // of a gateway to stages, of a sender to the next stage
  milliseconds lease{10'000};           // a sequence whose gateway is silent for so long is closed
  milliseconds no_progress{10'000};     // a sequence that should move and does not has failed
  milliseconds wait_for_route{30'000};  // a request waits so long for stages that are gone
  milliseconds probe_every{1'000};      // a gateway asks each replica how it is,
  milliseconds probe_timeout{1'000};    // waits so long,
  int probes_to_lose = 2;               // and takes so many in vain for an absence
  milliseconds keepalive{5'000};        // a silent connection is asked after that,
  milliseconds keepalive_timeout{5'000};  // and closed where no answer comes in time
  milliseconds longest_batch{1'000};      // that a stage puts together, by measured time a row
  milliseconds hello{5'000};              // who opens a stream says by then who it is
  milliseconds give_up{60'000};  // a link is down for so long: addresses of pods do not come back
};

// An Open without an answer is sent again, and a question for rows asked again.
inline constexpr milliseconds kRetry{1'000};

}  // namespace catena::limits
