// How much a process holds of its links and of those who call it, beside what messages may have
// (runtime/chain/limits.h).
#pragma once

#include <cstddef>

#include "runtime/chain/limits.h"

namespace catena::limits {

inline constexpr size_t kMaxLinks = 256;                   // that it makes, of three lanes each
inline constexpr size_t kMaxStrangers = 512;               // streams without a hello
inline constexpr size_t kMaxKnownCallers = 4 * kMaxPeers;  // that are known again
inline constexpr size_t kMaxHandshakeBytes = 4096;         // of a stream's first frame

}  // namespace catena::limits
