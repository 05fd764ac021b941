// How large what clients and gateways ask may be. What is over a limit is refused with
// INVALID_ARGUMENT before anything is done with it.
#pragma once

#include <chrono>
#include <cstddef>

#include "kernels/base/status.h"
#include "runtime/chain/limits.h"

namespace catena::limits {

inline constexpr size_t kMaxTextBytes = size_t{2} << 20;  // a prompt, or all of a conversation
inline constexpr int kMaxChatMessages = 4096;
inline constexpr size_t kMaxRoleBytes = 256;       // of a chat message's role
inline constexpr int kMaxDecodeIds = 4096;         // of one message of a Decode stream
inline constexpr int kMaxPieceIds = 65536;         // of one GetPieces
inline constexpr int kMaxIdBytes = 10;             // of one id in a message: of a negative one
inline constexpr size_t kMaxQueuedEncodes = 1024;  // at a tokenizer; then RESOURCE_EXHAUSTED
// Calls of ClusterService that a gateway answers at a time; then RESOURCE_EXHAUSTED. Each waits for
// all replicas.
inline constexpr int kMaxClusterCalls = 64;
// Of one message of what only asks: health, reflection, Describe, DebugSequence.
inline constexpr int kMaxQuestionBytes = 4096;
// Calls of health, and of reflection, that a server has at a time; one more ends the oldest.
inline constexpr size_t kMaxQuestions = 1024;
// Of all messages of a cluster's inside together that have begun to come at one server; then
// RESOURCE_EXHAUSTED (message_guard.h).
inline constexpr size_t kMaxInternalUnfinishedBytes = size_t{256} << 20;

// --- the public port ---
// Of one message: the longest prompt as ids takes 3 MiB (limits::kMaxPositions ids of a vocabulary
// of at most two million, three bytes each), a conversation 2 MiB of text and 1 MiB of roles, and
// there is room for the rest.
inline constexpr int kMaxPublicMessageBytes = 4 << 20;
// Of all messages together that have begun to come; then RESOURCE_EXHAUSTED (message_guard.h).
inline constexpr size_t kMaxUnfinishedBytes = size_t{32} << 20;
// Of all requests together that wait to be worked off; then RESOURCE_EXHAUSTED.
inline constexpr size_t kMaxRequestBytes = size_t{64} << 20;
// Calls at a time, those that wait in the queue and those that run; then RESOURCE_EXHAUSTED.
inline constexpr size_t kMaxCalls = 6144;
static_assert(kMaxCalls > kMaxOpenSequences + 1024);  // the queue's default
// Refusals on their way to their clients; then calls are broken off without a word.
inline constexpr size_t kMaxRefusedCalls = 256;
// A call whose first message has not come after so long is ended, inside a cluster too.
inline constexpr std::chrono::milliseconds kMessageTimeout{10'000};

}  // namespace catena::limits

namespace catena {

// `Input`: a message with text() and chat(), of which a prompt or an input is one.
template <typename Input>
absl::Status CheckInputSize(const Input& input) {
  size_t bytes = input.text().size();
  for (const auto& message : input.chat().messages()) {
    bytes += message.content().size();
    if (message.role().size() > limits::kMaxRoleBytes) {
      return absl::InvalidArgumentError(fmt::format(
          "a message's role has {} bytes: give system, user or assistant", message.role().size()));
    }
  }
  if (bytes > limits::kMaxTextBytes) {
    return absl::InvalidArgumentError(fmt::format(
        "the text has {} bytes: at most {} are taken; shorten it", bytes, limits::kMaxTextBytes));
  }
  if (input.chat().messages_size() > limits::kMaxChatMessages) {
    return absl::InvalidArgumentError(
        fmt::format("the conversation has {} messages: at most {} are taken; start a new one",
                    input.chat().messages_size(), limits::kMaxChatMessages));
  }
  return absl::OkStatus();
}

}  // namespace catena
