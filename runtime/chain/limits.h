// Every bound of the chain protocol in one place. What exceeds one is refused with a status or
// dropped and asked for again; nothing grows because a peer says so.
#pragma once

#include <chrono>
#include <cstdint>

namespace catena::limits {

using std::chrono::milliseconds;

// --- messages ---
inline constexpr int kProtocolVersion = 1;          // a release talks to its predecessor
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
inline constexpr int64_t kMaxSequences = 4096;         // open at a stage
// That a gateway's heartbeat names: what a stage has open, and what it is being asked to open.
inline constexpr int64_t kMaxHeartbeat = 2 * kMaxSequences;
inline constexpr int64_t kMaxWindowRows = 4096;     // that a gateway may grant a hop
inline constexpr int64_t kDefaultWindowRows = 512;  // rows in flight past the receiver's length

// --- time ---
inline constexpr milliseconds kHeartbeat{500};
// A sequence whose gateway says nothing for so long is closed.
inline constexpr milliseconds kLease{10'000};
// A stage that should answer and has made no progress for so long has failed.
inline constexpr milliseconds kNoProgress{10'000};
// Who opens a stream says hello within this.
inline constexpr milliseconds kHello{5'000};
// A link that is down for so long is given up: addresses of pods do not come back.
inline constexpr milliseconds kGiveUpLink{60'000};
// An Open without an answer is sent again, and a question for rows asked again.
inline constexpr milliseconds kRetry{1'000};

}  // namespace catena::limits
