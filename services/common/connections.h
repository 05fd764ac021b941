// The connections of a server: how many there are, and what has come on each.
//
// Thread rules: any thread.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>

namespace catena {

class Connections {
 public:
  // One that gRPC now owns, and closes when it likes.
  void Add(int fd);
  // Those that are open. `least`: an answer that is too large but under this will do.
  size_t Count(size_t least);
  struct Traffic {
    uint64_t bytes_from = 0;   // the peer
    uint32_t segments_to = 0;  // it, of data; it wraps
  };
  // With a peer, as gRPC names it; nullopt where that is not known: of a unix socket, or of a
  // connection that is closed.
  std::optional<Traffic> TrafficOf(const std::string& peer);

 private:
  struct Socket {
    int fd = -1;
    uint64_t inode = 0;  // a closed descriptor's number is soon another one's
  };
  static uint64_t InodeOf(int fd);

  std::mutex mutex_;
  std::multimap<std::string, Socket> sockets_;  // by peer
};

}  // namespace catena
