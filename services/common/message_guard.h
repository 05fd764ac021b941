// What unfinished messages may take. gRPC 1.51 gathers a message of whatever length it announces,
// up to 4 GiB, and looks at its own limit when all has come: GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH is
// a filter over whole messages. So calls tell this when they begin to read and what they have read,
// and are ended where too much comes, or nothing: by what has come on a connection since the oldest
// of its calls began to read, less what was of whole messages and what goes with them.
//
// Of unix sockets that is not known, and only the time is kept. Whoever may write to one has the
// rights of the process's own user (a socket's file is writable by its owner alone, and that of
// `catena up` lies in a folder that nobody else may enter), who could end it in simpler ways.
//
// Thread rules: any thread; `end` is called on a thread of its own, and must not block. A Reading
// is used by one thread at a time.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "kernels/base/status.h"
#include "services/common/connections.h"
#include "services/common/request_limits.h"

namespace catena {

struct MessageGuardOptions {
  size_t all = limits::kMaxUnfinishedBytes;  // bytes of unfinished messages of all connections
  std::chrono::milliseconds timeout = limits::kMessageTimeout;  // of a call's first message
};

class MessageGuard {
 public:
  using End = std::function<void(const absl::Status& why)>;

  explicit MessageGuard(const MessageGuardOptions& options = {});
  ~MessageGuard();

  Connections& connections() { return connections_; }

  // What a call reads, until it is destroyed: a message, or one after the other.
  class Reading;

 private:
  using Clock = std::chrono::steady_clock;

  // What has gone over a connection: all, and whole messages from the peer.
  struct Passed {
    Connections::Traffic traffic;
    uint64_t messages = 0, bytes = 0;
  };
  struct Reader {
    Clock::time_point began;
    bool is_first = true;  // message of its call
    size_t most = 0;
    Passed before;  // as of the last look before it began to read
    End end;
  };
  struct Peer {
    Passed last_look;
    uint64_t messages = 0, bytes = 0;    // until now
    std::map<uint64_t, Reader> readers;  // as they began
  };
  struct Ending {
    End end;
    size_t most = 0;
  };

  void Loop();
  void Look();
  // REQUIRES: mutex_ is held.
  std::chrono::milliseconds PauseLocked() const;
  // Bytes of a peer's messages that are not whole.
  static size_t Unfinished(const Peer& peer, Clock::time_point now);

  const MessageGuardOptions options_;
  Connections connections_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, Peer> peers_;  // that have readers
  uint64_t next_ = 0;
  bool stopped_ = false;
  std::thread thread_;
};

class MessageGuard::Reading {
 public:
  // `most`: bytes of the message. `guard` outlives it; null: nothing is guarded.
  Reading(MessageGuard* guard, const std::string& peer, size_t most, End end);
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;
  ~Reading() { Done(0); }

  // The message has come, of so many bytes; another one of at most `most` may come, at any time.
  void Next(size_t bytes, size_t most);
  // The message has come, or nothing more is to come.
  void Done(size_t bytes);

 private:
  MessageGuard* guard_;  // null: done
  std::map<std::string, Peer>::iterator peer_;
  uint64_t number_ = 0;
};

}  // namespace catena
