#include "services/common/listener.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <linux/tcp.h>
#include <netdb.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "services/common/channel.h"

namespace catena {
namespace {

constexpr int kBacklog = 1024;
constexpr int kPauseMs = 100;  // where the process has no descriptor left

absl::Status CannotListen(const std::string& listen, const char* why) {
  return absl::UnavailableError(fmt::format(
      "cannot listen at {}: {}; is the address of this machine, and free?", Quoted(listen), why));
}

// Some of the descriptors are for files and for the other side of a cluster.
size_t ConnectionLimit() {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return kMaxConnections;
  return std::min<size_t>(kMaxConnections, files.rlim_cur - files.rlim_cur / 4);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Listener>> Listener::Bind(const std::string& listen) {
  std::unique_ptr<Listener> out(new Listener);
  const size_t colon = listen.rfind(':');
  if (listen.rfind("unix:", 0) == 0) {
    out->address_ = listen;
    CATENA_RETURN_IF_ERROR(out->BindUnix(listen.substr(5)));
  } else if (colon != std::string::npos) {
    out->address_ = listen.substr(0, colon + 1);
    CATENA_RETURN_IF_ERROR(out->BindHost(listen.substr(0, colon), listen.substr(colon + 1)));
  } else {
    return absl::InvalidArgumentError(
        fmt::format("{} is no address to listen at: give host:port or unix:/path", Quoted(listen)));
  }
  out->stop_ = eventfd(0, EFD_CLOEXEC);
  return out;
}

absl::Status Listener::BindUnix(const std::string& path) {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof name.sun_path) {
    return CannotListen(address_, "the path is too long for a socket");
  }
  std::memcpy(name.sun_path, path.data(), path.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return CannotListen(address_, std::strerror(errno));
  sockets_.push_back(fd);
  // A socket that a process left behind which was killed.
  struct stat about {};
  if (stat(path.c_str(), &about) == 0 && S_ISSOCK(about.st_mode)) unlink(path.c_str());
  if (bind(fd, reinterpret_cast<sockaddr*>(&name), sizeof name) != 0 ||
      ::listen(fd, kBacklog) != 0) {
    return CannotListen(address_, std::strerror(errno));
  }
  unix_path_ = path;
  return absl::OkStatus();
}

absl::Status Listener::BindHost(const std::string& host, const std::string& port) {
  const std::string listen = address_ + port;
  const bool bracketed = host.size() > 1 && host.front() == '[' && host.back() == ']';
  const std::string name = bracketed ? host.substr(1, host.size() - 2) : host;
  addrinfo hints{};
  hints.ai_flags = AI_PASSIVE;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(name.c_str(), port.c_str(), &hints, &found); error != 0) {
    return CannotListen(listen, gai_strerror(error));
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owned(found, freeaddrinfo);
  uint16_t bound = 0;  // all addresses of a name listen at one port
  std::string why = "it has no address";
  for (const addrinfo* a = found; a != nullptr; a = a->ai_next) {
    const int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) continue;
    sockets_.push_back(fd);
    const int on = 1, off = 0;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (a->ai_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    // The port has the same place in both kinds.
    auto* address = reinterpret_cast<sockaddr_in*>(a->ai_addr);
    if (bound != 0) address->sin_port = bound;
    if (bind(fd, a->ai_addr, a->ai_addrlen) != 0 || ::listen(fd, kBacklog) != 0) {
      // Not on half of its addresses, where the port was asked for.
      if (errno == EADDRINUSE && port != "0") return CannotListen(listen, std::strerror(errno));
      why = std::strerror(errno);
      close(fd);
      sockets_.pop_back();
      continue;
    }
    sockaddr_in6 own{};
    socklen_t size = sizeof own;
    getsockname(fd, reinterpret_cast<sockaddr*>(&own), &size);
    bound = own.sin6_port;
  }
  if (sockets_.empty()) return CannotListen(listen, why.c_str());
  address_ += std::to_string(ntohs(bound));
  return absl::OkStatus();
}

Listener::~Listener() {
  Stop();
  for (const int fd : sockets_) close(fd);
  if (stop_ >= 0) close(stop_);
  if (!unix_path_.empty()) unlink(unix_path_.c_str());
}

void Listener::Start(std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor,
                     Connections* connections) {
  acceptor_ = std::move(acceptor);
  connections_ = connections;
  thread_ = std::thread([this] { Loop(); });
}

void Listener::Stop() {
  if (!thread_.joinable()) return;
  eventfd_write(stop_, 1);
  thread_.join();
}

void Listener::Loop() {
  std::vector<pollfd> polled{{.fd = stop_, .events = POLLIN, .revents = 0}};
  for (const int fd : sockets_) polled.push_back({.fd = fd, .events = POLLIN, .revents = 0});
  while (true) {
    if (poll(polled.data(), polled.size(), -1) < 0) continue;  // a signal
    if (polled[0].revents != 0) return;
    for (size_t i = 1; i < polled.size(); ++i) {
      if (polled[i].revents != 0) Take(polled[i].fd);
    }
  }
}

void Listener::Take(int listening) {
  const int fd = accept4(listening, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) {
    // It stays readable: without a pause this would turn at full speed.
    if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
      pollfd stop{.fd = stop_, .events = POLLIN, .revents = 0};
      poll(&stop, 1, kPauseMs);
    }
    return;
  }
  const size_t limit = ConnectionLimit();
  if (connections_->Count(limit) >= limit) {
    close(fd);
    return;
  }
  // As gRPC does for those that it takes itself. They fail on a unix socket, as they may.
  const int on = 1, unacknowledged_ms = static_cast<int>(kKeepaliveTimeout.count());
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacknowledged_ms, sizeof unacknowledged_ms);
  connections_->Add(fd);
  grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters connection;
  connection.listener_fd = listening;
  connection.fd = fd;
  acceptor_->HandleNewConnection(&connection);
}

}  // namespace catena
