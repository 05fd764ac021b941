#include "runtime/chain/edge_watch.h"

#include <algorithm>

#include "runtime/chain/limits.h"

namespace catena {

absl::Status EdgeWatch::Want(const Replica& to, Instant now) {
  auto it = edges_.find(to.incarnation);
  if (it == edges_.end()) {
    if (static_cast<int64_t>(edges_.size()) >= limits::kMaxPeers) {
      return absl::ResourceExhaustedError(
          fmt::format("it has links to {} other stages, its limit", edges_.size()));
    }
    Watched edge;
    edge.why = absl::UnavailableError("it does not answer");
    it = edges_.emplace(to.incarnation, std::move(edge)).first;
  }
  it->second.wanted = now;
  it->second.address = to.address;
  return absl::OkStatus();
}

bool EdgeWatch::Up(Incarnation to) {
  auto it = edges_.find(to);
  // One that was forgotten here a moment before the transport would have given it up.
  if (it == edges_.end() && static_cast<int64_t>(edges_.size()) < limits::kMaxPeers) {
    it = edges_.emplace(to, Watched{}).first;
  }
  if (it == edges_.end() || it->second.state == State::kUp) return false;
  it->second.state = State::kUp;
  return true;
}

bool EdgeWatch::Broke(Incarnation to, const absl::Status& why, Instant now) {
  auto it = edges_.find(to);
  if (it == edges_.end()) return false;
  Watched& edge = it->second;
  const bool news = edge.state != State::kBroken || edge.why != why;
  if (edge.state == State::kUp) edge.wanted = now;
  edge.state = State::kBroken;
  edge.why = why;
  return news;
}

std::vector<Edge> EdgeWatch::Broken() const {
  std::vector<Edge> broken;
  for (const auto& [to, edge] : edges_) {
    if (edge.state == State::kBroken) broken.push_back({to, edge.why});
  }
  return broken;
}

std::vector<Replica> EdgeWatch::ToTryAgain() const {
  std::vector<Replica> broken;
  for (const auto& [to, edge] : edges_) {
    if (edge.state != State::kBroken || edge.address.empty()) continue;
    if (!absl::IsFailedPrecondition(edge.why)) broken.push_back({edge.address, to});
  }
  return broken;
}

std::optional<Instant> EdgeWatch::ForgetAt() const {
  std::optional<Instant> at;
  for (const auto& [to, edge] : edges_) {
    if (edge.state == State::kUp) continue;
    at = std::min(at.value_or(Instant::max()), ForgottenAt(edge));
  }
  return at;
}

}  // namespace catena
