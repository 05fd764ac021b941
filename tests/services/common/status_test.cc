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

// A detail as a client in any language reads it; nullopt where there is none.
template <typename M>
std::optional<M> Detail(const grpc::Status& sent) {
  google::rpc::Status details;
  EXPECT_TRUE(details.ParseFromString(sent.error_details()));
  EXPECT_EQ(details.code(), static_cast<int>(sent.error_code()));
  EXPECT_EQ(details.message(), sent.error_message());
  M detail;
  for (const auto& any : details.details()) {
    if (any.UnpackTo(&detail)) return detail;
  }
  return std::nullopt;
}

TEST(StatusTest, EveryErrorSaysWhyForPrograms) {
  for (int code = 1; code <= 16; ++code) {
    const absl::Status status(static_cast<absl::StatusCode>(code), "text");
    const auto info = Detail<google::rpc::ErrorInfo>(ToGrpcStatus(status));
    ASSERT_TRUE(info.has_value());
    EXPECT_EQ(info->reason(), absl::StatusCodeToString(status.code()));
    EXPECT_EQ(info->domain(), "catena");
    EXPECT_EQ(info->metadata_size(), 0);
  }
  const absl::Status lost = WithStage(
      WithReason(absl::UnavailableError("it is gone"), ErrorReason::kStageLost), "shard 0-7");
  // A second reason changes nothing.
  const absl::Status passed = Annotate(
      WithReason(FromGrpcStatus(ToGrpcStatus(lost)), ErrorReason::kDraining), "of a part of it");
  const auto info = Detail<google::rpc::ErrorInfo>(ToGrpcStatus(passed));
  ASSERT_TRUE(info.has_value());
  EXPECT_EQ(info->reason(), "STAGE_LOST");
  EXPECT_EQ(info->metadata().at("stage"), "shard 0-7");
}

TEST(StatusTest, AReasonOfAPeerIsOneOfOursOrNone) {
  google::rpc::Status details;
  details.set_code(14);
  google::rpc::ErrorInfo info;
  info.set_domain("catena");
  info.set_reason("ANYTHING_AT_ALL");
  details.add_details()->PackFrom(info);
  const grpc::Status sent(grpc::StatusCode::UNAVAILABLE, "text", details.SerializeAsString());
  EXPECT_EQ(ReasonText(FromGrpcStatus(sent)), "UNAVAILABLE");
}

TEST(StatusTest, WhatMayBeTriedAgainSaysWhen) {
  const absl::Status full = WithRetryAfter(absl::ResourceExhaustedError("the queue is full"),
                                           std::chrono::microseconds(2'499'100));
  const auto info = Detail<google::rpc::RetryInfo>(ToGrpcStatus(full));
  ASSERT_TRUE(info.has_value());
  EXPECT_EQ(info->retry_delay().seconds(), 2);
  EXPECT_EQ(info->retry_delay().nanos(), 500'000'000);
  EXPECT_EQ(RetryDelay(FromGrpcStatus(ToGrpcStatus(full))), milliseconds(2500));
  for (const absl::Status& status :
       {absl::ResourceExhaustedError("full"), absl::UnavailableError("away")}) {
    EXPECT_EQ(RetryDelay(FromGrpcStatus(ToGrpcStatus(status))), kDefaultRetryDelay);
  }
  for (const absl::Status& status :
       {absl::InvalidArgumentError("wrong"), absl::InternalError("broken"),
        absl::DeadlineExceededError("late"), absl::NotFoundError("absent")}) {
    EXPECT_FALSE(Detail<google::rpc::RetryInfo>(ToGrpcStatus(status)).has_value()) << status;
  }
}

TEST(StatusTest, AnInvalidArgumentNamesItsField) {
  const absl::Status wrong =
      WithField(absl::InvalidArgumentError("top_p is 2: it must be from 0 to 1"), "sampling.top_p");
  for (const absl::Status& status : {wrong, FromGrpcStatus(ToGrpcStatus(wrong))}) {
    const auto bad = Detail<google::rpc::BadRequest>(ToGrpcStatus(status));
    ASSERT_TRUE(bad.has_value());
    ASSERT_EQ(bad->field_violations_size(), 1);
    EXPECT_EQ(bad->field_violations(0).field(), "sampling.top_p");
    EXPECT_EQ(bad->field_violations(0).description(), wrong.message());
    EXPECT_EQ(Detail<google::rpc::ErrorInfo>(ToGrpcStatus(status))->reason(), "INVALID_FIELD");
  }
}

TEST(StatusTest, DetailsFitIntoTrailersHoweverLongTheMessageIs) {
  const absl::Status status = WithStage(
      WithField(absl::InvalidArgumentError(std::string(100'000, 'x')), std::string(100'000, 'y')),
      std::string(100'000, 'z'));
  const grpc::Status sent = ToGrpcStatus(status);
  // Binary metadata goes as base64.
  EXPECT_LT(sent.error_message().size() + sent.error_details().size() * 4 / 3, 8192u);
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
