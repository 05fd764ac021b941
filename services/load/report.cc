#include "services/load/report.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace catena::load {
namespace {

using nlohmann::ordered_json;

// The last word of the code as gRPC spells it: "RESOURCE_EXHAUSTED".
std::string CodeName(grpc::StatusCode code) {
  return absl::StatusCodeToString(static_cast<absl::StatusCode>(code));
}

// Whether a deadline of ours may end a request so: a queue too long for it is refused at once.
bool IsDeadline(grpc::StatusCode code) {
  return code == grpc::StatusCode::DEADLINE_EXCEEDED ||
         code == grpc::StatusCode::RESOURCE_EXHAUSTED;
}

std::string TimeRow(const char* name, const std::optional<Percentiles>& p) {
  if (!p) return "";
  return fmt::format("{:<16}{:>12}{:>12}{:>12}{:>12}\n", name, HumanSeconds(p->p50),
                     HumanSeconds(p->p95), HumanSeconds(p->p99), HumanSeconds(p->mean));
}

}  // namespace

std::optional<Percentiles> PercentilesOf(std::vector<double> values) {
  if (values.empty()) return std::nullopt;
  std::sort(values.begin(), values.end());
  const auto n = static_cast<double>(values.size());
  auto at = [&](double share) {
    return values[static_cast<size_t>(std::max(0.0, std::ceil(share * n) - 1))];
  };
  return Percentiles{.p50 = at(0.5),
                     .p95 = at(0.95),
                     .p99 = at(0.99),
                     .mean = std::accumulate(values.begin(), values.end(), 0.0) / n};
}

std::string HumanSeconds(double seconds) {
  if (seconds < 1e-3) return fmt::format("{:.0f} µs", seconds * 1e6);
  if (seconds < 1) return fmt::format("{:.1f} ms", seconds * 1e3);
  return fmt::format("{:.2f} s", seconds);
}

ordered_json ToJson(const std::optional<Percentiles>& p) {
  if (!p) return {};
  return {{"p50", p->p50}, {"p95", p->p95}, {"p99", p->p99}, {"mean", p->mean}};
}

void Report::Add(CallResult r) {
  prompt_tokens_ += r.prompt_tokens;
  output_tokens_ += r.output_tokens;
  if (r.first_token_s) first_token_s_.push_back(*r.first_token_s);
  if (r.queue_s) queue_s_.push_back(*r.queue_s);
  for (const TokenGap& gap : r.gaps) gap_s_.push_back(gap.seconds);
  const grpc::StatusCode code = r.status.error_code();
  if (r.status.ok()) {
    ++completed_;
    end_to_end_s_.push_back(r.end_to_end_s);
  } else if (r.cancelled && code == grpc::StatusCode::CANCELLED) {
    ++cancelled_;
  } else if (r.had_deadline && IsDeadline(code)) {
    ++missed_deadline_;
  } else {
    ++failed_;
    ++errors_[CodeName(code)];
    if (first_error_.empty()) first_error_ = r.status.error_message();
  }
}

std::string Report::Table(double seconds) const {
  std::string t = fmt::format(
      "{} requests in {:.1f} s: {} completed, {} cancelled, {} past their deadline, {} failed\n",
      total(), seconds, completed_, cancelled_, missed_deadline_, failed_);
  for (const auto& [code, count] : errors_) t += fmt::format("  {} {}\n", count, code);
  t += fmt::format("{:.1f} requests/s, {:.1f} prompt tokens/s, {:.1f} new tokens/s\n\n",
                   static_cast<double>(completed_) / seconds,
                   static_cast<double>(prompt_tokens_) / seconds,
                   static_cast<double>(output_tokens_) / seconds);
  t += fmt::format("{:<16}{:>12}{:>12}{:>12}{:>12}\n", "", "p50", "p95", "p99", "mean");
  t += TimeRow("queue", PercentilesOf(queue_s_));
  t += TimeRow("first token", PercentilesOf(first_token_s_));
  t += TimeRow("between tokens", PercentilesOf(gap_s_));
  t += TimeRow("end to end", PercentilesOf(end_to_end_s_));
  return t;
}

ordered_json Report::Json(double seconds) const {
  return {{"seconds", seconds},
          {"requests",
           {{"total", total()},
            {"completed", completed_},
            {"cancelled", cancelled_},
            {"missed_deadline", missed_deadline_},
            {"failed", failed_}}},
          {"errors", errors_},
          {"requests_per_s", static_cast<double>(completed_) / seconds},
          {"prompt_tokens_per_s", static_cast<double>(prompt_tokens_) / seconds},
          {"output_tokens_per_s", static_cast<double>(output_tokens_) / seconds},
          {"queue_s", ToJson(PercentilesOf(queue_s_))},
          {"first_token_s", ToJson(PercentilesOf(first_token_s_))},
          {"inter_token_s", ToJson(PercentilesOf(gap_s_))},
          {"end_to_end_s", ToJson(PercentilesOf(end_to_end_s_))}};
}

absl::Status Report::Verdict() const {
  if (failed_ == 0) return absl::OkStatus();
  return absl::UnavailableError(
      fmt::format("{} of {} requests failed; the first: {}", failed_, total(), first_error_));
}

}  // namespace catena::load
