#include "services/cli/gateway_options.h"

#include "model/file_limits.h"
#include "model/read_file.h"
#include "services/cli/detection_options.h"
#include "services/common/channel.h"
#include "services/common/status.h"

namespace catena::cli {
namespace {

constexpr char kGatewayGroup[] = "Gateway";

absl::StatusOr<std::string> FirstLine(const std::string& path) {
  CATENA_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, limits::kKeysBytes));
  const std::string line = text.substr(0, text.find_first_of("\r\n"));
  if (!line.empty()) return line;
  return absl::InvalidArgumentError(fmt::format("{}: its first line has no key", path));
}

}  // namespace

Option GatewayOptions::Declare(App& app) {
  app.AddOption("--api-key", &api_key, "Where the gateway asks for one")
      .FromEnvironment("CATENA_API_KEY")
      .Group(kGatewayGroup);
  return DeclareConnection(app);
}

void GatewayOptions::DeclareWait(App& app) {
  const auto take = [this](const std::string& text) {
    wait_for_gateway = *ParseDuration("--wait-for-gateway", text);  // which was checked before
  };
  app.AddOption("--wait-for-gateway", take,
                "A text that breaks off waits so long for a gateway to go on with (default 30s)")
      .Check(CheckDuration)
      .Group(kGatewayGroup);
}

Option GatewayOptions::DeclareForOperators(App& app) {
  const Option key = app.AddOption("--operator-key", &api_key, "Where the gateway asks for one");
  key.FromEnvironment("CATENA_OPERATOR_KEY").Group(kGatewayGroup);
  const auto take = [this](const std::string& path) { api_key = FirstLine(path).value_or(""); };
  app.AddOption("--operator-key-file", take, "File whose first line is that key")
      .Check([](const std::string& path) { return std::string(Message(FirstLine(path).status())); })
      .Excludes(key)
      .Group(kGatewayGroup);
  return DeclareConnection(app);
}

Option GatewayOptions::DeclareConnection(App& app) {
  const Option authority = app.AddOption("--tls-ca", &tls.authority,
                                         "PEM file: the authority of the gateway's certificate");
  authority.Group(kGatewayGroup);
  app.AddOption("--tls-server-name", &tls_name,
                "The name in the gateway's certificate (default: its address's)")
      .Needs(authority)
      .Group(kGatewayGroup);
  app.AddOption("--tls-cert", &tls.certificate, "PEM file: a certificate of ours")
      .Group(kGatewayGroup);
  app.AddOption("--tls-key", &tls.key, "PEM file: its key").Group(kGatewayGroup);
  return app.AddOption("--gateway", &address, "HOST:PORT of the cluster's gateway")
      .Group(kGatewayGroup);
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
