#include "services/common/status.h"

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include <gtest/gtest.h>

namespace catena {
namespace {

using std::chrono::milliseconds;

TEST(StatusTest, CodesAndMessagesSurviveTheWay) {
  for (int code = 1; code <= 16; ++code) {
    const absl::Status status(static_cast<absl::StatusCode>(code), "what to do");
    const grpc::Status sent = ToGrpcStatus(status);
    EXPECT_EQ(sent.error_code(), code);
    EXPECT_TRUE(IsFromService(sent));
    EXPECT_EQ(FromGrpcStatus(sent).code(), status.code());
    EXPECT_EQ(FromGrpcStatus(sent).message(), status.message());
  }
  EXPECT_TRUE(ToGrpcStatus(absl::OkStatus()).ok());
  EXPECT_TRUE(FromGrpcStatus(grpc::Status::OK).ok());
}

TEST(StatusTest, ResourceExhaustedSaysWhenToRetryAsEveryClientReadsIt) {
  const grpc::Status sent = ToGrpcStatus(
      WithRetryDelay(absl::ResourceExhaustedError("the queue is full"), milliseconds(2500)));
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(sent.error_details()));
  EXPECT_EQ(details.code(), 8);
  EXPECT_EQ(details.message(), "the queue is full");
  google::rpc::RetryInfo info;
  ASSERT_EQ(details.details_size(), 1);
  ASSERT_TRUE(details.details(0).UnpackTo(&info));
  EXPECT_EQ(info.retry_delay().seconds(), 2);
  EXPECT_EQ(info.retry_delay().nanos(), 500'000'000);
  EXPECT_EQ(RetryDelay(FromGrpcStatus(sent)), milliseconds(2500));
  EXPECT_EQ(RetryDelay(FromGrpcStatus(ToGrpcStatus(absl::ResourceExhaustedError("full")))),
            kDefaultRetryDelay);
  EXPECT_EQ(RetryDelay(absl::UnavailableError("away")), std::nullopt);
}

TEST(StatusTest, MessagesAreOneLineOfUtf8) {
  const grpc::Status sent = ToGrpcStatus(absl::InternalError("a\nb\xFF" + std::string(9999, 'x')));
  EXPECT_TRUE(sent.error_message().starts_with("a b\xEF\xBF\xBDxxx"));
  EXPECT_LT(sent.error_message().size(), 3000u);
}

TEST(StatusTest, DamagedDetailsAreNoHarm) {
  const grpc::Status sent(grpc::StatusCode::ABORTED, "text", "\xFF\xFF not a proto");
  EXPECT_FALSE(IsFromService(sent));
  EXPECT_EQ(FromGrpcStatus(sent), absl::AbortedError("text"));
}

TEST(StatusTest, ErrorsOfTheConnectionSayWhatToDo) {
  const Peer gateway{"the gateway", "127.0.0.1:7", "is `catena up` running?"};
  const grpc::Status refused(
      grpc::StatusCode::UNAVAILABLE,
      "failed to connect to all addresses; last error: UNKNOWN: Failed to connect to remote host: "
      "Connection refused");
  EXPECT_EQ(Message(ExplainError(refused, gateway, false)),
            "cannot reach the gateway at 127.0.0.1:7: Connection refused; is `catena up` running?");
  EXPECT_NE(Message(ExplainError(refused, gateway, true)).find("was lost"), std::string_view::npos);
  const grpc::Status other_name(grpc::StatusCode::UNAVAILABLE,
                                "failed to connect to all addresses; last error: UNKNOWN: "
                                "ipv4:127.0.0.1:7: Custom verification check failed with error: "
                                "UNAUTHENTICATED: Hostname Verification Check failed.");
  EXPECT_EQ(Message(ExplainError(other_name, gateway, false)),
            "cannot reach the gateway at 127.0.0.1:7: its certificate is for another name: call it "
            "by that, or give --tls-server-name; is `catena up` running?");
  const absl::Status own = absl::UnavailableError("no replica holds blocks [8, 16)");
  EXPECT_EQ(ExplainError(ToGrpcStatus(own), gateway, false).message(), own.message());
  EXPECT_TRUE(absl::IsUnimplemented(
      ExplainError(grpc::Status(grpc::StatusCode::UNIMPLEMENTED, ""), gateway, false)));
}

}  // namespace
}  // namespace catena
