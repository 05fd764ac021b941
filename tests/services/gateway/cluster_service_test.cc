// Who may ask for the cluster's status, and how many at a time.
#include "services/gateway/cluster_service.h"

#include <future>

#include "services/common/log.h"
#include "services/common/request_limits.h"
#include "tests/services/gateway/fake_replicas.h"
#include "tests/temp_dir.h"

namespace catena {
namespace {

class ClusterServiceTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(InitLog({.role = "test", .level = "error"}).ok());
    actor_.Start(&links_);
  }
  void TearDown() override {
    stub_.reset();
    server_.reset();
    discovery_.Stop();
    pool_.Stop();
    actor_.Stop();
  }

  v1::ClusterService::Stub& api(const OperatorAccess& access = {}) {
    house_.pool = &pool_;
    service_ = std::make_unique<ClusterServiceImpl>(
        ClusterServiceOptions{.gateway = &actor_,
                              .discovery = &discovery_,
                              .readiness = &readiness_,
                              .metrics = &metrics_,
                              .describe = [] { return ReplicaInfo(); },
                              .access = access,
                              .house = &house_,
                              .calls = &calls_,
                              .refused = &refused_});
    const std::string address = "unix:" + folder_.path() + "/gateway";
    server_ =
        *Server::Start({.listen = address,
                        .credentials = grpc::InsecureServerCredentials(),
                        .services = {{v1::ClusterService::service_full_name(), service_.get()}}});
    stub_ = v1::ClusterService::NewStub(
        grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
    return *stub_;
  }

  GatewayMetrics metrics_;
  TempDir folder_;
  WorkerPool pool_{1};
  CallHouse house_;
  RunningCalls calls_{limits::kMaxClusterCalls, "questions"};
  RunningCalls refused_{limits::kMaxRefusedCalls, "refusals"};
  NoLinks links_;
  GatewayActor actor_{{.self = 99}};
  // Until it is started, whoever asks for the status waits.
  Discovery discovery_{DiscoveryOptions(), &actor_};
  Readiness readiness_{{}, &actor_, &discovery_, [](const absl::Status&) {}};
  std::unique_ptr<ClusterServiceImpl> service_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<v1::ClusterService::Stub> stub_;
};

TEST_F(ClusterServiceTest, AnOperatorsKeyIsAskedForOfEveryMethod) {
  discovery_.Start();
  const KeyRing keys(*ApiKeys::Parse("secret", "keys", KeyKind::kOperator));
  v1::ClusterService::Stub& stub = api({.operator_keys = &keys, .has_api_keys = true});
  const std::pair<std::string, grpc::StatusCode> cases[] = {
      {"", grpc::StatusCode::UNAUTHENTICATED},
      {"Bearer wrong", grpc::StatusCode::PERMISSION_DENIED},
      {"Bearer secret", grpc::StatusCode::OK}};
  for (const auto& [key, want] : cases) {
    grpc::ClientContext a, b;
    if (!key.empty()) a.AddMetadata("authorization", key), b.AddMetadata("authorization", key);
    v1::GetStatusResponse status;
    EXPECT_EQ(stub.GetStatus(&a, {}, &status).error_code(), want) << key;
    v1::DebugSequenceResponse sequence;
    const auto debugged = stub.DebugSequence(&b, {}, &sequence).error_code();
    const bool admitted = want == grpc::StatusCode::OK;
    EXPECT_EQ(debugged, admitted ? grpc::StatusCode::INVALID_ARGUMENT : want) << key;
  }
}

TEST_F(ClusterServiceTest, WithApiKeysAndNoOperatorsKeysItIsShownToNobody) {
  discovery_.Start();
  v1::ClusterService::Stub& stub = api({.has_api_keys = true});
  grpc::ClientContext context;
  v1::GetStatusResponse status;
  const grpc::Status refused = stub.GetStatus(&context, {}, &status);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_NE(refused.error_message().find("--operator-keys"), std::string::npos);
}

TEST_F(ClusterServiceTest, WithoutKeysItIsShownOnThisMachineAndNotThroughAProxy) {
  discovery_.Start();
  v1::ClusterService::Stub& stub = api();
  grpc::ClientContext here, forwarded;
  v1::GetStatusResponse status;
  EXPECT_EQ(stub.GetStatus(&here, {}, &status).error_code(), grpc::StatusCode::OK);
  forwarded.AddMetadata("x-forwarded-for", "203.0.113.7");
  EXPECT_EQ(stub.GetStatus(&forwarded, {}, &status).error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
  for (const char* peer : {"unix:", "unix:/run/x", "ipv4:127.0.0.1:4711", "ipv4:127.8.8.8:1",
                           "ipv6:%5B::1%5D:4711", "ipv6:[::1]:4711"}) {
    EXPECT_TRUE(IsOfThisMachine(peer)) << peer;
  }
  for (const char* peer : {"", "ipv4:10.0.0.1:127", "ipv4:203.0.113.127:1", "ipv6:%5B::10%5D:1",
                           "ipv6:%5Bfe80::1%5D:1", "vsock:1"}) {
    EXPECT_FALSE(IsOfThisMachine(peer)) << peer;
  }
}

TEST_F(ClusterServiceTest, CallsThatWaitAreBounded) {
  struct Call {
    grpc::ClientContext context;
    v1::GetStatusRequest request;
    v1::GetStatusResponse response;
    std::promise<grpc::StatusCode> done;
  };
  v1::ClusterService::Stub& stub = api();
  std::vector<std::unique_ptr<Call>> calls;
  std::vector<std::future<grpc::StatusCode>> done;
  std::promise<void> refused;
  for (int i = 0; i <= limits::kMaxClusterCalls; ++i) {
    Call* call = calls.emplace_back(std::make_unique<Call>()).get();
    call->context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    done.push_back(call->done.get_future());
    stub.async()->GetStatus(&call->context, &call->request, &call->response,
                            [call, &refused](const grpc::Status& status) {
                              if (status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED) {
                                refused.set_value();
                              }
                              call->done.set_value(status.error_code());
                            });
  }
  refused.get_future().wait();  // exactly one: a second would throw
  discovery_.Start();
  int answered = 0;
  for (auto& d : done) answered += d.get() == grpc::StatusCode::OK ? 1 : 0;
  EXPECT_EQ(answered, limits::kMaxClusterCalls);
  // Their places are free again, a moment after the answers.
  grpc::StatusCode later = grpc::StatusCode::RESOURCE_EXHAUSTED;
  while (later == grpc::StatusCode::RESOURCE_EXHAUSTED) {
    grpc::ClientContext context;
    v1::GetStatusResponse status;
    later = stub.GetStatus(&context, {}, &status).error_code();
  }
  EXPECT_EQ(later, grpc::StatusCode::OK);
}

}  // namespace
}  // namespace catena
