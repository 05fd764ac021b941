#include "services/common/credentials.h"

#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_certificate_verifier.h>
#include <grpcpp/security/tls_credentials_options.h>

#include "model/file_limits.h"
#include "model/read_file.h"

namespace catena {
namespace {

using grpc::experimental::FileWatcherCertificateProvider;

bool IsPlaintext(const TlsOptions& o) {
  return o.certificate.empty() && o.key.empty() && o.authority.empty();
}

// gRPC itself would only log it, and let every handshake fail.
absl::Status CheckPem(const std::string& path) {
  if (path.empty()) return absl::OkStatus();
  CATENA_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, limits::kCertificateBytes));
  if (text.find("-----BEGIN") != std::string::npos) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format("{} is no PEM file", path));
}

absl::Status Check(const TlsOptions& o) {
  if (o.certificate.empty() != o.key.empty()) {
    return absl::InvalidArgumentError(o.key.empty() ? "TLS has a certificate but no key: give it"
                                                    : "TLS has a key but no certificate: give it");
  }
  CATENA_RETURN_IF_ERROR(CheckPem(o.certificate));
  CATENA_RETURN_IF_ERROR(CheckPem(o.key));
  return CheckPem(o.authority);
}

std::shared_ptr<FileWatcherCertificateProvider> Watch(const TlsOptions& o) {
  return std::make_shared<FileWatcherCertificateProvider>(o.key, o.certificate, o.authority,
                                                          static_cast<unsigned>(o.refresh.count()));
}

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(
    const TlsOptions& options) {
  if (IsPlaintext(options)) return grpc::InsecureServerCredentials();
  if (options.certificate.empty() && options.key.empty()) {
    return absl::InvalidArgumentError("TLS of a server needs a certificate and its key: give both");
  }
  CATENA_RETURN_IF_ERROR(Check(options));
  grpc::experimental::TlsServerCredentialsOptions tls(Watch(options));
  tls.watch_identity_key_cert_pairs();
  if (!options.authority.empty()) {
    tls.watch_root_certs();
    tls.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  }
  return grpc::experimental::TlsServerCredentials(tls);
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(
    const TlsOptions& options, PeerNames names) {
  if (IsPlaintext(options)) return grpc::InsecureChannelCredentials();
  if (options.authority.empty()) {
    return absl::InvalidArgumentError(
        "TLS of a caller needs the certificate of the authority: give it");
  }
  CATENA_RETURN_IF_ERROR(Check(options));
  grpc::experimental::TlsChannelCredentialsOptions tls;
  tls.set_certificate_provider(Watch(options));
  tls.watch_root_certs();
  if (!options.certificate.empty()) tls.watch_identity_key_cert_pairs();
  tls.set_verify_server_certs(true);
  if (names == PeerNames::kAsCalled) {
    tls.set_certificate_verifier(
        std::make_shared<grpc::experimental::HostNameCertificateVerifier>());
  } else {
    // The chain is verified, the host name is not: see the header.
    tls.set_certificate_verifier(std::make_shared<grpc::experimental::NoOpCertificateVerifier>());
    tls.set_check_call_host(false);
  }
  return grpc::experimental::TlsCredentials(tls);
}

}  // namespace catena
