// One Decode stream of the tokenizer: each message of ids is answered by one of text.
//
// Thread rules: gRPC's; it deletes itself when the call is done.
#pragma once

#include <memory>
#include <optional>

#include "catena/v1/tokenizer.grpc.pb.h"

#include "runtime/text_stream.h"

namespace catena {

class DecodeReactor final : public grpc::ServerBidiReactor<v1::DecodeRequest, v1::DecodeResponse> {
 public:
  // `tokenizer` null: every text is "".
  explicit DecodeReactor(std::shared_ptr<const Tokenizer> tokenizer)
      : tokenizer_(std::move(tokenizer)) {
    StartRead(&request_);
  }

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone() override { delete this; }

 private:
  // The first message's rules. INVALID_ARGUMENT.
  absl::Status Open();
  absl::Status Answer();

  std::shared_ptr<const Tokenizer> tokenizer_;
  std::optional<TextStream> stream_;
  bool ended_ = false;
  v1::DecodeRequest request_;
  v1::DecodeResponse response_;
};

}  // namespace catena
