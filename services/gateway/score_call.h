// One Score request: prompt to ids, ids through the model, what it expected at each position to the
// client.
//
// Thread rules: made on a thread of gRPC, then on its strand (stream_call.h).
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "catena/v1/generation.grpc.pb.h"

#include "services/gateway/front.h"
#include "services/gateway/loop_inbox.h"
#include "services/gateway/stream_call.h"

namespace catena {

class ScoreCall final : public StreamCall<v1::ScoreResponse> {
 public:
  // REQUIRES: the request was checked against the facts.
  ScoreCall(const Front& front, std::shared_ptr<const ModelFacts> facts,
            const v1::ScoreRequest& request, std::chrono::system_clock::time_point deadline);

 private:
  void Begin() override;
  bool Compose(v1::ScoreResponse* response) override;
  bool Complete() const override;
  void Abandon() override;

  void OnPrompt(std::vector<int32_t> ids);
  void OnEvents(LoopInbox::Events events);
  bool HavePieces(const SampledToken& score);

  const Front& front_;
  const std::shared_ptr<const ModelFacts> facts_;
  const std::chrono::system_clock::time_point deadline_;
  const int32_t top_;
  std::vector<int32_t> prompt_;
  std::string text_;  // of a prompt that has no ids yet
  bool has_ids_ = false;

  std::optional<uint64_t> ticket_;   // of the loop
  bool ended_ = false;               // the loop
  std::deque<SampledToken> scores_;  // not sent yet, of the positions from sent_ on
  size_t sent_ = 0;
  float expected_ = 0;  // log-probability of the token at sent_, which the position before gave
  size_t buffered_bytes_ = 0;
  TokenizerClient::Canceller encoding_, fetching_;
};

}  // namespace catena
