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
// not answer. Servers allow pings twice as often: one that comes early is no offence.
inline constexpr std::chrono::milliseconds kKeepaliveTime{5'000};
inline constexpr std::chrono::milliseconds kKeepaliveTimeout{5'000};
inline constexpr std::chrono::milliseconds kKeepaliveLeast{kKeepaliveTime / 2};

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
};

// `address`: host:port or unix:/path. It connects with the first call.
std::shared_ptr<grpc::Channel> MakeChannel(
    const std::string& address, const std::shared_ptr<grpc::ChannelCredentials>& credentials,
    const ChannelOptions& options = {});

}  // namespace catena
