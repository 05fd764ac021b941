// A small HTTP/1 server for what operators ask of a process: short answers to GET and HEAD, one
// request a connection. It is open to whoever reaches it and can neither be hung nor inflated:
//
// - all connections are served by one thread that never waits for one of them;
// - at most `max_connections` are open. One more takes the place of the oldest, so that callers who
//   say nothing cannot keep out one who asks;
// - a connection ends after `timeout`, whatever its caller does;
// - a request's head may have `max_head_bytes`, and its body is not read.
//
// Thread rules: Start and the destructor by the owner; the handler is called on the server's
// thread, which answers nobody meanwhile.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "kernels/base/status.h"

namespace catena {

struct HttpServerOptions {
  std::string listen;  // host:port, where port 0 is a free one
  size_t max_connections = 64;
  size_t max_head_bytes = 8192;
  std::chrono::milliseconds timeout{10'000};
};

struct HttpResponse {
  int status = 200;
  std::string body;
  std::string content_type = "text/plain; charset=utf-8";
};

class HttpServer {
 public:
  // `path` is without what follows a question mark.
  using Handler = std::function<HttpResponse(std::string_view path)>;

  // UNAVAILABLE where it cannot listen.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const HttpServerOptions& options,
                                                           Handler handler);
  ~HttpServer();  // ends all connections

  // `listen` with the port that the system gave.
  const std::string& address() const;

 private:
  class Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace catena
