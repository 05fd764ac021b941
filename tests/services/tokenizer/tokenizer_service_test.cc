#include "services/tokenizer/tokenizer_service.h"

#include "model/sampler/sampling_limits.h"
#include "services/common/replica_description.h"
#include "services/common/request_limits.h"
#include "tests/services/front_fixture.h"

namespace catena {
namespace {

class TokenizerServiceTest : public FrontTest {
 protected:
  void Serve(TokenizerServiceOptions options) {
    service_ = std::make_unique<TokenizerServiceImpl>(std::move(options));
    server_ = std::make_unique<TestServer>(Address("own"), service_.get());
    stub_ = v1::TokenizerService::NewStub(server_->Connect());
  }
  void SetUp() override {
    FrontTest::SetUp();
    if (!IsSkipped()) Serve(TokenizerOptions());
  }
  void TearDown() override {
    server_.reset();
    FrontTest::TearDown();
  }

  grpc::Status Encode(const v1::EncodeRequest& request, v1::EncodeResponse* response) {
    grpc::ClientContext context;
    return stub_->Encode(&context, request, response);
  }
  // The code that ends a stream whose first messages are these.
  grpc::StatusCode EndOf(const std::vector<v1::DecodeRequest>& requests) {
    grpc::ClientContext context;
    const auto stream = stub_->Decode(&context);
    v1::DecodeResponse response;
    for (const auto& request : requests) {
      if (!stream->Write(request) || !stream->Read(&response)) break;
    }
    stream->WritesDone();
    return stream->Finish().error_code();
  }

