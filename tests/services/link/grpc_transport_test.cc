// The transport of gRPC is a Transport, over unix sockets, TCP and mTLS.
#include "services/link/grpc_transport.h"

#include "tests/runtime/chain/transport_conformance.h"
#include "tests/services/common/certificates.h"
#include "tests/services/link/grpc_rig.h"

namespace catena {
namespace {

std::unique_ptr<TransportRig> MakeUnixRig() { return std::make_unique<GrpcRig>(true); }
std::unique_ptr<TransportRig> MakeTcpRig() { return std::make_unique<GrpcRig>(false); }

std::unique_ptr<TransportRig> MakeMtlsRig() {
  auto rig = std::make_unique<GrpcRig>(false);
  EXPECT_TRUE(MakeAuthority(rig->dir, "ca"));
  EXPECT_TRUE(MakeCertificate(rig->dir, "ca", "member"));
  rig->tls = TlsFilesOf(rig->dir, "ca", "member");
  return rig;
}

INSTANTIATE_TEST_SUITE_P(Unix, TransportConformance, ::testing::Values(MakeUnixRig));
INSTANTIATE_TEST_SUITE_P(Tcp, TransportConformance, ::testing::Values(MakeTcpRig));
INSTANTIATE_TEST_SUITE_P(Mtls, TransportConformance,
                         ::testing::ValuesIn(HaveOpenssl()
                                                 ? std::vector<MakeTransportRig>{MakeMtlsRig}
                                                 : std::vector<MakeTransportRig>{}));
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(TransportConformance);

}  // namespace
}  // namespace catena
