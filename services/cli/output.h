// What a command writes to stdout, and figures about this process.
#pragma once

#include <cstdint>
#include <string_view>

#include <nlohmann/json.hpp>

#include "kernels/base/status.h"

namespace catena::cli {

// Writes and flushes. UNAVAILABLE where stdout is closed or full: nothing is lost silently.
absl::Status Write(std::string_view text);

// One object, one line. Bytes that are no UTF-8 become U+FFFD.
absl::Status WriteJson(const nlohmann::ordered_json& object);

// The most memory this process has had resident.
int64_t PeakMemoryBytes();

// "1.5 GiB", "98.4 MiB".
std::string HumanBytes(int64_t bytes);

}  // namespace catena::cli
