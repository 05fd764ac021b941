#include "services/tokenizer/decode_call.h"

#include <utility>

#include "model/sampler/sampling_limits.h"
#include "services/common/request_limits.h"
#include "services/common/status.h"

namespace catena {
namespace {

constexpr size_t kMaxMessageBytes = limits::kMaxQuestionBytes +
                                    size_t{limits::kMaxDecodeIds} * limits::kMaxIdBytes +
                                    kMaxStopStrings * (kMaxStopBytes + limits::kMaxIdBytes);

}  // namespace

DecodeCall::DecodeCall(std::shared_ptr<const Tokenizer> tokenizer, std::atomic<int64_t>* streams,
                       TokenizerMetrics* metrics)
    : GuardedCall(kMaxMessageBytes, Messages::kMany),
      tokenizer_(std::move(tokenizer)),
      streams_(streams),
      metrics_(metrics) {
  ++*streams_;
}

void DecodeCall::Take(v1::DecodeRequest request) {
  const auto came = std::chrono::steady_clock::now();
  absl::StatusOr<v1::DecodeResponse> response = Answer(request);
  if (!response.ok()) return FinishOnce(response.status());
  metrics_->Took(TokenizerMetrics::Method::kDecode, std::chrono::steady_clock::now() - came);
  metrics_->Decoded(response->ids_used());
  Send(*std::move(response));
}

absl::Status DecodeCall::Open(const v1::DecodeRequest& request) {
  if (!request.has_rules()) {
    return absl::InvalidArgumentError("the first message of a Decode stream must have its rules");
  }
  const v1::DecodeRules& rules = request.rules();
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

absl::StatusOr<v1::DecodeResponse> DecodeCall::Answer(const v1::DecodeRequest& request) {
  if (!stream_) CATENA_RETURN_IF_ERROR(Open(request));
  if (ended_) return absl::InvalidArgumentError("the stream has ended; open another one");
  if (request.ids_size() > limits::kMaxDecodeIds) {
    return absl::InvalidArgumentError(
        fmt::format("a message has {} ids: at most {} are taken; divide it", request.ids_size(),
                    limits::kMaxDecodeIds));
  }
  v1::DecodeResponse response;
  std::string* text = response.mutable_text();
  int32_t used = 0;
  while (used < request.ids_size() && !stream_->stopped()) {
    *text += stream_->Push(request.ids(used++));
  }
  if (request.end() && !stream_->stopped()) *text += stream_->Flush();
  response.set_ids_used(used);
  response.set_stopped(stream_->stopped());
  ended_ = request.end() || stream_->stopped();
  return response;
}

}  // namespace catena
