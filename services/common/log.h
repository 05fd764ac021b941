// The log of a role: spdlog on stderr, one line an event, with the time, the level and the role.
// gRPC's own go there too, its errors at the level debug.
//
// Thread rules: InitLog once, before other threads; then spdlog::info and the like from any thread.
#pragma once

#include <string>
#include <string_view>

#include "kernels/base/status.h"

namespace catena {

// `level`: trace, debug, info, warn, error or off. INVALID_ARGUMENT for another.
absl::Status InitLog(std::string_view role, const std::string& level);

}  // namespace catena
