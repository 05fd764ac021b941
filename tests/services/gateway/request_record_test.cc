// What operators and programs learn of a request: its id, its line in the log, its share of the
// metrics, and why it failed.
#include "services/gateway/request_record.h"

#include <functional>
#include <thread>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include <gmock/gmock.h>

#include "tests/services/front_fixture.h"
#include "tests/services/log_lines.h"

namespace catena {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr char kSecret[] = "the prompt that nobody may see";

class RequestRecordTest : public FrontTest {
 protected:
  struct Outcome {
    std::string request_id;  // of the initial metadata
    grpc::Status status;
  };

  // A request whose call has this x-request-id.
  Outcome Generate(const v1::GenerateRequest& request, const std::string& id = "") {
    grpc::ClientContext context;
    if (!id.empty()) context.AddMetadata("x-request-id", id);
    const auto reader = api().Generate(&context, request);
    v1::GenerateResponse response;
    while (reader->Read(&response)) {
    }
    Outcome out;
    out.status = reader->Finish();
    const auto& metadata = context.GetServerInitialMetadata();
    if (const auto found = metadata.find("x-request-id"); found != metadata.end()) {
      out.request_id = {found->second.data(), found->second.size()};
    }
    return out;
  }
  static v1::GenerateRequest Ids() {
    v1::GenerateRequest request;
    for (const int32_t id : {1, 2, 3}) request.mutable_tokens()->add_ids(id);
    return request;
  }
  // Lets a sequence of so many tokens run, as the loop's n-th.
  std::thread Answer(uint64_t n, int tokens) {
    return std::thread([this, n, tokens] {
      loop_.Await(n);
      loop_.Start(n);
      for (int i = 0; i < tokens; ++i) loop_.SayIds(n, {100 + i});
      loop_.End(n, FinishReason::kLength);
    });
  }
  std::string Metrics() const {
    Exposition page;
    front_.metrics.Collect("m", page);
    return page.text();
  }
  // Of a failed call, by type.
  template <typename M>
  static std::optional<M> Detail(const grpc::Status& status) {
    google::rpc::Status details;
    EXPECT_TRUE(details.ParseFromString(status.error_details()));
    M detail;
    for (const auto& any : details.details()) {
      if (any.UnpackTo(&detail)) return detail;
    }
    return std::nullopt;
  }
  static std::string FieldOf(const grpc::Status& status) {
    const auto bad = Detail<google::rpc::BadRequest>(status);
    return bad && bad->field_violations_size() == 1 ? bad->field_violations(0).field() : "none";
  }
};

TEST_F(RequestRecordTest, AnIdIsTheClientsOrDrawn) {
  EXPECT_EQ(RequestIdFor("abc-1/2:3"), "abc-1/2:3");
  EXPECT_EQ(RequestIdFor(std::string(128, 'x')), std::string(128, 'x'));
  for (const std::string& bad : {std::string(), std::string(129, 'x'), std::string("a b"),
                                 std::string("a\nb"), std::string("\xC3\xA9")}) {
    const std::string drawn = RequestIdFor(bad);
    EXPECT_EQ(drawn.size(), 32u);
    EXPECT_EQ(drawn.find_first_not_of("0123456789abcdef"), std::string::npos) << drawn;
    EXPECT_NE(drawn, RequestIdFor(bad));
  }
}

TEST_F(RequestRecordTest, ARequestIsALineAndCountsExactly) {
  const LogLines log;
  std::thread loop = Answer(0, 5);
  const Outcome out = Generate(Ids(), "client-7");
  loop.join();
  EXPECT_TRUE(out.status.ok()) << out.status.error_message();
  EXPECT_EQ(out.request_id, "client-7");
  ASSERT_TRUE(log.WaitFor("request method=Generate"));
  EXPECT_THAT(
      log.With("request method="),
      ElementsAre(AllOf(HasSubstr("request_id=client-7 sequence="), HasSubstr(" status=OK "),
                        HasSubstr(" finish=length prompt_tokens=3 output_tokens=5 "))));
  const std::string page = Metrics();
  for (const std::string line :
       {R"(catena_gateway_requests_total{method="Generate",code="OK",reason="OK"} 1)",
        R"(catena_gateway_sequences_total{finish="length"} 1)",
        R"(vllm:request_success_total{model_name="m",finished_reason="length"} 1)",
        R"(catena_gateway_prompt_tokens_total 3)", R"(catena_gateway_output_tokens_total 5)",
        R"(vllm:generation_tokens_total{model_name="m"} 5)",
        R"(catena_gateway_time_to_first_token_seconds_count 1)",
        R"(catena_gateway_inter_token_seconds_count 4)",
        R"(catena_gateway_request_seconds_count 1)"}) {
    EXPECT_THAT(page, HasSubstr("\n" + line + "\n"));
  }
}

TEST_F(RequestRecordTest, AFailureSaysWhyToProgramsAndToTheLog) {
  const LogLines log;
  std::thread loop([this] {
    loop_.Await(0);
    loop_.End(0, FinishReason::kLength,
              WithRetryAfter(WithStage(WithReason(absl::UnavailableError("it is gone"),
                                                  ErrorReason::kStageLost),
                                       "shard 0-7"),
                             std::chrono::seconds(3)));
  });
  const Outcome out = Generate(Ids());
  loop.join();
  EXPECT_EQ(out.request_id.size(), 32u);
  const auto info = Detail<google::rpc::ErrorInfo>(out.status);
  ASSERT_TRUE(info.has_value());
  EXPECT_EQ(info->reason(), "STAGE_LOST");
  EXPECT_EQ(info->metadata().at("stage"), "shard 0-7");
  EXPECT_EQ(Detail<google::rpc::RetryInfo>(out.status)->retry_delay().seconds(), 3);
  ASSERT_TRUE(
      log.WaitFor("status=UNAVAILABLE reason=STAGE_LOST error=\"it is gone\" finish=error"));
}

TEST_F(RequestRecordTest, TheFieldThatIsToBlameIsNamed) {
  const auto field_of = [this](const std::function<void(v1::GenerateRequest&)>& set) {
    v1::GenerateRequest request = Ids();
    set(request);
    return FieldOf(Generate(request).status);
  };
  EXPECT_EQ(field_of([](auto& r) { r.mutable_sampling()->set_top_p(2); }), "sampling.top_p");
  EXPECT_EQ(field_of([](auto& r) { r.mutable_sampling()->add_stop(""); }), "sampling.stop");
  EXPECT_EQ(field_of([](auto& r) { r.mutable_sampling()->set_top_logprobs(3); }),
            "sampling.top_logprobs");
  EXPECT_EQ(field_of([](auto& r) { r.mutable_sampling()->set_min_tokens(60); }),
            "sampling.min_tokens");
  EXPECT_EQ(field_of([](auto& r) { r.mutable_tokens()->add_ids(-1); }), "prompt");
  EXPECT_EQ(field_of([](auto& r) { r.mutable_chat(); }), "chat.messages");
  EXPECT_EQ(field_of([](auto& r) { r.clear_prompt(); }), "prompt");
  v1::GenerateRequest unknown = Ids();
  unknown.set_model("other");
  EXPECT_EQ(Detail<google::rpc::ErrorInfo>(Generate(unknown).status)->reason(), "UNKNOWN_MODEL");
  v1::GenerateRequest long_prompt;
  long_prompt.mutable_tokens()->mutable_ids()->Resize(kTestContext + 1, 1);
  EXPECT_EQ(Detail<google::rpc::ErrorInfo>(Generate(long_prompt).status)->reason(),
            "PROMPT_TOO_LONG");
}

TEST_F(RequestRecordTest, WhoeverIsNotLetInIsCountedToo) {
  UseKeys("sk-right");
  EXPECT_EQ(Detail<google::rpc::ErrorInfo>(Generate(Ids()).status)->reason(), "API_KEY_MISSING");
  EXPECT_THAT(
      Metrics(),
      HasSubstr("requests_total{method=\"Generate\",code=\"UNAUTHENTICATED\",reason=\"API_KEY_"
                "MISSING\"} 1"));
}

TEST_F(RequestRecordTest, StrangersDoNotFillTheLog) {
  const LogLines log;
  UseKeys("sk-right");
  constexpr int kCalls = 100, kLines = 60;
  for (int i = 0; i < kCalls; ++i) EXPECT_FALSE(Generate(Ids()).status.ok());
  EXPECT_THAT(log.With("refused method=Generate"), testing::SizeIs(kLines));
  EXPECT_THAT(Metrics(), HasSubstr("reason=\"API_KEY_MISSING\"} 100"));
}

TEST_F(RequestRecordTest, NoTextGetsIntoTheLog) {
  const LogLines log;
  v1::GenerateRequest request;
  request.set_text(kSecret);
  request.mutable_sampling()->add_stop(kSecret);
  std::thread loop = Answer(0, 1);
  EXPECT_TRUE(Generate(request).status.ok());
  loop.join();
  request.mutable_sampling()->set_top_p(2);
  EXPECT_FALSE(Generate(request).status.ok());
  v1::GenerateRequest other = Ids();
  other.set_model(kSecret);  // which the error quotes
  EXPECT_FALSE(Generate(other).status.ok());
  ASSERT_TRUE(log.WaitFor("status=INVALID_ARGUMENT"));
  EXPECT_THAT(log.With(kSecret), ElementsAre());
}

}  // namespace
}  // namespace catena
