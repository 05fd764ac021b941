// The log of a role: spdlog on stderr, one line an event, with the time, the level and the role; or
// one JSON object a line. gRPC's own go there too, its errors at the level debug.
//
// What came from outside and is logged cannot forge a line: control characters are replaced, and in
// JSON escaped. No prompt and no output is logged. Nothing is logged with a lock held, since
// whoever reads stderr may be slow.
//
// Thread rules: InitLog once, before other threads; then spdlog::info and the like, and LogFacts,
// from any thread.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>

#include "kernels/base/status.h"

namespace catena {

struct LogOptions {
  std::string role;
  std::string level = "info";   // trace, debug, info, warn, error or off
  std::string format = "text";  // or json
};

// INVALID_ARGUMENT for another level or format.
absl::Status InitLog(const LogOptions& options);

struct LogFact {
  std::string_view name;  // ours: lower_case
  std::variant<std::string_view, int64_t, double> value;
};

// At the level info: "message name=value …", or in JSON members beside "message".
void LogFacts(std::string_view message, std::initializer_list<LogFact> facts);

}  // namespace catena
