// What the tests of a transport are made of: a receiver that keeps what comes, and processes with
// transports that can be started, broken and stopped.
//
// Thread rules: a RecordingReceiver may be called and asked from any thread; a rig from one.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "runtime/chain/limits.h"
#include "runtime/chain/transport.h"

namespace catena {

// Long enough for a loaded machine under a sanitizer; only a broken transport waits for so long.
inline constexpr std::chrono::seconds kPatience{60};

class RecordingReceiver : public Receiver {
 public:
  struct Got {
    Incarnation from = 0;
    Lane lane = Lane::kControl;
    ChainMessage message;
  };
  struct Gone {
    Incarnation peer = 0;
    absl::Status why;
  };

  void OnMessage(Incarnation from, Lane lane, ChainMessage message) override {
    if (on_message) on_message(from, lane, message);
    std::unique_lock lock(mu_);
    entered_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
    got_.push_back({from, lane, std::move(message)});
    changed_.notify_all();
  }
  void OnConnect(Incarnation peer) override {
    const std::lock_guard lock(mu_);
    reached_.push_back(peer);
    changed_.notify_all();
  }
  void OnDisconnect(Incarnation peer, const absl::Status& why) override {
    const std::lock_guard lock(mu_);
    gone_.push_back({peer, why});
    changed_.notify_all();
  }

  // While the gate is closed OnMessage blocks, which receivers must not, but may.
  void SetGate(bool open) {
    const std::lock_guard lock(mu_);
    open_ = open;
    changed_.notify_all();
  }
  [[nodiscard]] bool WaitForEntry() {
    std::unique_lock lock(mu_);
    return changed_.wait_for(lock, kPatience, [this] { return entered_; });
  }

  std::vector<Got> got() const {
    const std::lock_guard lock(mu_);
    return got_;
  }
  std::vector<Gone> gone() const {
    const std::lock_guard lock(mu_);
    return gone_;
  }

  std::vector<Incarnation> reached() const {
    const std::lock_guard lock(mu_);
    return reached_;
  }

  [[nodiscard]] bool WaitForMessages(size_t n, std::chrono::milliseconds most = kPatience) {
    std::unique_lock lock(mu_);
    return changed_.wait_for(lock, most, [&] { return got_.size() >= n; });
  }
  // Until a message answers to `matches`.
  [[nodiscard]] bool WaitFor(const std::function<bool(const Got&)>& matches,
                             std::chrono::milliseconds most = kPatience) {
    std::unique_lock lock(mu_);
    return changed_.wait_for(lock, most,
                             [&] { return std::any_of(got_.begin(), got_.end(), matches); });
  }
  // Until `peer` has been reported reached so many times.
  [[nodiscard]] bool WaitForReached(Incarnation peer, int64_t times = 1) {
    std::unique_lock lock(mu_);
    return changed_.wait_for(lock, kPatience, [&] {
      return std::count(reached_.begin(), reached_.end(), peer) >= times;
    });
  }
  // Until `peer` is reported gone with the code, by a report after the first `known`.
  [[nodiscard]] bool WaitForGone(Incarnation peer, absl::StatusCode code, size_t known = 0) {
    std::unique_lock lock(mu_);
    return changed_.wait_for(lock, kPatience, [&] {
      for (size_t i = known; i < gone_.size(); ++i) {
        if (gone_[i].peer == peer && gone_[i].why.code() == code) return true;
      }
      return false;
    });
  }

  std::function<void(Incarnation, Lane, const ChainMessage&)> on_message;  // set before use

 private:
  mutable std::mutex mu_;
  std::condition_variable changed_;
  bool open_ = true, entered_ = false;
  std::vector<Got> got_;
  std::vector<Gone> gone_;
  std::vector<Incarnation> reached_;
};

// A process with a transport.
class TransportNode {
 public:
  virtual ~TransportNode() = default;
  virtual Transport& transport() = 0;
  virtual Replica replica() const = 0;
};

struct NodeOptions {
  Incarnation incarnation = 1;
  std::string address;  // of an earlier node; "": a new one
  int64_t max_queued_bytes = limits::kMaxQueuedBytes;
  Receiver* receiver = nullptr;
};

class TransportRig {
 public:
  virtual ~TransportRig() = default;
  virtual std::unique_ptr<TransportNode> Start(const NodeOptions& options) = 0;
  // Breaks the links to the node, as a network would; the processes live on.
  virtual void BreakLinks(TransportNode* node) = 0;
};

}  // namespace catena
