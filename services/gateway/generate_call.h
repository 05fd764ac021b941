// One Generate request: prompt to ids, ids to the token loop, tokens to the tokenizer, text to the
// client.
//
// Thread rules: made on a thread of gRPC, then on its strand (public_call.h).
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "catena/v1/generation.grpc.pb.h"

#include "services/gateway/front.h"
#include "services/gateway/loop_inbox.h"
#include "services/gateway/public_call.h"

namespace catena {

class GenerateCall final : public PublicCall<v1::GenerateRequest, v1::GenerateResponse> {
 public:
  // `front` outlives it.
  GenerateCall(Front* front, std::chrono::system_clock::time_point deadline);

 private:
  // Tokens with their text, ready to be sent.
  struct Piece {
    std::string text;
    std::vector<SampledToken> tokens;
    size_t bytes = 0;
  };
  struct Sequence {
    std::optional<uint64_t> ticket;  // of the loop
    std::optional<PublicId> id;
    bool start_sent = false;
    std::shared_ptr<DecodeStream> decode;  // null where the model has no tokenizer
    std::deque<SampledToken> waiting;      // for their text
    std::deque<Piece> ready;
    int64_t completion_tokens = 0;
    // Ids that the client has already: so many are still to become text, which nobody is sent.
    // Tokens that come meanwhile wait, so that no text is of both.
    int64_t resumed = 0;
    std::vector<SampledToken> held;
    bool text_ended = false, stopped = false, finish_sent = false;
    std::optional<LoopInbox::End> end;  // of the loop
  };

  absl::Status Begin(v1::GenerateRequest request) override;
  bool Compose(v1::GenerateResponse* response) override;
  bool Complete() const override;
  void Abandon() override;

  void OnPrompt(std::vector<int32_t> ids);
  void Open(uint32_t index);
  void OnEvents(uint32_t index, LoopInbox::Events events);
  void OnProgress(uint32_t index, absl::StatusOr<DecodeStream::Progress> progress);
  void TakeTokens(Sequence& s, std::vector<SampledToken> tokens);
  void Resume(Sequence& s, const std::vector<int32_t>& output);
  void DropResumed(Sequence& s, DecodeStream::Progress* progress);
  void EndText(Sequence& s);
  void AddReady(Sequence& s, std::string text, int64_t n_tokens);
  // Ends the request where too much waits for the client.
  void CheckBuffered();

  bool HasNews(const Sequence& s) const;
  // Whether the bytes of all tokens of a piece are known; asks for them otherwise.
  bool HavePieces(const Piece& piece);
  void ComposeOf(uint32_t index, v1::GenerateResponse* response);
  void AddTokens(const Piece& piece, v1::GenerateResponse* response) const;
  v1::FinishReason ReasonOf(const Sequence& s) const;

  const Front& front_;
  const std::chrono::system_clock::time_point deadline_;
  std::shared_ptr<const ModelFacts> facts_;
  SamplingParams params_;
  v1::Resume resume_;
  int64_t prompt_tokens_ = 0;

  std::vector<Sequence> sequences_;
  uint32_t turn_ = 0;  // whose news are sent next
  HeldBytes buffered_;
  TokenizerClient::Canceller encoding_, fetching_;
};

}  // namespace catena
