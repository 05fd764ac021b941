#include "services/tokenizer/decode_reactor.h"

#include "model/sampler/sampling_limits.h"
#include "services/common/request_limits.h"
#include "services/common/status.h"

namespace catena {

void DecodeReactor::OnReadDone(bool ok) {
  if (!ok) return Finish(grpc::Status::OK);  // no more messages, or cancelled
  if (const absl::Status status = Answer(); !status.ok()) return Finish(ToGrpcStatus(status));
  StartWrite(&response_);
}

void DecodeReactor::OnWriteDone(bool ok) {
  if (!ok) return Finish(grpc::Status::CANCELLED);
  StartRead(&request_);
}

absl::Status DecodeReactor::Open() {
  if (!request_.has_rules()) {
    return absl::InvalidArgumentError("the first message of a Decode stream must have its rules");
  }
  const v1::DecodeRules& rules = request_.rules();
  SamplingParams params{.min_tokens = rules.min_tokens(),
                        .stop = {rules.stop().begin(), rules.stop().end()}};
  if (params.stop.size() > kMaxStopStrings) {
    return absl::InvalidArgumentError(fmt::format("stop has {} entries: at most {} are allowed",
                                                  params.stop.size(), kMaxStopStrings));
  }
  for (const std::string& stop : params.stop) {
    if (stop.empty() || stop.size() > kMaxStopBytes) {
      return absl::InvalidArgumentError(fmt::format(
          "a stop string has {} bytes: it must have 1 to {}", stop.size(), kMaxStopBytes));
    }
  }
  stream_.emplace(tokenizer_.get(), params);
  return absl::OkStatus();
}

absl::Status DecodeReactor::Answer() {
  if (!stream_) CATENA_RETURN_IF_ERROR(Open());
  if (ended_) return absl::InvalidArgumentError("the stream has ended; open another one");
  if (request_.ids_size() > limits::kMaxDecodeIds) {
    return absl::InvalidArgumentError(
        fmt::format("a message has {} ids: at most {} are taken; divide it", request_.ids_size(),
                    limits::kMaxDecodeIds));
  }
  response_.Clear();
  std::string* text = response_.mutable_text();
  int32_t used = 0;
  while (used < request_.ids_size() && !stream_->stopped()) {
    *text += stream_->Push(request_.ids(used++));
  }
  if (request_.end() && !stream_->stopped()) *text += stream_->Flush();
  response_.set_ids_used(used);
  response_.set_stopped(stream_->stopped());
  ended_ = request_.end() || stream_->stopped();
  return absl::OkStatus();
}

}  // namespace catena
