// What the world knows a sequence by: a random number, which says nothing of the process that made
// it. Inside the cluster sequences are named by SequenceKey.
//
// Thread rules: pure functions, but for DrawPublicId, which any thread may call.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "kernels/base/status.h"

namespace catena {

enum class PublicId : uint64_t {};

// From the system's source of randomness.
PublicId DrawPublicId();

// As clients get it and `catena debug` takes it: "01f3a5c2d4e60789".
std::string ToString(PublicId id);
absl::StatusOr<PublicId> ParsePublicId(std::string_view text);

}  // namespace catena
