#include "services/gateway/generate_call.h"

#include <thread>

#include <gmock/gmock.h>

#include "model/sampler/sampling_limits.h"
#include "services/common/status.h"
#include "tests/services/front_fixture.h"

namespace catena {
namespace {

using v1::GenerateRequest;
using v1::GenerateResponse;

// What a client has at the end.
struct Outcome {
  struct Sequence {
    std::string text;
    std::vector<int32_t> ids;
    int starts = 0, finishes = 0;
    v1::Start start;
    v1::Finish finish;
    std::vector<v1::TokenLogprobs> logprobs;
  };
  std::vector<Sequence> sequences;
  absl::Status status;
};

class GenerateCallTest : public FrontTest {
 protected:
  class Call {
   public:
    Call(v1::GenerationService::Stub& api, const GenerateRequest& request,
         std::chrono::milliseconds timeout = kPatience) {
      context_.set_deadline(std::chrono::system_clock::now() + timeout);
      reader_ = api.Generate(&context_, request);
    }
    // Reads one message; false at the end.
    bool Read() {
      GenerateResponse r;
      if (!reader_->Read(&r)) return false;
      if (outcome_.sequences.size() <= r.index()) outcome_.sequences.resize(r.index() + 1);
      Outcome::Sequence& s = outcome_.sequences[r.index()];
      EXPECT_EQ(s.finishes, 0) << "a message after the finish";
      s.text += r.text();
      s.ids.insert(s.ids.end(), r.token_ids().begin(), r.token_ids().end());
      s.logprobs.insert(s.logprobs.end(), r.logprobs().begin(), r.logprobs().end());
      if (r.has_start()) {
        ++s.starts;
        s.start = r.start();
      }
      if (r.has_finish()) {
        ++s.finishes;
        s.finish = r.finish();
      }
      return true;
    }
    void ReadUntil(size_t ids) {
      while (outcome_.sequences.empty() || outcome_.sequences[0].ids.size() < ids) {
        ASSERT_TRUE(Read());
      }
    }
    Outcome& ReadAll() {
      while (Read()) {
      }
      outcome_.status = FromGrpcStatus(reader_->Finish());
      return outcome_;
    }
    void Cancel() { context_.TryCancel(); }

   private:
    grpc::ClientContext context_;
    std::unique_ptr<grpc::ClientReader<GenerateResponse>> reader_;
    Outcome outcome_;
  };

