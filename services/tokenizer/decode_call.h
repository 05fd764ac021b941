// One Decode stream of the tokenizer: each message of ids is answered by one of text.
//
// Thread rules: gRPC's.
#pragma once

#include <atomic>
#include <memory>
#include <optional>

#include "catena/v1/tokenizer.pb.h"

#include "runtime/text/text_stream.h"
#include "services/common/guarded_call.h"

namespace catena {

class DecodeCall final : public GuardedCall<v1::DecodeRequest, v1::DecodeResponse> {
 public:
  // `tokenizer` null: every text is "". `streams` counts those that are open, and outlives it.
  DecodeCall(std::shared_ptr<const Tokenizer> tokenizer, std::atomic<int64_t>* streams);

 private:
  void Take(v1::DecodeRequest request) override;
  void OnAllSent() override { ReadNext(); }
  void OnGone() override { --*streams_; }

  // The first message's rules. INVALID_ARGUMENT.
  absl::Status Open(const v1::DecodeRequest& request);
  absl::StatusOr<v1::DecodeResponse> Answer(const v1::DecodeRequest& request);

  std::shared_ptr<const Tokenizer> tokenizer_;
  std::atomic<int64_t>* const streams_;
  std::optional<TextStream> stream_;
  bool ended_ = false;
};

}  // namespace catena
