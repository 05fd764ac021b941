#include "services/common/message_guard.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "runtime/chain/error_facts.h"

namespace catena {
namespace {

// While calls wait for their first message. A connection brings some megabytes in it.
constexpr std::chrono::milliseconds kLookEvery{10};
// While others wait for their next, perhaps for hours.
constexpr std::chrono::milliseconds kLookAtStreamsEvery{20};

// What comes on a connection beside messages: headers and frames of other calls, settings …
constexpr uint64_t kOtherBytes = uint64_t{1} << 20;
// … the frame and the TLS record of a message, and of each 16 KiB of a long one …
constexpr uint64_t kBytesAMessage = 64, kMessageBytesAByte = 128;
// … what acknowledges that we have sent something …
constexpr uint64_t kBytesASegment = 128;
// … and pings.
constexpr uint64_t kBytesASecond = 256;

}  // namespace

MessageGuard::MessageGuard(const MessageGuardOptions& options)
    : options_(options), thread_([this] { Loop(); }) {}

MessageGuard::~MessageGuard() {
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

MessageGuard::Reading::Reading(MessageGuard* guard, const std::string& peer, size_t most, End end)
    : guard_(guard) {
  if (guard == nullptr) return;
  std::lock_guard lock(guard->mutex_);
  const bool is_first = guard->peers_.empty();
  bool is_new;
  std::tie(peer_, is_new) = guard->peers_.try_emplace(peer);
  Peer& connection = peer_->second;
  if (is_new) {
    connection.last_look.traffic =
        guard->connections_.TrafficOf(peer).value_or(Connections::Traffic());
  }
  number_ = guard->next_++;
  connection.readers[number_] = {.began = Clock::now(),
                                 .is_first = true,
                                 .most = most,
                                 .before = connection.last_look,
                                 .end = std::move(end)};
  if (is_first) guard->changed_.notify_all();
}

void MessageGuard::Reading::Next(size_t bytes, size_t most) {
  if (guard_ == nullptr) return;
  std::lock_guard lock(guard_->mutex_);
  Peer& connection = peer_->second;
  ++connection.messages;
  connection.bytes += bytes;
  auto node = connection.readers.extract(number_);
  node.key() = number_ = guard_->next_++;
  Reader& reader = node.mapped();
  reader.began = Clock::now();
  reader.is_first = false;
  reader.most = most;
  reader.before = connection.last_look;
  connection.readers.insert(std::move(node));
}

void MessageGuard::Reading::Done(size_t bytes) {
  if (guard_ == nullptr) return;
  End last;  // may hold what calls this again: destroyed without the lock
  {
    std::lock_guard lock(guard_->mutex_);
    Peer& connection = peer_->second;
    ++connection.messages;
    connection.bytes += bytes;
    last = std::move(connection.readers.at(number_).end);
    connection.readers.erase(number_);
    if (connection.readers.empty()) guard_->peers_.erase(peer_);
  }
  guard_ = nullptr;
}

std::chrono::milliseconds MessageGuard::PauseLocked() const {
  for (const auto& [name, peer] : peers_) {
    for (const auto& [number, reader] : peer.readers) {
      if (reader.is_first) return kLookEvery;
    }
  }
  return kLookAtStreamsEvery;
}

void MessageGuard::Loop() {
  std::unique_lock lock(mutex_);
  while (!stopped_) {
    changed_.wait(lock, [this] { return stopped_ || !peers_.empty(); });
    changed_.wait_for(lock, PauseLocked(), [this] { return stopped_; });
    lock.unlock();
    Look();
    lock.lock();
  }
}

size_t MessageGuard::Unfinished(const Peer& peer, Clock::time_point now) {
  const Reader& oldest = peer.readers.begin()->second;
  const Passed &then = oldest.before, &today = peer.last_look;
  const uint64_t whole = today.bytes - then.bytes;
  const uint32_t segments = today.traffic.segments_to - then.traffic.segments_to;
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(now - oldest.began).count();
  const uint64_t others = kOtherBytes + kBytesAMessage * (today.messages - then.messages) +
                          whole / kMessageBytesAByte + kBytesASegment * segments +
                          kBytesASecond * static_cast<uint64_t>(seconds);
  const uint64_t came = today.traffic.bytes_from - then.traffic.bytes_from;
  return came > whole + others ? static_cast<size_t>(came - whole - others) : 0;
}

void MessageGuard::Look() {
  std::vector<Ending> late, greedy;
  {
    std::lock_guard lock(mutex_);
    const Clock::time_point now = Clock::now();
    size_t sum = 0;
    std::vector<std::pair<size_t, const Peer*>> largest;
    for (auto& [name, peer] : peers_) {
      peer.last_look = {connections_.TrafficOf(name).value_or(peer.last_look.traffic),
                        peer.messages, peer.bytes};
      largest.emplace_back(Unfinished(peer, now), &peer);
      sum += largest.back().first;
      for (const auto& [number, reader] : peer.readers) {
        if (reader.is_first && now - reader.began > options_.timeout) {
          late.push_back({reader.end, reader.most});
        }
      }
    }
    std::sort(largest.begin(), largest.end(), std::greater<>());
    for (const auto& [bytes, peer] : largest) {
      size_t most = 0;
      for (const auto& [number, reader] : peer->readers) most += reader.most;
      if (sum <= options_.all && bytes <= most) continue;
      for (const auto& [number, reader] : peer->readers) {
        greedy.push_back({reader.end, reader.most});
      }
      sum -= bytes;
    }
  }
  for (const Ending& ending : late) {
    ending.end(WithReason(
        absl::DeadlineExceededError(fmt::format(
            "the request has not come within {} s of its call; send it at once, or a smaller one",
            std::chrono::duration<double>(options_.timeout).count())),
        ErrorReason::kDeadline));
  }
  for (const Ending& ending : greedy) {
    ending.end(
        WithReason(absl::ResourceExhaustedError(fmt::format(
                       "a request has at most {} bytes, and all that are being received {}; send "
                       "a shorter one, or ask again later",
                       ending.most, options_.all)),
                   ErrorReason::kTooManyCalls));
  }
}

}  // namespace catena
