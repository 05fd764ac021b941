#include "services/common/connections.h"

#include <cstring>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>

namespace catena {
namespace {

// As gRPC writes it: "ipv4:127.0.0.1:4711", "ipv6:[::1]:4711", "unix:".
std::string PeerOf(int fd) {
  union {
    sockaddr any;
    sockaddr_in v4;
    sockaddr_in6 v6;
    sockaddr_storage room;
  } peer{};
  socklen_t size = sizeof peer;
  char text[INET6_ADDRSTRLEN] = {};
  if (getpeername(fd, &peer.any, &size) != 0) return "";
  if (peer.any.sa_family == AF_INET) {
    inet_ntop(AF_INET, &peer.v4.sin_addr, text, sizeof text);
    return fmt::format("ipv4:{}:{}", text, ntohs(peer.v4.sin_port));
  }
  if (peer.any.sa_family != AF_INET6) return "unix:";
  const in6_addr& address = peer.v6.sin6_addr;
  if (IN6_IS_ADDR_V4MAPPED(&address)) {
    inet_ntop(AF_INET, &address.s6_addr[12], text, sizeof text);
    return fmt::format("ipv4:{}:{}", text, ntohs(peer.v6.sin6_port));
  }
  inet_ntop(AF_INET6, &address, text, sizeof text);
  return fmt::format("ipv6:[{}]:{}", text, ntohs(peer.v6.sin6_port));
}

// gRPC escapes brackets in some of its versions.
std::string Plain(std::string peer) {
  for (const auto& [code, plain] : {std::pair("%5B", '['), std::pair("%5D", ']')}) {
    const size_t at = peer.find(code);
    if (at != std::string::npos) peer.replace(at, 3, 1, plain);
  }
  return peer;
}

}  // namespace

uint64_t Connections::InodeOf(int fd) {
  struct stat about {};
  return fstat(fd, &about) == 0 ? about.st_ino : 0;
}

void Connections::Add(int fd) {
  const std::string peer = PeerOf(fd);
  std::lock_guard lock(mutex_);
  sockets_.emplace(peer, Socket{.fd = fd, .inode = InodeOf(fd)});
}

size_t Connections::Count(size_t least) {
  std::lock_guard lock(mutex_);
  if (sockets_.size() < least) return sockets_.size();
  std::erase_if(sockets_,
                [](const auto& entry) { return InodeOf(entry.second.fd) != entry.second.inode; });
  return sockets_.size();
}

std::optional<Connections::Traffic> Connections::TrafficOf(const std::string& peer) {
  if (peer.starts_with("unix:")) return std::nullopt;
  std::lock_guard lock(mutex_);
  const auto [begin, end] = sockets_.equal_range(Plain(peer));
  for (auto it = begin; it != end; ++it) {
    const auto& [fd, inode] = it->second;
    if (InodeOf(fd) != inode) continue;
    tcp_info info{};
    socklen_t size = sizeof info;
    const bool known = getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 &&
                       size >= offsetof(tcp_info, tcpi_data_segs_out) + sizeof(uint32_t);
    if (known) return Traffic{info.tcpi_bytes_received, info.tcpi_data_segs_out};
  }
  return std::nullopt;
}

}  // namespace catena
