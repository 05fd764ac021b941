// Who may talk with whom: plaintext, TLS, or TLS with certificates on both sides (mTLS). The files
// are watched: a renewed certificate is used from the next handshake on, without a restart. Renew
// them as Kubernetes does, by one rename, since key and certificate must fit at every moment.
//
// Inside a cluster a peer must have a certificate of the cluster's own authority; the host name in
// it is not compared with the address. Replicas are reached by addresses that come from DNS and
// change with every pod, and which of them answers is decided by its incarnation; whoever has a
// certificate of the authority is a member, and the authority should sign for nobody else. That is
// not enough for clients of the public gateway: their authority may be a public one, and they check
// the name as every TLS client does.
//
// Thread rules: pure functions, any thread.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>

#include "kernels/base/status.h"

namespace catena {

// PEM files. All empty: plaintext. A server needs `certificate` and `key`; with an `authority` it
// takes only callers that have a certificate of it. A caller needs the `authority`, and a
// certificate where the server asks for one.
struct TlsOptions {
  std::string certificate;
  std::string key;
  std::string authority;
  std::chrono::seconds refresh{10};  // how often the files are looked at
};

// Whom a caller takes for the one it wants to reach: whoever has a certificate of the authority, or
// only one whose certificate is for the name or IP address that is called.
enum class PeerNames { kAnyMember, kAsCalled };

// INVALID_ARGUMENT where a file is missing from the set, NOT_FOUND where one cannot be read.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(
    const TlsOptions& options);
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(
    const TlsOptions& options, PeerNames names);

}  // namespace catena