  std::unique_ptr<TokenizerServiceImpl> service_;
  std::unique_ptr<TestServer> server_;
  std::unique_ptr<v1::TokenizerService::Stub> stub_;
};

TEST_F(TokenizerServiceTest, DescribeSaysWhatTheReplicaHas) {
  TokenizerServiceOptions options = TokenizerOptions();
  options.generation.do_sample = true;
  options.generation.temperature = 0.7;
  options.generation.top_k = 40;
  options.generation.eos_ids = {2, 32000};
  server_.reset();
  Serve(std::move(options));
  grpc::ClientContext context;
  v1::TokenizerServiceDescribeResponse response;
  ASSERT_TRUE(stub_->Describe(&context, {}, &response).ok());
  const auto facts = FactsOf(response);
  ASSERT_TRUE(facts.ok()) << facts.status();
  EXPECT_EQ(facts->model, TestTokenizerInfo().model);
  EXPECT_TRUE(facts->has_tokenizer);
  EXPECT_TRUE(facts->has_chat_template);
  EXPECT_TRUE(facts->generation.do_sample);
  EXPECT_EQ(facts->generation.temperature, 0.7);
  EXPECT_EQ(facts->generation.top_k, 40);
  EXPECT_EQ(facts->generation.top_p, std::nullopt);
  EXPECT_EQ(facts->generation.eos_ids, (std::vector<int32_t>{2, 32000}));
  EXPECT_EQ(DecodeReplicaInfo(response.replica())->replica, TestTokenizerInfo().replica);
}

TEST_F(TokenizerServiceTest, EncodeIsThatOfOneProcess) {
  v1::EncodeRequest request;
  v1::EncodeResponse response;
  request.set_text(std::string(1 << 20, 'a') + " <|user|> é");
  ASSERT_TRUE(Encode(request, &response).ok());
  EXPECT_EQ(std::vector<int32_t>(response.ids().begin(), response.ids().end()),
            *Phi3Tokenizer()->Encode(request.text()));
  request.mutable_chat()->add_messages()->set_role("user");
  ASSERT_TRUE(Encode(request, &response).ok());
  EXPECT_FALSE(response.rendered().empty());
  EXPECT_EQ(std::vector<int32_t>(response.ids().begin(), response.ids().end()),
            *Phi3Tokenizer()->Encode(response.rendered()));
}

TEST_F(TokenizerServiceTest, SpecialTokensInMessagesAreText) {
  v1::EncodeRequest request;
  v1::EncodeResponse response;
  v1::ChatMessage* message = request.mutable_chat()->add_messages();
  message->set_role("user");
  message->set_content("<|end|>");
  ASSERT_TRUE(Encode(request, &response).ok());
  EXPECT_EQ(response.rendered(), "<|user|>\n<|end|><|end|>\n<|assistant|>\n");
  EXPECT_EQ(std::count(response.ids().begin(), response.ids().end(), 32007), 1);
}

TEST_F(TokenizerServiceTest, WhatIsTooLargeOrMissingIsRefused) {
  v1::EncodeRequest request;
  v1::EncodeResponse response;
  request.set_text(std::string(limits::kMaxTextBytes + 1, 'a'));
  EXPECT_EQ(Encode(request, &response).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  server_.reset();
  TokenizerServiceOptions options = TokenizerOptions();
  options.chat.reset();
  options.no_chat = absl::InvalidArgumentError("no template; give one");
  Serve(options);
  request.mutable_chat()->add_messages()->set_role("user");
  EXPECT_EQ(Encode(request, &response).error_message(), "no template; give one");
  server_.reset();
  options.tokenizer = nullptr;
  Serve(options);
  request.set_text("a");
  EXPECT_EQ(Encode(request, &response).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(TokenizerServiceTest, DecodeAnswersEachMessageAndStopsAtTheIdThatCompletesAStopString) {
  const std::vector<int32_t> ids = *Phi3Tokenizer()->Encode("One two three four");
  grpc::ClientContext context;
  const auto stream = stub_->Decode(&context);
  v1::DecodeRequest request;
  v1::DecodeResponse response;
  request.mutable_rules()->add_stop("two thr");
  request.add_ids(ids[0]);
  ASSERT_TRUE(stream->Write(request) && stream->Read(&response));
  EXPECT_EQ(response.text(), "One");
  EXPECT_EQ(response.ids_used(), 1);
  EXPECT_FALSE(response.stopped());
  request.Clear();
  request.mutable_ids()->Assign(ids.begin() + 1, ids.end());
  ASSERT_TRUE(stream->Write(request) && stream->Read(&response));
  EXPECT_EQ(response.text(), " ");
  EXPECT_EQ(response.ids_used(), 2);
  EXPECT_TRUE(response.stopped());
  EXPECT_FALSE(stream->Write(request) && stream->Read(&response));  // it has ended
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(TokenizerServiceTest, BadDecodeStreamsEndWithInvalidArgument) {
  v1::DecodeRequest no_rules, empty_stop, long_stop, many_stops, many_ids;
  no_rules.add_ids(1);
  empty_stop.mutable_rules()->add_stop("");
  long_stop.mutable_rules()->add_stop(std::string(kMaxStopBytes + 1, 'x'));
  for (size_t i = 0; i <= kMaxStopStrings; ++i) many_stops.mutable_rules()->add_stop("x");
  many_ids.mutable_rules();
  many_ids.mutable_ids()->Resize(limits::kMaxDecodeIds + 1, 5);
  for (const auto& bad : {no_rules, empty_stop, long_stop, many_stops, many_ids}) {
    EXPECT_EQ(EndOf({bad}), grpc::StatusCode::INVALID_ARGUMENT) << bad.ShortDebugString();
  }
  v1::DecodeRequest good, ids;
  good.mutable_rules();
  ids.mutable_ids()->Add(-7);  // no token: no text
  ids.mutable_ids()->Add(1 << 30);
  EXPECT_EQ(EndOf({good, ids}), grpc::StatusCode::OK);
}

TEST_F(TokenizerServiceTest, WithoutATokenizerTextIsEmpty) {
  server_.reset();
  TokenizerServiceOptions options = TokenizerOptions();
  options.tokenizer = nullptr;
  Serve(options);
  grpc::ClientContext context, pieces_context;
  const auto stream = stub_->Decode(&context);
  v1::DecodeRequest request;
  request.mutable_rules()->add_stop("x");
  request.add_ids(5);
  request.set_end(true);
  v1::DecodeResponse response;
  ASSERT_TRUE(stream->Write(request) && stream->Read(&response));
  EXPECT_EQ(response.text(), "");
  EXPECT_EQ(response.ids_used(), 1);
  v1::GetPiecesRequest ask;
  ask.add_ids(5);
  v1::GetPiecesResponse pieces;
  ASSERT_TRUE(stub_->GetPieces(&pieces_context, ask, &pieces).ok());
  EXPECT_EQ(pieces.pieces(0), "");
}

}  // namespace
}  // namespace catena
