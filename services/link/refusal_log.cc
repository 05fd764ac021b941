#include "services/link/refusal_log.h"

#include <functional>

#include "runtime/chain/limits.h"

namespace catena {

std::optional<std::string> RefusalLog::Refused(Incarnation caller, std::string_view why,
                                               Instant now) {
  if (said_.size() >= limits::kMaxPeers) said_.clear();
  const size_t hash = std::hash<std::string_view>()(why);
  const auto [said, is_new] = said_.try_emplace(caller, hash);
  if (!is_new && std::exchange(said->second, hash) == hash) return std::nullopt;
  if (now - minute_ >= std::chrono::minutes(1)) {
    minute_ = now;
    lines_ = 0;
  }
  if (lines_ >= kMaxLinesAMinute) {
    ++unsaid_;
    return std::nullopt;
  }
  ++lines_;
  std::string line = fmt::format("link refused: {}", why);
  if (unsaid_ > 0) line += fmt::format(" ({} more were refused before)", std::exchange(unsaid_, 0));
  return line;
}

}  // namespace catena
