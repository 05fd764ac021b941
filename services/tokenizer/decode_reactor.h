// One Decode stream of the tokenizer: each message of ids is answered by one of text.
//
// Thread rules: gRPC's; it deletes itself when the call is done.
#pragma once

#include <atomic>
#include <memory>
#include <optional>

#include "catena/v1/tokenizer.grpc.pb.h"

#include "runtime/text/text_stream.h"

namespace catena {

class DecodeReactor final : public grpc::ServerBidiReactor<v1::DecodeRequest, v1::DecodeResponse> {
 public:
  // `tokenizer` null: every text is "". `streams` counts those that are open, and outlives it.
  DecodeReactor(std::shared_ptr<const Tokenizer> tokenizer, std::atomic<int64_t>* streams)
      : tokenizer_(std::move(tokenizer)), streams_(streams) {
    ++*streams_;
    StartRead(&request_);
  }

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone() override {
    --*streams_;
    delete this;
  }

 private:
  // The first message's rules. INVALID_ARGUMENT.
  absl::Status Open();
  absl::Status Answer();

  std::shared_ptr<const Tokenizer> tokenizer_;
  std::atomic<int64_t>* const streams_;
  std::optional<TextStream> stream_;
  bool ended_ = false;
  v1::DecodeRequest request_;
  v1::DecodeResponse response_;
};

}  // namespace catena
