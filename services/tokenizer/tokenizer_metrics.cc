#include "services/tokenizer/tokenizer_metrics.h"

namespace catena {
namespace {

constexpr const char* kMethodNames[] = {"Encode", "Decode", "GetPieces"};

const char* Name(TokenizerMetrics::Method method) {
  return kMethodNames[static_cast<size_t>(method)];
}

}  // namespace

void TokenizerMetrics::Took(Method method, Nanoseconds time) {
  const std::lock_guard lock(mutex_);
  seconds_[static_cast<size_t>(method)].Add(time);
}

void TokenizerMetrics::Ended(Method method, absl::StatusCode code) {
  const std::lock_guard lock(mutex_);
  ++ended_[{method, code}];
}

void TokenizerMetrics::Encoded(int64_t tokens) {
  const std::lock_guard lock(mutex_);
  encoded_ += tokens;
}

void TokenizerMetrics::Decoded(int64_t tokens) {
  const std::lock_guard lock(mutex_);
  decoded_ += tokens;
}

void TokenizerMetrics::Collect(Exposition& page) const {
  const std::lock_guard lock(mutex_);
  page.Family("catena_tokenizer_requests_total", Exposition::kCounter,
              "Calls by how they ended; a Decode is the text of a whole sequence.");
  for (const auto& [key, count] : ended_) {
    page.Sample(static_cast<double>(count),
                {{"method", Name(key.first)}, {"code", absl::StatusCodeToString(key.second)}});
  }
  page.Family("catena_tokenizer_tokens_total", Exposition::kCounter,
              "Token ids made of text (encode) and turned into text (decode).");
  page.Sample(static_cast<double>(encoded_), {{"direction", "encode"}});
  page.Sample(static_cast<double>(decoded_), {{"direction", "decode"}});
  page.Family("catena_tokenizer_seconds", Exposition::kHistogram,
              "Time of a call, its wait for a thread included; of a Decode, of one message.");
  for (size_t i = 0; i < seconds_.size(); ++i) {
    page.Sample(seconds_[i], {{"method", kMethodNames[i]}});
  }
}

}  // namespace catena
