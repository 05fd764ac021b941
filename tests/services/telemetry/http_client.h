// A caller of an HTTP server that sends exactly what a test says, byte by byte if need be.
//
// Thread rules: one thread at a time.
#pragma once

#include <cerrno>
#include <string>
#include <string_view>
#include <utility>

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace catena {

class HttpClient {
 public:
  // `address`: 127.0.0.1:PORT.
  explicit HttpClient(const std::string& address) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    const timeval guard{.tv_sec = 30, .tv_usec = 0};  // a test that waits so long has failed
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &guard, sizeof guard);
    setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &guard, sizeof guard);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
  }
  HttpClient(HttpClient&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  HttpClient& operator=(HttpClient&&) = delete;
  ~HttpClient() {
    if (fd_ >= 0) close(fd_);
  }

  // False where the other side has ended the connection.
  bool Send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }

  // What comes until the other side ends the connection.
  std::string ReadAll() {
    std::string all;
    char buffer[4096];
    ssize_t got = 0;
    while ((got = recv(fd_, buffer, sizeof buffer, 0)) > 0) {
      all.append(buffer, static_cast<size_t>(got));
    }
    EXPECT_TRUE(got == 0 || errno == ECONNRESET) << "the connection is not ended";
    return all;
  }

  // Whether the other side says something, or ends the connection, within so many milliseconds.
  bool HasNews(int wait_ms) const {
    pollfd p{.fd = fd_, .events = POLLIN, .revents = 0};
    return poll(&p, 1, wait_ms) > 0;
  }

 private:
  int fd_;
};

// The whole answer, head and body.
inline std::string Get(const std::string& address, const std::string& path,
                       const std::string& method = "GET") {
  HttpClient client(address);
  EXPECT_TRUE(client.Send(method + " " + path + " HTTP/1.1\r\nHost: test\r\n\r\n"));
  return client.ReadAll();
}

inline std::string BodyOf(const std::string& answer) {
  const size_t end = answer.find("\r\n\r\n");
  return end == std::string::npos ? "" : answer.substr(end + 4);
}

}  // namespace catena
