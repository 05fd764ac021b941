#include "runtime/chain/messages.h"

#include <charconv>

#include "runtime/chain/replica_info.h"

namespace catena {

std::string ToString(const SequenceKey& key) {
  return fmt::format("{:x}-{}", key.gateway, key.number);
}

absl::StatusOr<SequenceKey> ParseSequenceKey(std::string_view text) {
  SequenceKey key;
  const char* end = text.data() + text.size();
  const auto gateway = std::from_chars(text.data(), end, key.gateway, 16);
  if (gateway.ec == std::errc() && gateway.ptr != end && *gateway.ptr == '-') {
    const auto number = std::from_chars(gateway.ptr + 1, end, key.number, 10);
    if (number.ec == std::errc() && number.ptr == end) return key;
  }
  return absl::InvalidArgumentError(
      fmt::format("{} is no sequence id; they look like 1f3a09c2-12", Quoted(text)));
}

std::string_view RoleName(Role role) {
  switch (role) {
    case Role::kGateway:
      return "gateway";
    case Role::kTokenizer:
      return "tokenizer";
    case Role::kShard:
      return "shard";
    case Role::kHead:
      return "head";
  }
  return "unknown";
}

}  // namespace catena
