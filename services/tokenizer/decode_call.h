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
#include "services/tokenizer/tokenizer_metrics.h"

namespace catena {

class DecodeCall final : public GuardedCall<v1::DecodeRequest, v1::DecodeResponse> {
 public:
  // `tokenizer` null: every text is "". `streams` counts those that are open; it and `metrics`
  // outlive this.
  DecodeCall(std::shared_ptr<const Tokenizer> tokenizer, std::atomic<int64_t>* streams,
             TokenizerMetrics* metrics);

 private:
  void Take(v1::DecodeRequest request) override;
  void OnAllSent() override { ReadNext(); }
  void OnGone() override { --*streams_; }
  void OnEnded(const absl::Status& status) override {
    metrics_->Ended(TokenizerMetrics::Method::kDecode, status.code());
  }

  // The first message's rules. INVALID_ARGUMENT.
  absl::Status Open(const v1::DecodeRequest& request);
  absl::StatusOr<v1::DecodeResponse> Answer(const v1::DecodeRequest& request);

  std::shared_ptr<const Tokenizer> tokenizer_;
  std::atomic<int64_t>* const streams_;
  TokenizerMetrics* const metrics_;
  std::optional<TextStream> stream_;
  bool ended_ = false;
};

}  // namespace catena
