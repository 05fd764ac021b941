#include "services/gateway/gateway_metrics.h"

#include <algorithm>

#include "runtime/actor/gateway_actor.h"
#include "services/common/status.h"
#include "services/gateway/discovery.h"
#include "services/telemetry/exposition.h"

namespace catena {
namespace {

double Number(int64_t n) { return static_cast<double>(n); }

const char* HealthName(const KnownReplica& replica, const GatewayView& view) {
  if (!replica.answers) return "unreachable";
  if (!WhyRefused(replica, view).empty()) return "refused";
  return replica.info.draining ? "draining" : "serving";
}

// A number under our name, and under one of vLLM's.
void Both(std::string_view own, std::string_view alias, Exposition::Type type,
          std::string_view help, double value, const std::string& model, Exposition& page) {
  page.Family(own, type, help);
  page.Sample(value);
  page.Family(alias, type, help);
  page.Sample(value, {{"model_name", model}});
}

void Both(std::string_view own, std::string_view alias, std::string_view help,
          const Histogram& histogram, const std::string& model, Exposition& page) {
  page.Distribution(own, help, histogram);
  page.Family(alias, Exposition::kHistogram, help);
  page.Sample(histogram, {{"model_name", model}});
}

}  // namespace

void GatewayMetrics::Ended(const std::string& method, const absl::Status& status,
                           Nanoseconds took) {
  const std::lock_guard lock(mutex_);
  ++counts_.requests[{method, absl::StatusCodeToString(status.code()), ReasonText(status)}];
  counts_.request.Add(took);
}

void GatewayMetrics::Prompt(int64_t tokens) {
  const std::lock_guard lock(mutex_);
  counts_.prompt_tokens += tokens;
}

void GatewayMetrics::Output(int64_t tokens) {
  const std::lock_guard lock(mutex_);
  counts_.output_tokens += tokens;
}

void GatewayMetrics::FirstToken(Nanoseconds since) {
  const std::lock_guard lock(mutex_);
  counts_.first_token.Add(since);
}

void GatewayMetrics::NextToken(Nanoseconds since) {
  const std::lock_guard lock(mutex_);
  counts_.next_token.Add(since);
}

void GatewayMetrics::SequenceEnded(const std::string& finish, const LoopStats& stats) {
  const std::lock_guard lock(mutex_);
  ++counts_.sequences[finish];
  counts_.queue.Add(stats.queue);
  counts_.drafted += stats.drafted;
  counts_.accepted += stats.accepted;
}

void GatewayMetrics::Moved(const Moves& moves) {
  const std::lock_guard lock(mutex_);
  counts_.moves.moves += moves.count;
  counts_.moves.replayed += moves.replayed;
  counts_.moves.longest_pause = std::max<Nanoseconds>(counts_.moves.longest_pause, moves.paused);
  counts_.noticed.Add(moves.noticed);
  counts_.paused.Add(moves.paused);
}

GatewayMetrics::MoveTotals GatewayMetrics::moves() const { return counts().moves; }

GatewayMetrics::Counts GatewayMetrics::counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

void GatewayMetrics::Collect(const std::string& model, Exposition& page) const {
  const Counts c = counts();
  page.Family("catena_gateway_requests_total", Exposition::kCounter,
              "Requests that are over, by method, status code and reason.");
  for (const auto& [key, count] : c.requests) {
    const auto& [method, code, reason] = key;
    page.Sample(Number(count), {{"method", method}, {"code", code}, {"reason", reason}});
  }
  page.Family("catena_gateway_sequences_total", Exposition::kCounter,
              "Sequences that are over, by why: stop, length or error.");
  for (const auto& [finish, n] : c.sequences) page.Sample(Number(n), {{"finish", finish}});
  page.Family("vllm:request_success_total", Exposition::kCounter,
              "Sequences that are finished, by why.");
  for (const auto& [finish, n] : c.sequences) {
    if (finish == "error") continue;
    page.Sample(Number(n), {{"model_name", model}, {"finished_reason", finish}});
  }
  Both("catena_gateway_prompt_tokens_total", "vllm:prompt_tokens_total", Exposition::kCounter,
       "Tokens of prompts.", Number(c.prompt_tokens), model, page);
  Both("catena_gateway_output_tokens_total", "vllm:generation_tokens_total", Exposition::kCounter,
       "Tokens that went to clients.", Number(c.output_tokens), model, page);
  page.Counter("catena_gateway_drafted_tokens_total", "Tokens that speculation guessed.",
               Number(c.drafted));
  page.Counter("catena_gateway_accepted_tokens_total", "Guessed tokens that were right.",
               Number(c.accepted));
  page.Counter("catena_gateway_moves_total", "Times that a sequence went on in other processes.",
               Number(c.moves.moves));
  page.Counter("catena_gateway_replayed_tokens_total",
               "Positions that were computed again for that.", Number(c.moves.replayed));
  page.Distribution("catena_gateway_move_noticed_seconds",
                    "From a token to when it was seen that the sequence must move.", c.noticed);
  page.Distribution("catena_gateway_move_pause_seconds",
                    "From a token to the next of a sequence that moved between them.", c.paused);
  Both("catena_gateway_queue_wait_seconds", "vllm:request_queue_time_seconds",
       "Wait of a sequence until a route was reserved.", c.queue, model, page);
  Both("catena_gateway_time_to_first_token_seconds", "vllm:time_to_first_token_seconds",
       "From a request's arrival to the first token of a sequence.", c.first_token, model, page);
  Both("catena_gateway_inter_token_seconds", "vllm:inter_token_latency_seconds",
       "Between one token of a sequence and the next.", c.next_token, model, page);
  Both("catena_gateway_request_seconds", "vllm:e2e_request_latency_seconds",
       "From a request's arrival to its end.", c.request, model, page);
}

double KvUse(const std::vector<KnownReplica>& replicas) {
  struct Pages {
    int64_t used = 0, all = 0;
  };
  std::map<std::pair<int32_t, int32_t>, Pages> by_range;
  for (const KnownReplica& r : replicas) {
    if (r.role != Role::kShard || !r.answers) continue;
    Pages& pages = by_range[{r.info.layers.begin, r.info.layers.end}];
    pages.used += r.info.load.kv_pages_used;
    pages.all += r.info.load.kv_pages;
  }
  double use = 0;
  for (const auto& [range, pages] : by_range) {
    if (pages.all > 0) use = std::max(use, Number(pages.used) / Number(pages.all));
  }
  return std::clamp(use, 0.0, 1.0);
}

void CollectGatewayState(const GatewayView& view, const std::vector<KnownReplica>& replicas,
                         bool ready, Exposition& page) {
  const std::string& model = view.model.name;
  page.Gauge("catena_gateway_ready", "1 where requests are served.", ready ? 1 : 0);
  Both("catena_gateway_requests_waiting", "vllm:num_requests_waiting", Exposition::kGauge,
       "Sequences that wait for a route.", Number(view.waiting), model, page);
  Both("catena_gateway_requests_running", "vllm:num_requests_running", Exposition::kGauge,
       "Sequences that have a route.", Number(view.running), model, page);
  Both("catena_gateway_kv_cache_use_ratio", "vllm:kv_cache_usage_perc", Exposition::kGauge,
       "Used share, 0 to 1, of the KV cache of the range of blocks that has the least room.",
       KvUse(replicas), model, page);
  std::map<std::pair<std::string_view, std::string_view>, int64_t> counts;
  for (const KnownReplica& r : replicas) ++counts[{RoleName(r.role), HealthName(r, view)}];
  page.Family("catena_gateway_replicas", Exposition::kGauge, "Replicas by role and health.");
  for (const auto& [key, n] : counts) {
    page.Sample(Number(n), {{"role", key.first}, {"health", key.second}});
  }
}

}  // namespace catena
