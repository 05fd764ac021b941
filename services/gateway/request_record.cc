#include "services/gateway/request_record.h"

#include <algorithm>
#include <random>

#include "services/common/line_limit.h"
#include "services/common/log.h"
#include "services/common/status.h"
#include "services/gateway/gateway_metrics.h"

namespace catena {
namespace {

constexpr char kRequestId[] = "x-request-id";
constexpr size_t kMaxRequestIdBytes = 128;

std::string_view GivenId(const grpc::CallbackServerContext& context) {
  const auto& metadata = context.client_metadata();
  const auto found = metadata.find(kRequestId);
  if (found == metadata.end()) return "";
  return {found->second.data(), found->second.size()};
}

// What the log says of an error: not where the request is to blame, which its message may quote.
std::string ErrorText(const absl::Status& status) {
  const bool of_request = absl::IsInvalidArgument(status) || absl::IsNotFound(status);
  return of_request ? "" : std::string(Message(status));
}

}  // namespace

std::string RequestIdFor(std::string_view given) {
  const bool plain =
      !given.empty() && given.size() <= kMaxRequestIdBytes &&
      std::all_of(given.begin(), given.end(), [](char c) { return c > ' ' && c < 0x7F; });
  if (plain) return std::string(given);
  std::random_device random;
  return fmt::format("{:08x}{:08x}{:08x}{:08x}", random(), random(), random(), random());
}

RequestRecord::RequestRecord(const std::string& method, grpc::CallbackServerContext* context,
                             GatewayMetrics* metrics, LineLimit* refusals)
    : method_(method),
      id_(RequestIdFor(GivenId(*context))),
      metrics_(metrics),
      refusals_(refusals) {
  context->AddInitialMetadata(kRequestId, id_);
}

void RequestRecord::Prompt(int64_t tokens) {
  prompt_tokens_ += tokens;
  metrics_->Prompt(tokens);
}

void RequestRecord::Output(int64_t tokens) {
  output_tokens_ += tokens;
  metrics_->Output(tokens);
}

void RequestRecord::SequenceEnded(const std::string& finish, const LoopStats& stats) {
  if (finish_.empty()) {
    finish_ = finish;
  } else if (finish_ != finish) {
    finish_ = "mixed";
  }
  longest_.queue = std::max(longest_.queue, stats.queue);
  longest_.prefill = std::max(longest_.prefill, stats.prefill);
  longest_.decode = std::max(longest_.decode, stats.decode);
  longest_.moves.count = std::max(longest_.moves.count, stats.moves.count);
  longest_.moves.replayed = std::max(longest_.moves.replayed, stats.moves.replayed);
  longest_.moves.noticed = std::max(longest_.moves.noticed, stats.moves.noticed);
  longest_.moves.paused = std::max(longest_.moves.paused, stats.moves.paused);
  metrics_->SequenceEnded(finish, stats);
}

void RequestRecord::Ended(const absl::Status& status) {
  const Nanoseconds took = std::chrono::steady_clock::now() - came_;
  metrics_->Ended(method_, status, took);
  std::string sequences;
  for (const PublicId id : sequences_) {
    sequences += (sequences.empty() ? "" : ",") + ToString(id);
  }
  LogFacts("request", {{"method", method_},
                       {"request_id", id_},
                       {"sequence", sequences},
                       {"status", absl::StatusCodeToString(status.code())},
                       {"reason", ReasonText(status)},
                       {"error", ErrorText(status)},
                       {"finish", finish_},
                       {"prompt_tokens", prompt_tokens_},
                       {"output_tokens", output_tokens_},
                       {"queue_s", ToSeconds(longest_.queue)},
                       {"prefill_s", ToSeconds(longest_.prefill)},
                       {"decode_s", ToSeconds(longest_.decode)},
                       {"moves", longest_.moves.count},
                       {"replayed_tokens", longest_.moves.replayed},
                       {"paused_s", ToSeconds(longest_.moves.paused)},
                       {"total_s", ToSeconds(took)}});
}

void LogMoved(const Moved& moved) {
  LogFacts("moved", {{"sequence", ToString(moved.sequence)},
                     {"moves", moved.moves.count},
                     {"replayed_tokens", moved.moves.replayed},
                     {"noticed_s", ToSeconds(moved.moves.noticed)},
                     {"paused_s", ToSeconds(moved.moves.paused)},
                     {"why", moved.why}});
}

void RequestRecord::Refused(const absl::Status& status) {
  metrics_->Ended(method_, status, std::chrono::steady_clock::now() - came_);
  const auto held_back = refusals_->Take();
  if (!held_back) return;
  LogFacts("refused", {{"method", method_},
                       {"request_id", id_},
                       {"status", absl::StatusCodeToString(status.code())},
                       {"reason", ReasonText(status)},
                       {"held_back", *held_back}});
}

}  // namespace catena
