#include "services/cli/gateway_options.h"

#include "services/common/channel.h"
#include "services/common/status.h"

namespace catena::cli {

Option GatewayOptions::Declare(App& app) {
  const char* group = "Gateway";
  app.AddOption("--api-key", &api_key, "Where the gateway asks for one")
      .FromEnvironment("CATENA_API_KEY")
      .Group(group);
  const Option authority = app.AddOption("--tls-ca", &tls.authority,
                                         "PEM file: the authority of the gateway's certificate");
  authority.Group(group);
  app.AddOption("--tls-server-name", &tls_name,
                "The name in the gateway's certificate (default: its address's)")
      .Needs(authority)
      .Group(group);
  app.AddOption("--tls-cert", &tls.certificate, "PEM file: a certificate of ours").Group(group);
  app.AddOption("--tls-key", &tls.key, "PEM file: its key").Group(group);
  return app.AddOption("--gateway", &address, "HOST:PORT of the cluster's gateway").Group(group);
}

absl::StatusOr<std::shared_ptr<grpc::Channel>> GatewayOptions::Connect() const {
  CATENA_ASSIGN_OR_RETURN(const auto credentials,
                          MakeChannelCredentials(tls, PeerNames::kAsCalled));
  return MakeChannel(address, credentials, {.tls_name = tls_name});
}

std::string GatewayOptions::Authorization() const {
  return api_key.empty() ? "" : "Bearer " + api_key;
}

void GatewayOptions::Authorize(grpc::ClientContext* context) const {
  if (!api_key.empty()) context->AddMetadata("authorization", Authorization());
}

void GatewayOptions::Prepare(std::chrono::milliseconds bound, grpc::ClientContext* context) const {
  context->set_deadline(std::chrono::system_clock::now() + bound);
  Authorize(context);
}

absl::Status GatewayOptions::ToStatus(const grpc::Status& status, bool answered) const {
  const char* advice =
      tls.authority.empty()
          ? "is `catena up` running, and the address right? If it speaks TLS, give --tls-ca"
          : "is `catena up` running, and the address right? Does it speak TLS, with a certificate "
            "of --tls-ca?";
  const Peer gateway{"the gateway", address, advice};
  return ExplainError(status, gateway, answered);
}

}  // namespace catena::cli
