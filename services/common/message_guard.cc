#include "services/common/message_guard.h"

#include <algorithm>
#include <chrono>
#include <vector>

namespace catena {
namespace {

// While calls read. A connection brings some megabytes in it.
constexpr std::chrono::milliseconds kLookEvery{10};
// On a connection that has readers: headers and frames of other calls, pings, acknowledgements.
constexpr size_t kOtherBytes = size_t{1} << 20;

}  // namespace

MessageGuard::MessageGuard(size_t most, size_t all)
    : most_(most), all_(all), thread_([this] { Loop(); }) {}

MessageGuard::~MessageGuard() {
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

MessageGuard::Reading::Reading(MessageGuard* guard, const std::string& peer,
                               std::function<void()> too_much)
    : guard_(guard), peer_(peer) {
  const uint64_t came = guard->connections_.BytesFrom(peer).value_or(0);
  std::lock_guard lock(guard->mutex_);
  Peer& connection = guard->peers_[peer];
  number_ = guard->next_++;
  connection.readers[number_] = {
      .came = came, .whole = connection.whole, .too_much = std::move(too_much)};
  if (guard->peers_.size() == 1 && connection.readers.size() == 1) guard->changed_.notify_all();
}

void MessageGuard::Reading::Done(size_t bytes) {
  if (guard_ == nullptr) return;
  std::function<void()> last;  // may hold what calls this again: destroyed without the lock
  {
    std::lock_guard lock(guard_->mutex_);
    const auto it = guard_->peers_.find(peer_);
    it->second.whole += bytes;
    last = std::move(it->second.readers[number_].too_much);
    it->second.readers.erase(number_);
    if (it->second.readers.empty()) guard_->peers_.erase(it);
  }
  guard_ = nullptr;
}

void MessageGuard::Loop() {
  std::unique_lock lock(mutex_);
  while (!stopped_) {
    changed_.wait(lock, [this] { return stopped_ || !peers_.empty(); });
    changed_.wait_for(lock, kLookEvery, [this] { return stopped_; });
    lock.unlock();
    Look();
    lock.lock();
  }
}

size_t MessageGuard::Unfinished(const std::string& name, const Peer& peer) {
  const Reader& oldest = peer.readers.begin()->second;
  const uint64_t came = connections_.BytesFrom(name).value_or(0);
  const uint64_t whole = oldest.came + (peer.whole - oldest.whole) + kOtherBytes;
  return came > whole ? static_cast<size_t>(came - whole) : 0;
}

void MessageGuard::Look() {
  std::vector<std::function<void()>> ended;
  {
    std::lock_guard lock(mutex_);
    size_t sum = 0;
    std::vector<std::pair<size_t, const Peer*>> largest;
    for (const auto& [name, peer] : peers_) {
      largest.emplace_back(Unfinished(name, peer), &peer);
      sum += largest.back().first;
    }
    std::sort(largest.begin(), largest.end(), std::greater<>());
    for (const auto& [bytes, peer] : largest) {
      if (sum <= all_ && bytes <= most_ * peer->readers.size()) continue;
      for (const auto& [number, reader] : peer->readers) ended.push_back(reader.too_much);
      sum -= bytes;
    }
  }
  for (const auto& too_much : ended) too_much();
}

}  // namespace catena
