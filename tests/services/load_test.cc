// The load generator of `catena bench serve`, against a server that writes tokens as fast as it
// can.
#include <thread>

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "services/load/client.h"
#include "services/load/fairness.h"
#include "services/load/mix.h"
#include "services/load/report.h"

namespace catena::load {
namespace {

using testing::HasSubstr;

MixOptions Options() {
  MixOptions o;
  o.vocab_size = 100;
  o.context_length = 4096;
  return o;
}

// --- the mix ---

TEST(MixTest, TheSameSeedGivesTheSameRequests) {
  Mix a(Options()), b(Options());
  MixOptions other_seed = Options();
  other_seed.seed = 2;
  Mix other(other_seed);
  bool differs = false;
  for (int i = 0; i < 100; ++i) {
    const RequestSpec x = a.Next(), y = b.Next();
    EXPECT_EQ(x.prompt, y.prompt);
    EXPECT_EQ(x.max_tokens, y.max_tokens);
    differs |= other.Next().prompt != x.prompt;
    EXPECT_EQ(a.Gap(3), b.Gap(3));
  }
  EXPECT_TRUE(differs);
}

TEST(MixTest, LengthsHaveTheirMedianAndStayWithinTheirBounds) {
  Mix mix(Options());
  std::vector<double> prompts, outputs;
  for (int i = 0; i < 2000; ++i) {
    const RequestSpec spec = mix.Next();
    prompts.push_back(static_cast<double>(spec.prompt.size()));
    outputs.push_back(spec.max_tokens);
    for (const int32_t id : spec.prompt) ASSERT_LT(static_cast<uint32_t>(id), 100u);
  }
  EXPECT_NEAR(PercentilesOf(prompts)->p50, 100, 10);
  EXPECT_NEAR(PercentilesOf(outputs)->p50, 140, 10);
  EXPECT_EQ(*std::max_element(prompts.begin(), prompts.end()), 1024);  // the tail is cut
  EXPECT_EQ(*std::max_element(outputs.begin(), outputs.end()), 512);
}

TEST(MixTest, PromptAndAnswerFitIntoASmallContext) {
  MixOptions o = Options();
  o.context_length = 64;
  Mix mix(o);
  for (int i = 0; i < 500; ++i) {
    const RequestSpec spec = mix.Next();
    EXPECT_GE(spec.prompt.size(), 1u);
    EXPECT_GE(spec.max_tokens, 1);
    EXPECT_LE(static_cast<int64_t>(spec.prompt.size()) + spec.max_tokens, 64);
  }
}

TEST(MixTest, ArrivalsComeAtTheRateAndSomeRequestsAreToBeCutShort) {
  MixOptions o = Options();
  o.cancel_share = 0.25;
  o.deadline_share = 0.5;
  Mix mix(o);
  double seconds = 0, cancels = 0, deadlines = 0;
  for (int i = 0; i < 4000; ++i) {
    seconds += std::chrono::duration<double>(mix.Gap(10)).count();
    const RequestSpec spec = mix.Next();
    cancels += spec.cancel_after ? 1 : 0;
    deadlines += spec.deadline ? 1 : 0;
    EXPECT_LE(spec.cancel_after.value_or(0), spec.max_tokens);
  }
  EXPECT_NEAR(seconds, 400, 30);
  EXPECT_NEAR(cancels, 1000, 100);
  EXPECT_NEAR(deadlines, 2000, 150);
}

// --- the client ---

// The prompt's first id says how it answers.
enum Answer : int32_t { kNormal, kRefuse, kWithoutFinish, kInPairs, kNever };

class FakeGeneration : public v1::GenerationService::Service {
  grpc::Status Generate(grpc::ServerContext* context, const v1::GenerateRequest* request,
                        grpc::ServerWriter<v1::GenerateResponse>* writer) override {
    const int32_t answer = request->tokens().ids(0);
    if (answer == kRefuse) return {grpc::StatusCode::RESOURCE_EXHAUSTED, "queue full"};
    while (answer == kNever && !context->IsCancelled()) std::this_thread::yield();
    const int at_once = answer == kInPairs ? 2 : 1;
    const int total = request->sampling().max_tokens();
    for (int sent = 0; sent < total && !context->IsCancelled(); sent += at_once) {
      v1::GenerateResponse response;
      for (int i = 0; i < at_once; ++i) response.add_token_ids(7);
      if (sent + at_once >= total && answer != kWithoutFinish) {
        response.mutable_finish()->set_queue_ns(2'000'000'000);
      }
      if (!writer->Write(response)) break;
    }
    return context->IsCancelled() ? grpc::Status::CANCELLED : grpc::Status::OK;
  }
};

class ClientTest : public testing::Test {
 protected:
  ClientTest() {
    grpc::ServerBuilder builder;
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    client_ = std::make_unique<LoadClient>(server_->InProcessChannel({}), "");
  }
  static RequestSpec Spec(Answer answer, int32_t max_tokens) {
    RequestSpec spec;
    spec.prompt = {answer, 1, 2};
    spec.max_tokens = max_tokens;
    return spec;
  }
  CallResult Result() {
    auto result = client_->Wait(Clock::time_point::max());
    return std::move(*result);
  }

