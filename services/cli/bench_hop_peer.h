// The other end of `catena bench hop`: a process that sends back what comes, over the transport and
// over a bare stream.
//
// Thread rules: one thread.
#pragma once

#include <string>

#include "services/link/grpc_transport.h"

namespace catena::cli {

// In place of TokenizerService.Decode the peer has a stream that returns each message as it came.
inline constexpr char kBareMethod[] = "/catena.v1.TokenizerService/Decode";

inline LinkIdentity BenchIdentity(Incarnation incarnation, int64_t row_bytes) {
  return {incarnation, Role::kShard, "", "", {DType::kF32, row_bytes}};
}

// A peer in a process of its own, which ends with this object.
class HopPeer {
 public:
  static absl::StatusOr<std::unique_ptr<HopPeer>> Start(int64_t row_bytes);
  ~HopPeer();
  HopPeer(const HopPeer&) = delete;
  HopPeer& operator=(const HopPeer&) = delete;

  static constexpr Incarnation kUnixIncarnation = 2, kTcpIncarnation = 3;
  const std::string& unix_address() const { return unix_; }
  const std::string& tcp_address() const { return tcp_; }

 private:
  HopPeer() = default;

  int pid_ = 0;
  int stdin_ = -1;    // the peer ends when this closes
  std::string dir_;   // of the socket
  std::string unix_;  // unix:PATH
  std::string tcp_;   // 127.0.0.1:PORT
};

}  // namespace catena::cli
