// Client channels, with what both ends of a connection must agree on.
//
// Thread rules: any thread. A channel must not be the last one of the process to be destroyed in
// one of gRPC's callbacks: that would join the thread it runs on.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include <grpcpp/channel.h>
#include <grpcpp/security/credentials.h>

#include "runtime/chain/limits.h"

namespace catena {

// A connection that is silent for so long is asked whether it is alive, and broken where it does
// not answer, unless its owner was told otherwise (limits::DetectionLimits). Servers allow pings
// much more often, since their peers may have been told otherwise than they.
inline constexpr std::chrono::milliseconds kKeepaliveTime = limits::DetectionLimits().keepalive;
inline constexpr std::chrono::milliseconds kKeepaliveTimeout =
    limits::DetectionLimits().keepalive_timeout;
inline constexpr std::chrono::milliseconds kKeepaliveLeast{300};

// gRPC's limit of a message: ours, and room for what frames it.
inline constexpr int kMaxGrpcMessageBytes = static_cast<int>(limits::kMaxMessageBytes) + (1 << 20);

// Pauses between attempts to connect; gRPC makes them differ by a fifth.
inline constexpr std::chrono::milliseconds kFirstBackoff{20};
inline constexpr std::chrono::milliseconds kMaxBackoff{1'000};

struct ChannelOptions {
  // false: channels to one address share a connection.
  bool own_connection = false;
  // That the peer's certificate must have, where it is not the address's: of a unix socket, which
  // is otherwise called localhost, or of a port that is forwarded.
  std::string tls_name = {};
  std::chrono::milliseconds keepalive = kKeepaliveTime;
  std::chrono::milliseconds keepalive_timeout = kKeepaliveTimeout;
  int max_receive_bytes = kMaxGrpcMessageBytes;  // of one message
};

// `address`: host:port or unix:/path. It connects with the first call.
std::shared_ptr<grpc::Channel> MakeChannel(
    const std::string& address, const std::shared_ptr<grpc::ChannelCredentials>& credentials,
    const ChannelOptions& options = {});

}  // namespace catena
