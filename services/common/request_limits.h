// How large what clients and gateways ask may be. What is over a limit is refused with
// INVALID_ARGUMENT before anything is done with it.
#pragma once

#include <cstddef>

#include "kernels/base/status.h"

namespace catena::limits {

inline constexpr size_t kMaxTextBytes = size_t{2} << 20;  // a prompt, or all of a conversation
inline constexpr int kMaxChatMessages = 4096;
inline constexpr size_t kMaxRoleBytes = 256;       // of a chat message's role
inline constexpr int kMaxDecodeIds = 4096;         // of one message of a Decode stream
inline constexpr int kMaxPieceIds = 65536;         // of one GetPieces
inline constexpr size_t kMaxQueuedEncodes = 1024;  // at a tokenizer; then RESOURCE_EXHAUSTED
// Calls of ClusterService that a gateway answers at a time; then RESOURCE_EXHAUSTED. Each waits for
// all replicas.
inline constexpr int kMaxClusterCalls = 64;

// Of one message to the public API, whose sender is not known before it has come: the longest
// prompt as ids takes 5 MiB (limits::kMaxPositions varints), a conversation 2 MiB of text and 1 MiB
// of roles, and there is room for the rest.
inline constexpr int kMaxPublicMessageBytes = 8 << 20;

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
