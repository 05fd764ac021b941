#include "runtime/chain/public_id.h"

#include <charconv>
#include <random>

namespace catena {
namespace {

constexpr size_t kDigits = 16;

}  // namespace

PublicId DrawPublicId() {
  std::random_device random;
  return PublicId{(uint64_t{random()} << 32) | random()};
}

std::string ToString(PublicId id) { return fmt::format("{:016x}", static_cast<uint64_t>(id)); }

absl::StatusOr<PublicId> ParsePublicId(std::string_view text) {
  uint64_t id = 0;
  const char* end = text.data() + text.size();
  const auto [last, error] = std::from_chars(text.data(), end, id, 16);
  if (text.size() == kDigits && error == std::errc() && last == end) return PublicId{id};
  return absl::InvalidArgumentError(
      fmt::format("{} is no sequence id; they look like 01f3a5c2d4e60789", Quoted(text)));
}

}  // namespace catena