  static GenerateRequest IdsRequest(std::vector<int32_t> ids = {1, 2, 3}) {
    GenerateRequest request;
    request.mutable_tokens()->mutable_ids()->Assign(ids.begin(), ids.end());
    return request;
  }
  static std::vector<int32_t> SomeIds() {
    return *Phi3Tokenizer()->Encode(
        "Il était une fois, 🙂🙃\n\n a girl named Lily. She said: stop!");
  }
  void Run(uint64_t n, const std::vector<int32_t>& ids, FinishReason reason) {
    loop_.Await(n);
    loop_.Start(n);
    loop_.SayIds(n, ids);
    loop_.End(n, reason);
  }
};

TEST_F(GenerateCallTest, TokensComeAsTextAndTheStreamEndsWithItsFinish) {
  Call call(api(), IdsRequest());
  const std::vector<int32_t> ids = SomeIds();
  Run(0, ids, FinishReason::kLength);
  const Outcome& out = call.ReadAll();
  ASSERT_TRUE(out.status.ok()) << out.status;
  const Outcome::Sequence& s = out.sequences.at(0);
  EXPECT_EQ(s.text, InOneProcess(ids, {}).text);
  EXPECT_EQ(s.ids, ids);
  EXPECT_EQ(s.starts, 1);
  EXPECT_EQ(s.start.prompt_tokens(), 3);
  EXPECT_EQ(s.start.sequence_id(), "0000000000000001");
  EXPECT_EQ(s.finish.reason(), v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(s.finish.completion_tokens(), static_cast<int64_t>(ids.size()));
  EXPECT_EQ(s.finish.queue_ns(), 1);
  EXPECT_EQ(s.finish.drafted_tokens(), 4);
  EXPECT_EQ(s.finish.accepted_tokens(), 5);
  EXPECT_EQ(s.finish.prefill_ns(), 2);
  EXPECT_EQ(s.finish.decode_ns(), 3);
  EXPECT_TRUE(s.logprobs.empty());
}

TEST_F(GenerateCallTest, TextIsSentBeforeTheEnd) {
  Call call(api(), IdsRequest());
  const std::vector<int32_t> ids = SomeIds();
  loop_.Await(0);
  for (size_t i = 0; i < ids.size(); ++i) {
    loop_.SayIds(0, {ids[i]});
    call.ReadUntil(i + 1);
  }
  loop_.End(0, FinishReason::kStop);
  const Outcome& out = call.ReadAll();
  EXPECT_EQ(out.sequences.at(0).text, InOneProcess(ids, {}).text);
  EXPECT_EQ(out.sequences.at(0).finish.reason(), v1::FINISH_REASON_STOP);
}

TEST_F(GenerateCallTest, PromptsOfTextAndChatAreEncodedAsInOneProcess) {
  GenerateRequest request;
  request.set_text("Hello <|user|> there");
  Call text(api(), request);
  EXPECT_EQ(loop_.Await(0).prompt, *Phi3Tokenizer()->Encode("Hello <|user|> there"));
  auto* message = request.mutable_chat()->add_messages();
  message->set_role("user");
  message->set_content("Hi");
  Call chat(api(), request);
  const std::vector<ChatMessage> messages{{.role = "user", .content = "Hi"}};
  const auto rendered = TokenizerOptions().chat->Render(messages, ChatEnd::kGenerationPrompt);
  EXPECT_EQ(loop_.Await(1).prompt, *Phi3Tokenizer()->Encode(*rendered));
}

TEST_F(GenerateCallTest, TheSeedIsTheRequestsOrOneThatTheServerDrawsAndTells) {
  GenerateRequest request = IdsRequest();
  Call drawn(api(), request), again(api(), request);
  request.mutable_sampling()->set_seed(17);
  request.mutable_sampling()->set_temperature(0.5);
  Call given(api(), request);
  loop_.Await(2);
  for (uint64_t n : {0, 1, 2}) Run(n, {5}, FinishReason::kLength);
  const uint64_t seed = drawn.ReadAll().sequences.at(0).start.seed();
  EXPECT_NE(seed, again.ReadAll().sequences.at(0).start.seed());
  EXPECT_LT(seed, uint64_t{1} << 53);
  EXPECT_EQ(given.ReadAll().sequences.at(0).start.seed(), 17);
  std::vector<uint64_t> seeds;
  for (uint64_t n : {0, 1, 2}) seeds.push_back(loop_.Await(n).params.seed);
  EXPECT_THAT(seeds, ::testing::AllOf(::testing::Contains(seed), ::testing::Contains(17)));
}

TEST_F(GenerateCallTest, EachOfNSequencesHasItsIndexAndItsOwnEnd) {
  GenerateRequest request = IdsRequest();
  request.mutable_sampling()->set_n(2);
  request.mutable_sampling()->add_stop("Lily");
  Call call(api(), request);
  const std::vector<int32_t> ids = SomeIds(), other = *Phi3Tokenizer()->Encode("No such name.");
  loop_.Await(1);
  EXPECT_EQ(loop_.Await(0).sequence_index, 0u);
  EXPECT_EQ(loop_.Await(1).sequence_index, 1u);
  for (uint64_t n : {0, 1}) loop_.Start(n);
  loop_.SayIds(0, ids);
  loop_.SayIds(1, other);
  loop_.End(1, FinishReason::kLength);
  loop_.AwaitCancel(0);
  const Outcome& out = call.ReadAll();
  ASSERT_TRUE(out.status.ok()) << out.status;
  ASSERT_EQ(out.sequences.size(), 2u);
  EXPECT_EQ(out.sequences[0].finish.reason(), v1::FINISH_REASON_STOP);
  EXPECT_EQ(out.sequences[1].finish.reason(), v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(out.sequences[1].text, "No such name.");
  for (const auto& s : out.sequences) EXPECT_EQ(s.starts, 1);
  EXPECT_NE(out.sequences[0].start.sequence_id(), out.sequences[1].start.sequence_id());
}

TEST_F(GenerateCallTest, StopStringsEndTheTextAsInOneProcess) {
  const std::vector<int32_t> ids = SomeIds();
  const std::vector<std::vector<std::string>> cases = {
      {"girl na"}, {"né", "ly. S"}, {"\n"}, {"🙃"}, {"stop!"}, {"stop!?"}, {"Il"}, {"never"}};
  uint64_t n = 0;
  for (const auto& stop : cases) {
    for (const int32_t min_tokens : {0, 12, 1000}) {
      SCOPED_TRACE(stop[0] + " " + std::to_string(min_tokens));
      const SamplingParams params{.min_tokens = min_tokens, .max_tokens = 1000, .stop = stop};
      GenerateRequest request = IdsRequest();
      request.mutable_sampling()->mutable_stop()->Assign(stop.begin(), stop.end());
      request.mutable_sampling()->set_min_tokens(min_tokens);
      request.mutable_sampling()->set_max_tokens(1000);
      Call call(api(), request);
      Run(n++, ids, FinishReason::kLength);
      const Outcome& out = call.ReadAll();
      const Expected expected = InOneProcess(ids, params);
      ASSERT_TRUE(out.status.ok()) << out.status;
      EXPECT_EQ(out.sequences.at(0).text, expected.text);
      EXPECT_EQ(out.sequences[0].ids, expected.ids);
      EXPECT_EQ(out.sequences[0].finish.reason(),
                expected.stopped ? v1::FINISH_REASON_STOP : v1::FINISH_REASON_LENGTH);
    }
  }
}

TEST_F(GenerateCallTest, AStopStringCancelsTheSequenceInTheLoop) {
  GenerateRequest request = IdsRequest();
  request.mutable_sampling()->add_stop("Lily");
  Call call(api(), request);
  loop_.Await(0);
  loop_.SayIds(0, SomeIds());  // and the loop would go on
  loop_.AwaitCancel(0);
  const Outcome& out = call.ReadAll();
  ASSERT_TRUE(out.status.ok()) << out.status;
  EXPECT_TRUE(out.sequences.at(0).text.ends_with(" a girl named "));
  EXPECT_EQ(out.sequences[0].finish.completion_tokens(),
            static_cast<int64_t>(out.sequences[0].ids.size()));
}

TEST_F(GenerateCallTest, LogprobsHaveTheBytesOfTheirTokens) {
  GenerateRequest request = IdsRequest();
  request.mutable_sampling()->set_logprobs(true);
  request.mutable_sampling()->set_top_logprobs(2);
  Call call(api(), request);
  loop_.Await(0);
  const std::vector<int32_t> ids = SomeIds();
  for (const int32_t id : ids) {
    loop_.Say(0, {.id = id, .logprob = -0.5f, .top = {{id, -0.5f}, {id + 1, -2.0f}}});
  }
  loop_.End(0, FinishReason::kLength);
  const Outcome& out = call.ReadAll();
  ASSERT_TRUE(out.status.ok()) << out.status;
  const auto& logprobs = out.sequences.at(0).logprobs;
  ASSERT_EQ(logprobs.size(), ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    EXPECT_EQ(logprobs[i].chosen().id(), ids[i]);
    EXPECT_EQ(logprobs[i].chosen().piece(), Phi3Tokenizer()->Bytes(ids[i]));
    EXPECT_EQ(logprobs[i].chosen().logprob(), -0.5f);
    ASSERT_EQ(logprobs[i].top_size(), 2);
    EXPECT_EQ(logprobs[i].top(1).piece(), Phi3Tokenizer()->Bytes(ids[i] + 1));
  }
}

TEST_F(GenerateCallTest, WithoutATokenizerIdsComeAndTextIsEmpty) {
  facts_.facts.has_tokenizer = false;
  replicas_.Set({});
  GenerateRequest request = IdsRequest();
  request.mutable_sampling()->set_logprobs(true);
  request.mutable_sampling()->add_stop("x");
  Call call(api(), request);
  Run(0, {5, 6, 7}, FinishReason::kStop);
  const Outcome& out = call.ReadAll();
  ASSERT_TRUE(out.status.ok()) << out.status;
  EXPECT_EQ(out.sequences.at(0).ids, (std::vector<int32_t>{5, 6, 7}));
  EXPECT_EQ(out.sequences[0].text, "");
  EXPECT_EQ(out.sequences[0].logprobs.size(), 3u);
  EXPECT_EQ(out.sequences[0].finish.reason(), v1::FINISH_REASON_STOP);
}

TEST_F(GenerateCallTest, ACancelFreesEverySequenceAtOnce) {
  GenerateRequest request = IdsRequest();
  request.mutable_sampling()->set_n(3);
  Call call(api(), request);
  loop_.Await(2);
  loop_.SayIds(0, SomeIds());
  call.ReadUntil(1);
  call.Cancel();
  for (uint64_t n : {0, 1, 2}) loop_.AwaitCancel(n);
  EXPECT_TRUE(absl::IsCancelled(call.ReadAll().status));
}

TEST_F(GenerateCallTest, ADeadlineIsToldToTheLoopAndFreesTheSequence) {
  Call call(api(), IdsRequest(), std::chrono::milliseconds(200));
  const auto deadline = loop_.Await(0).deadline;
  ASSERT_TRUE(deadline.has_value());
  EXPECT_LT(*deadline - LoopClock::now(), std::chrono::milliseconds(201));
  loop_.AwaitCancel(0);
  EXPECT_TRUE(absl::IsDeadlineExceeded(call.ReadAll().status));
}

TEST_F(GenerateCallTest, WhatEndsTheLoopEndsTheStreamWithItsStatus) {
  GenerateRequest request = IdsRequest();
  request.mutable_sampling()->set_n(2);
  Call call(api(), request);
  loop_.Await(1);
  loop_.End(1, FinishReason::kLength,
            WithRetryAfter(absl::ResourceExhaustedError("the queue is full"),
                           std::chrono::milliseconds(1500)));
  const Outcome& out = call.ReadAll();
  EXPECT_TRUE(absl::IsResourceExhausted(out.status));
  EXPECT_EQ(Message(out.status), "the queue is full");
  EXPECT_EQ(RetryDelay(out.status), std::chrono::milliseconds(1500));
  loop_.AwaitCancel(0);
}

TEST_F(GenerateCallTest, AClientThatDoesNotReadIsEndedAndItsSequencesAreFreed) {
  front_.max_buffered_bytes = 1 << 18;
  GenerateRequest request = IdsRequest();
  request.mutable_sampling()->set_n(2);
  request.mutable_sampling()->set_max_tokens(kMaxNewTokens);
  request.mutable_sampling()->set_logprobs(true);
  request.mutable_sampling()->set_top_logprobs(20);
  Call call(api(), request);
  loop_.Await(1);
  const SampledToken token{.id = 5, .logprob = 0, .top = std::vector<TokenLogprob>(20, {7, 0})};
  for (int i = 0; i < 1'000'000 && !loop_.cancelled(0); ++i) loop_.Say(0, token);
  for (uint64_t n : {0, 1}) loop_.AwaitCancel(n);
  const Outcome& out = call.ReadAll();
  EXPECT_TRUE(absl::IsResourceExhausted(out.status)) << out.status;
  EXPECT_TRUE(RetryDelay(out.status).has_value());
}

TEST_F(GenerateCallTest, ATokenizerThatDiesInTheMiddleDoesNotChangeTheText) {
  const std::vector<int32_t> ids = SomeIds();
  GenerateRequest request = IdsRequest();
  request.mutable_sampling()->add_stop("She sai?");
  Call call(api(), request);
  loop_.Await(0);
  const auto other = MakeTokenizer("other");
  const std::vector<int32_t> first(ids.begin(), ids.begin() + 9);
  loop_.SayIds(0, first);
  call.ReadUntil(first.size());
  replicas_.Set({tokenizer_.get(), other.get()});
  tokenizer_->Stop();
  loop_.SayIds(0, {ids.begin() + 9, ids.end()});
  loop_.End(0, FinishReason::kLength);
  const Outcome& out = call.ReadAll();
  ASSERT_TRUE(out.status.ok()) << out.status;
  EXPECT_EQ(out.sequences.at(0).text, InOneProcess(ids, {.stop = {"She sai?"}}).text);
  EXPECT_EQ(out.sequences[0].ids, ids);
}

// Takes calls and never answers.
class SilentTokenizer final : public v1::TokenizerService::CallbackService {
 public:
  class UnaryReactor final : public grpc::ServerUnaryReactor {
    void OnCancel() override { Finish(grpc::Status::CANCELLED); }
    void OnDone() override { delete this; }
  };
  grpc::ServerUnaryReactor* Encode(grpc::CallbackServerContext*, const v1::EncodeRequest*,
                                   v1::EncodeResponse*) override {
    ++asked;
    return new UnaryReactor;
  }
  class Reactor final : public grpc::ServerBidiReactor<v1::DecodeRequest, v1::DecodeResponse> {
    void OnCancel() override { Finish(grpc::Status::CANCELLED); }
    void OnDone() override { delete this; }
  };
  grpc::ServerBidiReactor<v1::DecodeRequest, v1::DecodeResponse>* Decode(
      grpc::CallbackServerContext*) override {
    ++asked;
    return new Reactor;
  }
  std::atomic<int> asked = 0;
};

TEST_F(GenerateCallTest, ATokenizerThatDoesNotAnswerIsLeftForAnother) {
  SilentTokenizer silent;
  TestServer silent_server(Address("silent"), &silent);
  replicas_.Set({&silent_server});
  client_options_.decode.answer_timeout = std::chrono::milliseconds(50);
  Call call(api(), IdsRequest());
  const std::vector<int32_t> ids = SomeIds();
  Run(0, ids, FinishReason::kLength);
  while (silent.asked == 0) std::this_thread::yield();
  replicas_.Set({&silent_server, tokenizer_.get()});
  const Outcome& out = call.ReadAll();
  ASSERT_TRUE(out.status.ok()) << out.status;
  EXPECT_EQ(out.sequences.at(0).text, InOneProcess(ids, {}).text);
}

TEST_F(GenerateCallTest, APromptWaitsForATokenizer) {
  GenerateRequest request;
  request.set_text("Hello");
  TestServer gone(Address("gone"), tokenizer_service_.get());
  gone.Stop();
  replicas_.Set({&gone});
  Call call(api(), request);
  replicas_.Set({tokenizer_.get()});
  EXPECT_EQ(loop_.Await(0).prompt, *Phi3Tokenizer()->Encode("Hello"));
}

TEST_F(GenerateCallTest, APromptDoesNotWaitForATokenizerThatHasFailedMeanwhile) {
  SilentTokenizer silent;
  TestServer silent_server(Address("silent"), &silent);
  replicas_.Set({&silent_server});
  client_options_.look_every = std::chrono::milliseconds(1);
  GenerateRequest request;
  request.set_text("Hello");
  Call call(api(), request);
  while (silent.asked == 0) std::this_thread::yield();
  replicas_.Set({tokenizer_.get()});
  EXPECT_EQ(loop_.Await(0).prompt, *Phi3Tokenizer()->Encode("Hello"));
}

TEST_F(GenerateCallTest, WithoutAnyTokenizerTheStreamEndsUnavailable) {
  client_options_.decode.give_up = std::chrono::milliseconds(20);
  client_options_.wait = std::chrono::milliseconds(20);
  GenerateRequest request;
  request.set_text("Hello");
  replicas_.Set({});
  Call text(api(), request);
  EXPECT_TRUE(absl::IsUnavailable(text.ReadAll().status));
  Call ids(api(), IdsRequest());
  loop_.Await(0);
  loop_.SayIds(0, {5});
  loop_.AwaitCancel(0);
  const Outcome& out = ids.ReadAll();
  EXPECT_TRUE(absl::IsUnavailable(out.status)) << out.status;
}

}  // namespace
}  // namespace catena
