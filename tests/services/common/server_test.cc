// The server of a role: health, reflection, addresses, TLS.
#include "services/common/server.h"

#include <deque>
#include <filesystem>
#include <set>

#include "catena/v1/chain.grpc.pb.h"
#include "catena/v1/tokenizer.grpc.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"
#include <gtest/gtest.h>

#include "services/common/channel.h"
#include "services/common/credentials.h"
#include "services/common/log.h"
#include "services/common/request_limits.h"
#include "tests/services/common/certificates.h"

namespace catena {
namespace {

using grpc::health::v1::Health;
using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;
using grpc::reflection::v1alpha::ServerReflection;
using grpc::reflection::v1alpha::ServerReflectionRequest;
using grpc::reflection::v1alpha::ServerReflectionResponse;
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
  void SetUp() override { ASSERT_TRUE(InitLog({.role = "test", .level = "error"}).ok()); }

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

  static std::unique_ptr<Health::Stub> HealthOf(const Server& server) {
    return Health::NewStub(MakeChannel(server.address(), grpc::InsecureChannelCredentials()));
  }
  static HealthCheckRequest Named(const std::string& name) {
    HealthCheckRequest request;
    request.set_service(name);
    return request;
  }
  static grpc::Status Check(const Server& server, const std::string& name,
                            HealthCheckResponse* response) {
    grpc::ClientContext context;
    return HealthOf(server)->Check(&context, Named(name), response);
  }

  TempDir dir_;
  ChainStub service_;
  v1::TokenizerService::Service hidden_;
};

TEST_F(ServerTest, HealthFollowsReadinessAndLivenessDoesNot) {
  const auto server = Start("127.0.0.1:0");
  ASSERT_TRUE(server.ok()) << server.status();
  HealthCheckResponse response;
  for (const bool serving : {false, true, false}) {
    (*server)->SetServing(serving);
    for (const char* name : {"", "readiness", "catena.v1.ChainService"}) {
      ASSERT_TRUE(Check(**server, name, &response).ok()) << name;
      EXPECT_EQ(response.status(),
                serving ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING)
          << name;
    }
    ASSERT_TRUE(Check(**server, "liveness", &response).ok());
    EXPECT_EQ(response.status(), HealthCheckResponse::SERVING);
    EXPECT_EQ(Check(**server, "nonsense", &response).error_code(), grpc::StatusCode::NOT_FOUND);
  }
}

TEST_F(ServerTest, WhoWatchesHealthIsToldOfChangesAndOfTheEnd) {
  const auto server = Start("127.0.0.1:0");
  ASSERT_TRUE(server.ok()) << server.status();
  const auto stub = HealthOf(**server);
  grpc::ClientContext context, nobodys;
  const auto watch = stub->Watch(&context, Named(""));
  const auto nobody = stub->Watch(&nobodys, Named("nobody"));
  HealthCheckResponse response;
  ASSERT_TRUE(nobody->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::SERVICE_UNKNOWN);
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::NOT_SERVING);
  (*server)->SetServing(true);
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::SERVING);
  (*server)->Shutdown(std::chrono::hours(1));  // it waits for no watch
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::NOT_SERVING);
  EXPECT_FALSE(watch->Read(&response));
  EXPECT_EQ(watch->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_FALSE(nobody->Read(&response));
}

TEST_F(ServerTest, CallsThatAreHeldOpenMakeWayForNewOnes) {
  const auto server = Start("127.0.0.1:0");
  ASSERT_TRUE(server.ok()) << server.status();
  const auto stub = HealthOf(**server);
  struct Held {
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReader<HealthCheckResponse>> watch;
  };
  std::deque<Held> held(limits::kMaxQuestions);
  HealthCheckResponse response;
  for (Held& h : held) {
    h.watch = stub->Watch(&h.context, Named(""));
    ASSERT_TRUE(h.watch->Read(&response));
  }
  ASSERT_TRUE(Check(**server, "liveness", &response).ok());
  EXPECT_FALSE(held[0].watch->Read(&response));
  EXPECT_EQ(held[0].watch->Finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  (*server)->SetServing(true);
  EXPECT_TRUE(held[1].watch->Read(&response));
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

TEST_F(ServerTest, ReflectionShowsWhatIsShownWithItsFilesAndNothingElse) {
  const auto server = Server::Start(
      {.listen = "127.0.0.1:0",
       .credentials = grpc::InsecureServerCredentials(),
       .services = {{v1::ChainService::service_full_name(), &service_},
                    {v1::TokenizerService::service_full_name(), &hidden_, /*is_shown=*/false}}});
  ASSERT_TRUE(server.ok()) << server.status();
  const auto stub = ServerReflection::NewStub(
      MakeChannel((*server)->address(), grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  const auto stream = stub->ServerReflectionInfo(&context);
  ServerReflectionRequest request;
  ServerReflectionResponse response;
  const auto ask = [&] { return stream->Write(request) && stream->Read(&response); };

  request.set_list_services("*");
  ASSERT_TRUE(ask());
  std::set<std::string> names;
  for (const auto& shown : response.list_services_response().service()) names.insert(shown.name());
  EXPECT_EQ(names, (std::set<std::string>{"catena.v1.ChainService", "grpc.health.v1.Health",
                                          "grpc.reflection.v1alpha.ServerReflection"}));

  request.set_file_containing_symbol("catena.v1.ChainService.Link");
  ASSERT_TRUE(ask());
  EXPECT_EQ(response.file_descriptor_response().file_descriptor_proto_size(), 2) << "with imports";
  EXPECT_EQ(response.original_request().file_containing_symbol(), "catena.v1.ChainService.Link");
  request.set_file_by_filename("catena/v1/cluster.proto");
  ASSERT_TRUE(ask());
  EXPECT_EQ(response.file_descriptor_response().file_descriptor_proto_size(), 1);

  for (const char* name : {"catena.v1.TokenizerService", "nobody", ""}) {
    request.set_file_containing_symbol(name);
    ASSERT_TRUE(ask());
    EXPECT_EQ(response.error_response().error_code(), grpc::StatusCode::NOT_FOUND) << name;
  }
  request.set_file_by_filename("catena/v1/tokenizer.proto");
  ASSERT_TRUE(ask());
  EXPECT_EQ(response.error_response().error_code(), grpc::StatusCode::NOT_FOUND);
  request.Clear();
  ASSERT_TRUE(ask());
  EXPECT_EQ(response.error_response().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(ServerTest, HealthAndReflectionTakeShortMessagesOnly) {
  const auto server = Start("127.0.0.1:0");
  ASSERT_TRUE(server.ok()) << server.status();
  HealthCheckResponse response;
  EXPECT_EQ(Check(**server, std::string(limits::kMaxQuestionBytes, 'x'), &response).error_code(),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
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
