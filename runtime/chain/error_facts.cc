#include "runtime/chain/error_facts.h"

#include <charconv>

namespace catena {
namespace {

constexpr char kReasonUrl[] = "catena/reason";
constexpr char kStageUrl[] = "catena/stage";
constexpr char kRetryUrl[] = "catena/retry-after-ns";

struct Row {
  ErrorReason reason;
  std::string_view name;
};
constexpr Row kReasons[] = {
    {ErrorReason::kQueueFull, "QUEUE_FULL"},
    {ErrorReason::kQueueTooLong, "QUEUE_TOO_LONG"},
    {ErrorReason::kNoRoute, "NO_ROUTE"},
    {ErrorReason::kStageLost, "STAGE_LOST"},
    {ErrorReason::kStageStalled, "STAGE_STALLED"},
    {ErrorReason::kEdgeBroken, "EDGE_BROKEN"},
    {ErrorReason::kKvCacheFull, "KV_CACHE_FULL"},
    {ErrorReason::kDraining, "DRAINING"},
    {ErrorReason::kAwaitsTrial, "AWAITS_TRIAL"},
    {ErrorReason::kDeadline, "DEADLINE"},
    {ErrorReason::kCancelled, "CANCELLED"},
    {ErrorReason::kSlowClient, "SLOW_CLIENT"},
    {ErrorReason::kDiverged, "DIVERGED"},
    {ErrorReason::kInvalidField, "INVALID_FIELD"},
    {ErrorReason::kPromptTooLong, "PROMPT_TOO_LONG"},
    {ErrorReason::kUnknownModel, "UNKNOWN_MODEL"},
    {ErrorReason::kUnknownSequence, "UNKNOWN_SEQUENCE"},
    {ErrorReason::kNoTokenizer, "NO_TOKENIZER"},
    {ErrorReason::kModelMismatch, "MODEL_MISMATCH"},
    {ErrorReason::kApiKeyMissing, "API_KEY_MISSING"},
    {ErrorReason::kApiKeyWrong, "API_KEY_WRONG"},
    {ErrorReason::kTooManyCalls, "TOO_MANY_CALLS"},
};

absl::Status With(absl::Status status, const char* url, std::string_view value) {
  if (status.ok() || status.GetPayload(url)) return status;
  status.SetPayload(url, absl::Cord(absl::string_view(value.data(), value.size())));
  return status;
}

std::string Get(const absl::Status& status, const char* url) {
  const auto payload = status.GetPayload(url);
  return payload ? std::string(*payload) : "";
}

}  // namespace

std::string_view ReasonName(ErrorReason reason) {
  for (const Row& row : kReasons) {
    if (row.reason == reason) return row.name;
  }
  return "UNKNOWN";
}

absl::Status WithReason(absl::Status status, ErrorReason reason) {
  return With(std::move(status), kReasonUrl, ReasonName(reason));
}

absl::Status WithStage(absl::Status status, std::string_view stage) {
  return With(std::move(status), kStageUrl, stage);
}

absl::Status WithRetryAfter(absl::Status status, Nanoseconds delay) {
  return With(std::move(status), kRetryUrl, fmt::format("{}", delay.count()));
}

std::optional<ErrorReason> ReasonByName(std::string_view name) {
  for (const Row& row : kReasons) {
    if (row.name == name) return row.reason;
  }
  return std::nullopt;
}

std::optional<ErrorReason> ReasonOf(const absl::Status& status) {
  return ReasonByName(Get(status, kReasonUrl));
}

std::string StageOf(const absl::Status& status) { return Get(status, kStageUrl); }

std::optional<Nanoseconds> RetryAfter(const absl::Status& status) {
  const std::string text = Get(status, kRetryUrl);
  int64_t ns = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), ns);
  if (error != std::errc() || text.empty()) return std::nullopt;
  return Nanoseconds(ns);
}

}  // namespace catena
