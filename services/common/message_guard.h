// What unfinished messages may take. gRPC 1.51 gathers a message of whatever length it announces,
// up to 4 GiB, and looks at its own limit when all has come. So calls that strangers can make tell
// this when they begin to read and what they have read, and are ended where too much comes: by what
// has come on a connection since the oldest of its calls began to read, less what was of whole
// messages. Of unix sockets that is not known; whoever reaches one is of this machine.
//
// Thread rules: any thread; `too_much` is called on a thread of its own, and must not block.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>

#include "services/common/connections.h"

namespace catena {

class MessageGuard {
 public:
  // `most`: of one message. `all`: of all connections together.
  MessageGuard(size_t most, size_t all);
  ~MessageGuard();

  Connections& connections() { return connections_; }

  // One message that is read, until it is destroyed.
  class Reading {
   public:
    Reading(MessageGuard* guard, const std::string& peer, std::function<void()> too_much);
    Reading(const Reading&) = delete;
    Reading& operator=(const Reading&) = delete;
    ~Reading() { Done(0); }
    // It has come, or nothing more is to come.
    void Done(size_t bytes);

   private:
    MessageGuard* guard_;  // null: done
    const std::string peer_;
    uint64_t number_ = 0;
  };

 private:
  struct Reader {
    uint64_t came = 0, whole = 0;  // on the connection, when it began
    std::function<void()> too_much;
  };
  struct Peer {
    uint64_t whole = 0;  // bytes of messages that were read to their end
    std::map<uint64_t, Reader> readers;
  };

  void Loop();
  void Look();
  // Bytes of messages that are not whole.
  size_t Unfinished(const std::string& name, const Peer& peer);

  const size_t most_, all_;
  Connections connections_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, Peer> peers_;  // that have readers
  uint64_t next_ = 0;
  bool stopped_ = false;
  std::thread thread_;
};

}  // namespace catena
