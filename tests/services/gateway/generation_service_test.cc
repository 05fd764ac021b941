#include "services/gateway/generation_service.h"

#include <functional>

#include "services/common/status.h"
#include "tests/services/front_fixture.h"

namespace catena {
namespace {

class GenerationServiceTest : public FrontTest {
 protected:
  absl::Status Generate(const v1::GenerateRequest& request, const std::string& key = "") {
    grpc::ClientContext context;
    if (!key.empty()) context.AddMetadata("authorization", key);
    const auto reader = api().Generate(&context, request);
    v1::GenerateResponse response;
    EXPECT_FALSE(reader->Read(&response));
    return FromGrpcStatus(reader->Finish());
  }
  absl::StatusOr<std::vector<v1::ScoreResponse>> Score(const v1::ScoreRequest& request) {
    grpc::ClientContext context;
    const auto reader = api().Score(&context, request);
    std::vector<v1::ScoreResponse> responses(1);
    while (reader->Read(&responses.back())) responses.emplace_back();
    responses.pop_back();
    const absl::Status status = FromGrpcStatus(reader->Finish());
    if (!status.ok()) return status;
    return responses;
  }
  static v1::GenerateRequest Ids(std::vector<int32_t> ids) {
    v1::GenerateRequest request;
    request.mutable_tokens()->mutable_ids()->Assign(ids.begin(), ids.end());
    return request;
  }
};

TEST_F(GenerationServiceTest, BadRequestsAreRefusedWithTheNameOfTheField) {
  using S = v1::SamplingOptions;
  struct Case {
    const char* name;
    std::function<void(S&)> set;
  };
  const std::vector<Case> cases = {
      {"temperature is -1", [](S& s) { s.set_temperature(-1); }},
      {"temperature is nan", [](S& s) { s.set_temperature(std::nan("")); }},
      {"top_k is -2", [](S& s) { s.set_top_k(-2); }},
      {"top_p is 2", [](S& s) { s.set_top_p(2); }},
      {"min_p is -1", [](S& s) { s.set_min_p(-1); }},
      {"typical_p is 0", [](S& s) { s.set_typical_p(0); }},
      {"repetition_penalty is 0", [](S& s) { s.set_repetition_penalty(0); }},
      {"presence_penalty is 3", [](S& s) { s.set_presence_penalty(3); }},
      {"frequency_penalty is -3", [](S& s) { s.set_frequency_penalty(-3); }},
      {"max_tokens is 0", [](S& s) { s.set_max_tokens(0); }},
      {"min_tokens is 60: it must be from 0 to max_tokens", [](S& s) { s.set_min_tokens(60); }},
      {"n is 0", [](S& s) { s.set_n(0); }},
      {"n is 129", [](S& s) { s.set_n(129); }},
      {"top_logprobs is 3", [](S& s) { s.set_top_logprobs(3); }},
      {"top_logprobs is 21", [](S& s) { s.set_logprobs(true), s.set_top_logprobs(21); }},
      {"a stop string", [](S& s) { s.add_stop(""); }},
      {"a stop string", [](S& s) { s.add_stop(std::string(2000, 'x')); }},
      {"stop has 17",
       [](S& s) {
         for (int i = 0; i < 17; ++i) s.add_stop("x");
       }},
      {"stop_token_ids names", [](S& s) { s.add_stop_token_ids(kTestVocab); }},
      {"logit_bias names", [](S& s) { (*s.mutable_logit_bias())[-1] = 1; }},
      {"logit_bias of", [](S& s) { (*s.mutable_logit_bias())[1] = 101; }},
      {"logit_bias has 1025",
       [](S& s) {
         for (int i = 0; i < 1025; ++i) (*s.mutable_logit_bias())[i] = 1;
       }},
  };
  for (const Case& c : cases) {
    v1::GenerateRequest request = Ids({1});
    c.set(*request.mutable_sampling());
    const absl::Status status = Generate(request);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << c.name << ": " << status;
    EXPECT_NE(Message(status).find(c.name), std::string_view::npos) << status;
    EXPECT_EQ(Message(status).find("--"), std::string_view::npos) << status;
  }
  EXPECT_EQ(loop_.submitted(), 0u);
}

TEST_F(GenerationServiceTest, PromptsThatCannotBeAreRefused) {
  v1::GenerateRequest none, empty_chat, long_text, many;
  empty_chat.mutable_chat();
  long_text.set_text(std::string(3 << 20, 'x'));
  for (int i = 0; i < 5000; ++i) many.mutable_chat()->add_messages()->set_role("user");
  v1::GenerateRequest over_context_text;
  for (int i = 0; i < kTestContext; ++i) over_context_text.mutable_text()->append("word word ");
  for (const v1::GenerateRequest& request :
       {none, empty_chat, long_text, many, over_context_text, Ids({}), Ids({-1}),
        Ids({static_cast<int32_t>(kTestVocab)}), Ids(std::vector<int32_t>(kTestContext + 1, 1))}) {
    const absl::Status status = Generate(request);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  }
  EXPECT_EQ(loop_.submitted(), 0u);
}

TEST_F(GenerationServiceTest, IdsThatCannotBeDoNotReachTheLoop) {
  const std::vector<int32_t> many(kTestContext + 1, 1);
  v1::ScoreRequest score;
  score.mutable_tokens()->mutable_ids()->Assign(many.begin(), many.end());
  EXPECT_TRUE(absl::IsInvalidArgument(Generate(Ids(many))));
  EXPECT_TRUE(absl::IsInvalidArgument(Score(score).status()));
  EXPECT_EQ(loop_.submitted(), 0u);
}

TEST_F(GenerationServiceTest, OnlyTheClustersModelIsFound) {
  v1::GenerateRequest request = Ids({-1});
  request.set_model("gpt-5");
  EXPECT_TRUE(absl::IsNotFound(Generate(request)));
  for (const char* known : {"", "phi3-test"}) {
    request.set_model(known);
    EXPECT_TRUE(absl::IsInvalidArgument(Generate(request)));  // for its ids
  }
}

TEST_F(GenerationServiceTest, WithoutATokenizerTextIsRefused) {
  facts_.facts.has_tokenizer = facts_.facts.has_chat_template = false;
  v1::GenerateRequest request;
  request.set_text("Hello");
  EXPECT_TRUE(absl::IsInvalidArgument(Generate(request)));
  facts_.facts.has_tokenizer = true;
  request.mutable_chat()->add_messages()->set_role("user");
  EXPECT_NE(Message(Generate(request)).find("chat template"), std::string_view::npos);
}

TEST_F(GenerationServiceTest, KeysAreAskedForOfEveryMethod) {
  UseKeys("secret\nother");
  EXPECT_TRUE(absl::IsUnauthenticated(Generate(Ids({-1}))));
  EXPECT_TRUE(absl::IsPermissionDenied(Generate(Ids({-1}), "Bearer wrong")));
  EXPECT_TRUE(absl::IsInvalidArgument(Generate(Ids({-1}), "Bearer other")));  // for its ids
  EXPECT_TRUE(absl::IsUnauthenticated(Score({}).status()));
  grpc::ClientContext a, b;
  v1::TokenizeResponse ids;
  EXPECT_EQ(api().Tokenize(&a, {}, &ids).error_code(), grpc::StatusCode::UNAUTHENTICATED);
  v1::ListModelsResponse models;
  EXPECT_EQ(api().ListModels(&b, {}, &models).error_code(), grpc::StatusCode::UNAUTHENTICATED);
}

TEST_F(GenerationServiceTest, ModelsAreListedAndTextsTokenized) {
  grpc::ClientContext a, b, c;
  v1::ListModelsResponse models;
  ASSERT_TRUE(api().ListModels(&a, {}, &models).ok());
  ASSERT_EQ(models.models_size(), 1);
  EXPECT_EQ(models.models(0).name(), "phi3-test");
  EXPECT_EQ(models.models(0).context_length(), kTestContext);
  EXPECT_TRUE(models.models(0).has_tokenizer());
  v1::TokenizeRequest request;
  request.set_text("Hello there");
  v1::TokenizeResponse response;
  ASSERT_TRUE(api().Tokenize(&b, request, &response).ok());
  EXPECT_EQ(std::vector<int32_t>(response.ids().begin(), response.ids().end()),
            *Phi3Tokenizer()->Encode("Hello there"));
  request.mutable_chat()->add_messages()->set_role("user");
  ASSERT_TRUE(api().Tokenize(&c, request, &response).ok());
  EXPECT_NE(response.rendered().find("<|user|>"), std::string::npos);
}

TEST_F(GenerationServiceTest, ScoresComeOnePositionAMessage) {
  v1::ScoreRequest request;
  request.mutable_tokens()->mutable_ids()->Add(10);
  request.mutable_tokens()->mutable_ids()->Add(11);
  request.set_top(1);
  std::thread loop([this] {
    const LoopRequest asked = loop_.Await(0);
    EXPECT_TRUE(asked.score);
    EXPECT_EQ(asked.score_top, 1);
    loop_.Say(0, {.id = 11, .logprob = -1.5f, .top = {{20, -0.5f}}});
    loop_.Say(0, {.id = -1, .logprob = 0, .top = {{21, -0.25f}}});
    loop_.End(0, FinishReason::kLength);
  });
  const auto scores = Score(request);
  loop.join();
  ASSERT_TRUE(scores.ok()) << scores.status();
  ASSERT_EQ(scores->size(), 2u);
  const v1::ScoreResponse &first = (*scores)[0], &second = (*scores)[1];
  EXPECT_EQ(first.position(), 0);
  EXPECT_EQ(first.token().id(), 10);
  EXPECT_FALSE(first.has_logprob());
  EXPECT_EQ(first.next(0).id(), 20);
  EXPECT_EQ(first.next(0).piece(), Phi3Tokenizer()->Bytes(20));
  EXPECT_EQ(second.position(), 1);
  EXPECT_EQ(second.token().id(), 11);
  EXPECT_EQ(second.token().piece(), Phi3Tokenizer()->Bytes(11));
  EXPECT_TRUE(second.has_logprob());
  EXPECT_EQ(second.token().logprob(), -1.5f);
  EXPECT_EQ(second.next(0).logprob(), -0.25f);
}

TEST_F(GenerationServiceTest, ScoresThatAreMissingAreAnError) {
  v1::ScoreRequest request;
  request.mutable_tokens()->mutable_ids()->Add(10);
  std::thread loop([this] {
    loop_.Await(0);
    loop_.End(0, FinishReason::kLength);
  });
  EXPECT_TRUE(absl::IsInternal(Score(request).status()));
  loop.join();
  request.set_top(65);
  EXPECT_TRUE(absl::IsInvalidArgument(Score(request).status()));
}

}  // namespace
}  // namespace catena
