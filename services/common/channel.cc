#include "services/common/channel.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/support/channel_arguments.h>

namespace catena {

std::shared_ptr<grpc::Channel> MakeChannel(
    const std::string& address, const std::shared_ptr<grpc::ChannelCredentials>& credentials,
    const ChannelOptions& options) {
  // How long a connection may take to come about, TLS on a busy machine included.
  constexpr std::chrono::milliseconds kConnectTimeout{5'000};
  grpc::ChannelArguments args;
  const auto set_ms = [&args](const char* name, std::chrono::milliseconds value) {
    args.SetInt(name, static_cast<int>(value.count()));
  };
  args.SetMaxReceiveMessageSize(options.max_receive_bytes);
  args.SetMaxSendMessageSize(kMaxGrpcMessageBytes);
  set_ms(GRPC_ARG_KEEPALIVE_TIME_MS, options.keepalive);
  set_ms(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, options.keepalive_timeout);
  args.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  args.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  set_ms(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kFirstBackoff);
  set_ms(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kMaxBackoff);
  set_ms(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectTimeout);
  // A chain is told by its own configuration, never by a proxy of the environment or by DNS TXT.
  args.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  args.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, options.own_connection ? 1 : 0);
  if (!options.tls_name.empty()) args.SetSslTargetNameOverride(options.tls_name);
  return grpc::CreateCustomChannel(address, credentials, args);
}

}  // namespace catena
