// What comes by the public port is let in by its headers, and its message is taken for what it is.
#include "services/gateway/public_call.h"

#include <fstream>
#include <limits>
#include <thread>

#include <grpcpp/generic/generic_stub.h>

#include "services/common/status.h"
#include "tests/services/front_fixture.h"

namespace catena {
namespace {

constexpr char kGenerate[] = "/catena.v1.GenerationService/Generate";

// A call by hand, which sends what a stub would not.
class RawCall {
 public:
  RawCall(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
          const std::string& key = "")
      : stub_(channel) {
    context_.set_deadline(std::chrono::system_clock::now() + kPatience);
    if (!key.empty()) context_.AddMetadata("authorization", "Bearer " + key);
    call_ = stub_.PrepareCall(&context_, method, &queue_);
    call_->StartCall(this);
    Next();  // false where the call has ended already, as one may that is refused
  }

  void Send(const std::string& bytes) {
    const grpc::Slice slice(bytes);
    call_->Write(grpc::ByteBuffer(&slice, 1), this);
    Next();
  }
  void HalfClose() {
    call_->WritesDone(this);
    Next();
  }
  absl::Status End() {
    grpc::Status status;
    call_->Finish(&status, this);
    Next();
    return FromGrpcStatus(status);
  }

 private:
  bool Next() {
    void* tag;
    bool ok = false;
    return queue_.Next(&tag, &ok) && ok;
  }

  grpc::GenericStub stub_;
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
};

class PublicCallTest : public FrontTest {
 protected:
  explicit PublicCallTest(const MessageGuardOptions& options = {}) : FrontTest(options) {}

  std::shared_ptr<grpc::Channel> Channel() {
    api();
    return gateway_->Connect();
  }
  // Requests that come wait for a tokenizer, to the end of the test. Before the first call.
  void KeepRequestsWaiting() {
    replicas_.Set({});
    client_options_.wait = std::chrono::hours(1);
  }
  // What a client has sent has not yet come.
  void AwaitRequests(size_t bytes) const {
    while (front_.house.requests.held() < bytes) std::this_thread::yield();
  }
};

TEST_F(PublicCallTest, WhoHasNoKeyIsToldSoBeforeHisMessageComes) {
  UseKeys("secret");
  for (const char* method : {"Generate", "Score", "Tokenize", "ListModels"}) {
    const std::string path = std::string("/catena.v1.GenerationService/") + method;
    EXPECT_TRUE(absl::IsUnauthenticated(RawCall(Channel(), path).End())) << method;
    EXPECT_TRUE(absl::IsPermissionDenied(RawCall(Channel(), path, "wrong").End())) << method;
  }
}

TEST_F(PublicCallTest, AMessageThatIsNoRequestIsRefusedWithAReason) {
  for (const std::string& bytes : {std::string("\x12\xFF\xFF", 3), std::string("\x12\x01\xFF", 3),
                                   std::string("nonsense"), std::string("\x0F")}) {
    RawCall call(Channel(), kGenerate);
    call.Send(bytes);
    const absl::Status status = call.End();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_NE(Message(status).find("catena.v1.GenerateRequest"), std::string_view::npos) << status;
  }
}

TEST_F(PublicCallTest, ATextThatIsNotUtf8IsRefusedWithAReason) {
  const std::string path = SharedPath("reports/F20-invalid-utf8.request.bin");
  if (path.empty()) GTEST_SKIP() << kNoSharedData;
  std::stringstream bytes;
  bytes << std::ifstream(path, std::ios::binary).rdbuf();
  RawCall call(Channel(), kGenerate);
  call.Send(bytes.str());
  const absl::Status status = call.End();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_NE(Message(status).find("UTF-8"), std::string_view::npos) << status;
}

TEST_F(PublicCallTest, ACallWithoutAMessageIsRefusedWithAReason) {
  RawCall call(Channel(), kGenerate);
  call.HalfClose();
  const absl::Status status = call.End();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_NE(Message(status).find("one message"), std::string_view::npos) << status;
}

class ImpatientTest : public PublicCallTest {
 protected:
  ImpatientTest() : PublicCallTest({.timeout = std::chrono::milliseconds(1)}) {}
};

TEST_F(ImpatientTest, AMessageThatDoesNotComeIsNotWaitedFor) {
  const absl::Status status = RawCall(Channel(), kGenerate).End();
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
  EXPECT_NE(Message(status).find("has not come"), std::string_view::npos) << status;
}

TEST_F(PublicCallTest, RequestsThatWaitHoldNoMoreThanTheirBudget) {
  KeepRequestsWaiting();
  v1::GenerateRequest request;
  request.set_text(std::string(limits::kMaxTextBytes, 'x'));
  const std::string bytes = request.SerializeAsString();
  const size_t fit = limits::kMaxRequestBytes / bytes.size();
  std::vector<std::unique_ptr<RawCall>> waiting;
  for (size_t i = 0; i < fit; ++i) {
    waiting.push_back(std::make_unique<RawCall>(Channel(), kGenerate));
    waiting.back()->Send(bytes);
  }
  AwaitRequests(fit * bytes.size());
  RawCall more(Channel(), kGenerate);
  more.Send(bytes);
  const absl::Status status = more.End();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
}

TEST_F(PublicCallTest, AGatewayThatStopsEndsItsCallsWithAReasonAndLetsNoneIn) {
  KeepRequestsWaiting();
  v1::GenerateRequest request;
  request.set_text("x");
  RawCall waiting(Channel(), kGenerate);
  waiting.Send(request.SerializeAsString());
  AwaitRequests(1);
  std::thread drain([&] { front_.calls.Drain(std::chrono::milliseconds(1), kPatience); });
  const absl::Status ended = waiting.End();
  EXPECT_TRUE(absl::IsUnavailable(ended)) << ended;
  EXPECT_NE(Message(ended).find("stopped"), std::string_view::npos) << ended;
  drain.join();
  const absl::Status refused = RawCall(Channel(), kGenerate).End();
  EXPECT_TRUE(absl::IsUnavailable(refused)) << refused;
  EXPECT_NE(Message(refused).find("stopping"), std::string_view::npos) << refused;
}

}  // namespace
}  // namespace catena
