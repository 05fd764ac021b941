// One Score request: prompt to ids, ids through the model, what it expected at each position to the
// client.
//
// Thread rules: made on a thread of gRPC, then on its strand (public_call.h).
#pragma once

#include <deque>
#include <optional>
#include <vector>

#include "catena/v1/generation.grpc.pb.h"

#include "services/gateway/front.h"
#include "services/gateway/loop_inbox.h"
#include "services/gateway/public_call.h"

namespace catena {

class ScoreCall final : public PublicCall<v1::ScoreRequest, v1::ScoreResponse> {
 public:
  // `front` outlives it.
  ScoreCall(Front* front, std::chrono::system_clock::time_point deadline);

 private:
  absl::Status Begin(v1::ScoreRequest request) override;
  bool Compose(v1::ScoreResponse* response) override;
  bool Complete() const override;
  void Abandon() override;

  void OnPrompt(std::vector<int32_t> ids);
  void OnEvents(LoopInbox::Events events);
  bool HavePieces(const SampledToken& score);

  const Front& front_;
  const std::chrono::system_clock::time_point deadline_;
  std::shared_ptr<const ModelFacts> facts_;
  int32_t top_ = 0;
  std::vector<int32_t> prompt_;

  std::optional<uint64_t> ticket_;   // of the loop
  bool ended_ = false;               // the loop
  std::deque<SampledToken> scores_;  // not sent yet, of the positions from sent_ on
  size_t sent_ = 0;
  float expected_ = 0;  // log-probability of the token at sent_, which the position before gave
  HeldBytes buffered_;
  TokenizerClient::Canceller encoding_, fetching_;
};

}  // namespace catena