  FakeGeneration service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<LoadClient> client_;
};

TEST_F(ClientTest, EachTokenAfterTheFirstIsAGap) {
  client_->Start(Spec(kNormal, 5), 3);
  const CallResult r = Result();
  EXPECT_TRUE(r.status.ok());
  EXPECT_EQ(r.kind, 3);
  EXPECT_EQ(r.prompt_tokens, 3);
  EXPECT_EQ(r.output_tokens, 5);
  EXPECT_EQ(r.gaps.size(), 4u);
  ASSERT_TRUE(r.first_token_s);
  double sum = *r.first_token_s;
  for (const TokenGap& gap : r.gaps) sum += gap.seconds;
  EXPECT_LE(sum, r.end_to_end_s + 1e-9);
  EXPECT_EQ(r.queue_s, 2.0);
  EXPECT_EQ(client_->running(), 0);
  EXPECT_EQ(client_->tokens(), 5);
}

TEST_F(ClientTest, TokensThatComeTogetherShareTheirGap) {
  client_->Start(Spec(kInPairs, 6));
  const CallResult r = Result();
  ASSERT_EQ(r.gaps.size(), 5u);
  EXPECT_EQ(r.gaps[1].seconds, r.gaps[2].seconds);
  EXPECT_EQ(r.gaps[3].seconds, r.gaps[4].seconds);
}

TEST_F(ClientTest, ManyStreamsRunAtATime) {
  for (int i = 0; i < 50; ++i) client_->Start(Spec(kNormal, 20));
  EXPECT_EQ(client_->running(), 50);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(Result().output_tokens, 20);
}

TEST_F(ClientTest, ARequestIsGivenUpAfterItsTokens) {
  for (const int32_t after : {0, 3}) {
    RequestSpec spec = Spec(kNormal, 1'000'000'000);
    spec.cancel_after = after;
    client_->Start(spec);
    const CallResult r = Result();
    EXPECT_EQ(r.status.error_code(), grpc::StatusCode::CANCELLED);
    EXPECT_TRUE(r.cancelled);
    EXPECT_GE(r.output_tokens, after);
  }
}

TEST_F(ClientTest, ADeadlineEndsWhatIsNeverAnswered) {
  RequestSpec spec = Spec(kNever, 1);
  spec.deadline = std::chrono::milliseconds(1);
  client_->Start(spec);
  const CallResult r = Result();
  EXPECT_EQ(r.status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(r.had_deadline);
}

TEST_F(ClientTest, AClientThatGoesEndsItsStreams) {
  for (int i = 0; i < 10; ++i) client_->Start(Spec(kNever, 1));
  client_.reset();
  server_->Shutdown();  // waits for what still runs: nothing does
}

TEST_F(ClientTest, WhatHadNoReasonToFailMakesTheRunFail) {
  Report report;
  RequestSpec cancelled = Spec(kNormal, 1'000'000'000);
  cancelled.cancel_after = 2;
  RequestSpec late = Spec(kNever, 1);
  late.deadline = std::chrono::milliseconds(1);
  for (const RequestSpec& spec : {Spec(kNormal, 3), cancelled, late}) client_->Start(spec);
  while (client_->running() > 0) report.Add(Result());
  EXPECT_TRUE(report.Verdict().ok());
  for (const Answer answer : {kRefuse, kWithoutFinish}) client_->Start(Spec(answer, 3));
  while (client_->running() > 0) report.Add(Result());
  EXPECT_THAT(std::string(report.Verdict().message()), HasSubstr("2 of 5 requests failed"));
  const auto json = report.Json(2);
  EXPECT_EQ(json["requests"].dump(), R"({"total":5,"completed":1,"cancelled":1,)"
                                     R"("missed_deadline":1,"failed":2})");
  EXPECT_EQ(json["errors"].dump(), R"({"INTERNAL":1,"RESOURCE_EXHAUSTED":1})");
  EXPECT_THAT(report.Table(2), HasSubstr("1 RESOURCE_EXHAUSTED"));
}

TEST_F(ClientTest, FairnessComparesStreamsAloneAndBesideLongPrompts) {
  FairnessOptions o;
  o.mix = Options();
  o.mix.vocab_size = 1;  // all ids are kNormal
  o.streams = 3;
  o.long_prompts = 20;
  o.long_prompt_tokens = 1'000'000;
  const auto fairness = MeasureFairness(o, client_.get());
  ASSERT_TRUE(fairness.ok()) << fairness.status();
  EXPECT_EQ(fairness->long_prompt_tokens, 4095);  // as many as the context takes
  EXPECT_TRUE(fairness->alone);
  EXPECT_TRUE(fairness->beside);
  EXPECT_EQ(FairnessJson(*fairness)["long_prompts"], 20);
  EXPECT_EQ(client_->running(), 0);
}

// --- the report ---

TEST(PercentilesTest, AreOfTheNearestRank) {
  EXPECT_FALSE(PercentilesOf({}));
  const auto one = PercentilesOf({3});
  EXPECT_EQ(one->p50, 3);
  EXPECT_EQ(one->p99, 3);
  std::vector<double> values;
  for (int i = 100; i >= 1; --i) values.push_back(i);
  const auto p = PercentilesOf(values);
  EXPECT_EQ(p->p50, 50);
  EXPECT_EQ(p->p95, 95);
  EXPECT_EQ(p->p99, 99);
  EXPECT_EQ(p->mean, 50.5);
}

TEST(PercentilesTest, DurationsAreShownInTheirUnit) {
  EXPECT_EQ(HumanSeconds(12e-6), "12 µs");
  EXPECT_EQ(HumanSeconds(0.0123), "12.3 ms");
  EXPECT_EQ(HumanSeconds(3.4567), "3.46 s");
}

}  // namespace
}  // namespace catena::load
