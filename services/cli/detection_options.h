// The flags by which operators choose how failures are noticed: limits::DetectionLimits, each role
// its part of it, and `up` all of them for its roles.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "runtime/chain/limits.h"
#include "services/cli/app.h"

namespace catena::cli {

struct DetectionOptions {
  limits::DetectionLimits limits;

  void DeclareForGateway(App& app);
  void DeclareForStage(App& app);
  // INVALID_ARGUMENT where limits contradict each other.
  absl::Status Check() const;

 private:
  bool probes_ = false;  // a gateway asks replicas how they are
};

// Declares all of them; each that is given is handed over, with whom it is for.
enum class DetectionUser { kGateway, kStage, kBoth };
using HandDetection =
    std::function<void(DetectionUser user, const std::string& flag, const std::string& value)>;
void DeclareDetection(App& app, const HandDetection& hand);

// "500ms", "10s", "2m", "1.5s": more than nothing, an hour at most. INVALID_ARGUMENT that names the
// flag.
absl::StatusOr<std::chrono::milliseconds> ParseDuration(std::string_view flag,
                                                        std::string_view text);
// The same as a check of an option.
std::string CheckDuration(const std::string& text);

}  // namespace catena::cli
