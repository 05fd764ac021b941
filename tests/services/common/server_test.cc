// The server of a role: health, reflection, addresses, TLS.
#include "services/common/server.h"

#include <filesystem>

#include "catena/v1/chain.grpc.pb.h"
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include "services/common/channel.h"
#include "services/common/credentials.h"
#include "services/common/log.h"
#include "tests/services/common/certificates.h"

namespace catena {
namespace {

using ::testing::Test;

class ChainStub final : public v1::ChainService::Service {
  grpc::Status Describe(grpc::ServerContext*, const v1::ChainServiceDescribeRequest*,
                        v1::ChainServiceDescribeResponse* response) override {
    response->mutable_replica()->set_incarnation(42);
    return grpc::Status::OK;
  }
};

class ServerTest : public Test {
 protected:
  void SetUp() override { ASSERT_TRUE(InitLog("test", "error").ok()); }

  absl::StatusOr<std::unique_ptr<Server>> Start(const std::string& listen,
                                                const TlsOptions& tls = {}) {
    CATENA_ASSIGN_OR_RETURN(auto credentials, MakeServerCredentials(tls));
    return Server::Start(
        {listen, credentials, {{v1::ChainService::service_full_name(), &service_}}});
  }

  static grpc::Status Describe(const std::string& address, const TlsOptions& tls = {},
                               PeerNames names = PeerNames::kAnyMember,
                               const std::string& tls_name = "") {
    const auto credentials = MakeChannelCredentials(tls, names);
    if (!credentials.ok()) ADD_FAILURE() << credentials.status();
    const auto stub = v1::ChainService::NewStub(
        MakeChannel(address, *credentials, {.own_connection = true, .tls_name = tls_name}));
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    v1::ChainServiceDescribeResponse response;
    return stub->Describe(&context, {}, &response);
  }

  // grpc.health.v1, whose protos Debian does not ship: field 1 of the request is the name, field 1
  // of the answer the status, 1 for SERVING and 2 for NOT_SERVING; -1 for NOT_FOUND.
  static int Health(const std::string& address, const std::string& name) {
    const auto channel = MakeChannel(address, grpc::InsecureChannelCredentials());
    std::string request;
    if (!name.empty()) request = "\x0A" + std::string(1, static_cast<char>(name.size())) + name;
    const grpc::Slice slice(request);
    const grpc::ByteBuffer out(&slice, 1);
    grpc::ByteBuffer in;
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    grpc::GenericStub stub(channel);
    const auto call = stub.PrepareUnaryCall(&context, "/grpc.health.v1.Health/Check", out, &queue);
    grpc::Status status;
    call->StartCall();
    call->Finish(&in, &status, nullptr);
    void* tag;
    bool ok;
    queue.Next(&tag, &ok);
    if (status.error_code() == grpc::StatusCode::NOT_FOUND) return -1;
    grpc::Slice answer;
    if (!status.ok() || !in.DumpToSingleSlice(&answer).ok() || answer.size() != 2) return -2;
    return answer.begin()[1];
  }

