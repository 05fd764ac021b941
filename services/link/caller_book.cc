#include "services/link/caller_book.h"

#include <openssl/crypto.h>

namespace catena {
namespace {

// In a time that says nothing about where they differ.
bool Same(const std::string& a, const std::string& b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace

absl::Status CallerBook::Enter(const Caller& caller, const std::string& certificate, Instant now) {
  const auto found = known_.find(caller.incarnation);
  if (found == known_.end()) {
    if (known_.size() >= options_.most && !MakePlace(now)) {
      return absl::ResourceExhaustedError(
          fmt::format("{} processes have called of late: try again later", options_.most));
    }
    known_[caller.incarnation] = {caller.role, caller.proof, certificate, 1, {}};
    return absl::OkStatus();
  }
  Known& known = found->second;
  const bool same = Same(known.proof, caller.proof) && Same(known.certificate, certificate);
  if (!same || known.role != caller.role) {
    return absl::PermissionDeniedError(
        fmt::format("a {} called that is not the {} {:x} it says it is", RoleName(caller.role),
                    RoleName(known.role), caller.incarnation));
  }
  ++known.streams;
  return absl::OkStatus();
}

void CallerBook::Leave(Incarnation caller, Instant now) {
  Known& known = known_.at(caller);
  --known.streams;
  known.left = now;
}

// By forgetting who has been away the longest, and long enough.
bool CallerBook::MakePlace(Instant now) {
  auto oldest = known_.end();
  for (auto it = known_.begin(); it != known_.end(); ++it) {
    if (it->second.streams > 0) continue;
    if (oldest == known_.end() || it->second.left < oldest->second.left) oldest = it;
  }
  if (oldest == known_.end() || now - oldest->second.left < options_.remember) return false;
  known_.erase(oldest);
  return true;
}

}  // namespace catena
