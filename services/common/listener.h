// Where a server listens: takes connections and hands them to gRPC. gRPC would take them itself,
// but 1.51 knows no limit to their number, and when the process has no descriptor left it stops to
// listen for good.
//
// Thread rules: one owner; it has a thread of its own.
#pragma once

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <grpcpp/server_builder.h>

#include "kernels/base/status.h"
#include "services/common/connections.h"

namespace catena {

// Open at a time; more are closed at once.
inline constexpr size_t kMaxConnections = 4096;

class Listener {
 public:
  // `listen`: host:port, where port 0 is a free one, or unix:/path. UNAVAILABLE where it cannot,
  // for example because another process does.
  static absl::StatusOr<std::unique_ptr<Listener>> Bind(const std::string& listen);
  ~Listener();  // Stop

  // As a client reaches it: `listen` with the port that the system gave.
  const std::string& address() const { return address_; }

  // `connections` outlives this.
  void Start(std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor,
             Connections* connections);
  // Takes no more connections.
  void Stop();

 private:
  Listener() = default;
  absl::Status BindUnix(const std::string& path);
  absl::Status BindHost(const std::string& host, const std::string& port);
  void Loop();
  void Take(int listening);

  std::vector<int> sockets_;
  int stop_ = -1;  // an eventfd
  std::string address_, unix_path_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor_;
  Connections* connections_ = nullptr;
  std::thread thread_;
};

}  // namespace catena