  TempDir dir_;
  ChainStub service_;
};

TEST_F(ServerTest, HealthFollowsReadinessAndLivenessDoesNot) {
  const auto server = Start("127.0.0.1:0");
  ASSERT_TRUE(server.ok()) << server.status();
  const std::string& address = (*server)->address();
  for (const bool serving : {false, true, false}) {
    (*server)->SetServing(serving);
    for (const char* name : {"", "readiness", "catena.v1.ChainService"}) {
      EXPECT_EQ(Health(address, name), serving ? 1 : 2) << name;
    }
    EXPECT_EQ(Health(address, "liveness"), 1);
    EXPECT_EQ(Health(address, "nonsense"), -1);
  }
}

TEST_F(ServerTest, SaysTheAddressThatItWasGiven) {
  for (const std::string& listen : {std::string("127.0.0.1:0"), std::string("localhost:0"),
                                    "unix:" + dir_.path() + "/socket"}) {
    const auto server = Start(listen);
    ASSERT_TRUE(server.ok()) << server.status();
    EXPECT_TRUE(Describe((*server)->address()).ok()) << (*server)->address();
  }
}

TEST_F(ServerTest, RefusesAnAddressThatIsTakenOrNone) {
  const auto first = Start("127.0.0.1:0");
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_TRUE(absl::IsUnavailable(Start((*first)->address()).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Start("nonsense").status()));
  EXPECT_FALSE(Start("unix:" + dir_.path() + "/no/such/folder").ok());
}

TEST_F(ServerTest, ReflectionNamesTheServices) {
  const auto server = Start("127.0.0.1:0");
  ASSERT_TRUE(server.ok()) << server.status();
  grpc::GenericStub stub(MakeChannel((*server)->address(), grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto call = stub.PrepareCall(
      &context, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", &queue);
  const grpc::Slice list_services(std::string("\x3A\x01*"));  // field 7
  grpc::ByteBuffer in;
  grpc::Status status;
  void* tag;
  bool ok;
  call->StartCall(nullptr);
  queue.Next(&tag, &ok);
  call->Write(grpc::ByteBuffer(&list_services, 1), nullptr);
  queue.Next(&tag, &ok);
  call->Read(&in, nullptr);
  queue.Next(&tag, &ok);
  ASSERT_TRUE(ok);
  context.TryCancel();
  call->Finish(&status, nullptr);
  queue.Next(&tag, &ok);
  grpc::Slice answer;
  ASSERT_TRUE(in.DumpToSingleSlice(&answer).ok());
  const std::string text(answer.begin(), answer.end());
  for (const char* name : {"catena.v1.ChainService", "grpc.health.v1.Health"}) {
    EXPECT_NE(text.find(name), std::string::npos) << name;
  }
}

TEST_F(ServerTest, TakesNoLongerMessageThanItsOptionsSay) {
  const auto server = Server::Start({.listen = "127.0.0.1:0",
                                     .credentials = grpc::InsecureServerCredentials(),
                                     .services = {{"shard", &service_}},
                                     .max_receive_bytes = 1000});
  ASSERT_TRUE(server.ok()) << server.status();
  const auto stub = v1::ChainService::NewStub(
      MakeChannel((*server)->address(), grpc::InsecureChannelCredentials()));
  for (const auto& [bytes, want] : {std::pair(900, grpc::StatusCode::UNIMPLEMENTED),
                                    std::pair(1100, grpc::StatusCode::RESOURCE_EXHAUSTED)}) {
    grpc::ClientContext context;
    v1::ChainServiceDebugSequenceRequest request;
    request.set_sequence_id(std::string(static_cast<size_t>(bytes), 'x'));
    v1::ChainServiceDebugSequenceResponse response;
    EXPECT_EQ(stub->DebugSequence(&context, request, &response).error_code(), want) << bytes;
  }
}

TEST_F(ServerTest, TlsFilesThatDoNotDoAreNamed) {
  EXPECT_TRUE(absl::IsNotFound(
      MakeServerCredentials({dir_.path() + "/a", dir_.path() + "/b", ""}).status()));
  const std::string nonsense = dir_.Write("nonsense", "no PEM");
  EXPECT_TRUE(absl::IsInvalidArgument(
      MakeChannelCredentials({"", "", nonsense}, PeerNames::kAsCalled).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(MakeServerCredentials({nonsense, "", ""}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(MakeServerCredentials({"", "", nonsense}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      MakeChannelCredentials({nonsense, nonsense, ""}, PeerNames::kAsCalled).status()));
}

class TlsTest : public ServerTest {
 protected:
  void SetUp() override {
    ServerTest::SetUp();
    if (!HaveOpenssl()) GTEST_SKIP() << "the openssl command is missing";
    ASSERT_TRUE(MakeAuthority(dir_, "ca") && MakeAuthority(dir_, "foreign"));
    ASSERT_TRUE(MakeCertificate(dir_, "ca", "member"));
    ASSERT_TRUE(MakeCertificate(dir_, "foreign", "stranger"));
  }
};

TEST_F(TlsTest, OnlyMembersTalkWithMembers) {
  const TlsOptions member = TlsFilesOf(dir_, "ca", "member");
  const auto server = Start("127.0.0.1:0", member);
  ASSERT_TRUE(server.ok()) << server.status();
  const std::string& address = (*server)->address();
  EXPECT_TRUE(Describe(address, member).ok());
  TlsOptions nameless = member;
  nameless.certificate = nameless.key = "";
  EXPECT_FALSE(Describe(address, nameless).ok()) << "without a certificate";
  TlsOptions stranger = TlsFilesOf(dir_, "ca", "stranger");  // signed by the foreign authority
  EXPECT_FALSE(Describe(address, stranger).ok()) << "with a stranger's certificate";
  TlsOptions distrustful = TlsFilesOf(dir_, "foreign", "member");
  EXPECT_FALSE(Describe(address, distrustful).ok()) << "a server of another authority";
  EXPECT_FALSE(Describe(address).ok()) << "in plaintext";
}

TEST_F(TlsTest, WithoutAnAuthorityAServerTakesEveryCaller) {
  TlsOptions open = TlsFilesOf(dir_, "ca", "member");
  open.authority = "";
  const auto server = Start("127.0.0.1:0", open);
  ASSERT_TRUE(server.ok()) << server.status();
  TlsOptions nameless = TlsFilesOf(dir_, "ca", "member");
  nameless.certificate = nameless.key = "";
  EXPECT_TRUE(Describe((*server)->address(), nameless).ok());
}

TEST_F(TlsTest, AClientOfAGatewayTakesNoOtherMemberForIt) {
  ASSERT_TRUE(MakeCertificate(dir_, "ca", "here", "DNS:localhost,IP:127.0.0.1"));
  ASSERT_TRUE(MakeCertificate(dir_, "ca", "gateway", "DNS:gateway.test"));
  const TlsOptions client{"", "", dir_.path() + "/ca.pem"};
  const auto reaches = [&](const Server& server, const std::string& name = "") {
    return Describe(server.address(), client, PeerNames::kAsCalled, name).ok();
  };
  for (const std::string& listen : {std::string("127.0.0.1:0"), std::string("localhost:0"),
                                    "unix:" + dir_.path() + "/socket"}) {
    SCOPED_TRACE(listen);
    TlsOptions tls = TlsFilesOf(dir_, "ca", "here");
    tls.authority = "";
    auto server = Start(listen, tls);
    ASSERT_TRUE(server.ok()) << server.status();
    EXPECT_TRUE(reaches(**server));
    EXPECT_FALSE(reaches(**server, "gateway.test"));
    server->reset();
    for (const char* other : {"member", "gateway"}) {
      tls = TlsFilesOf(dir_, "ca", other);
      tls.authority = "";
      server = Start(listen, tls);
      ASSERT_TRUE(server.ok()) << server.status();
      EXPECT_FALSE(reaches(**server)) << other;
      EXPECT_EQ(reaches(**server, "gateway.test"), std::string(other) == "gateway") << other;
      EXPECT_TRUE(Describe((*server)->address(), client).ok()) << "within the cluster";
      server->reset();
    }
  }
}

TEST_F(TlsTest, RenewedCertificatesAreUsedWithoutARestart) {
  const auto server = Start("127.0.0.1:0", TlsFilesOf(dir_, "ca", "member"));
  ASSERT_TRUE(server.ok()) << server.status();
  const TlsOptions other = TlsFilesOf(dir_, "foreign", "stranger");
  ASSERT_FALSE(Describe((*server)->address(), other).ok());
  for (const char* end : {".key", ".pem"}) {
    std::filesystem::rename(dir_.path() + "/stranger" + end, dir_.path() + "/member" + end);
  }
  std::filesystem::copy_file(dir_.path() + "/foreign.pem", dir_.path() + "/ca.pem",
                             std::filesystem::copy_options::overwrite_existing);
  const TlsOptions renewed = TlsFilesOf(dir_, "foreign", "member");
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  bool reached = false;
  while (!reached && std::chrono::steady_clock::now() < end) {
    reached = Describe((*server)->address(), renewed).ok();
  }
  EXPECT_TRUE(reached);
}

}  // namespace
}  // namespace catena
