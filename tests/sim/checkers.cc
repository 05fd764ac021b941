#include "tests/sim/checkers.h"

#include <algorithm>

#include <fmt/ranges.h>

namespace catena::sim {
namespace {

// Of a request that scores its prompt.
std::string CheckScores(const Outcome& o, int64_t rotary_switch) {
  const std::vector<int32_t>& prompt = o.request.prompt;
  const int rotary = ToyRotary(static_cast<int64_t>(prompt.size()), rotary_switch);
  ToyCache cache({0, kLayers});
  cache.ChooseRotary(rotary);
  for (size_t p = 0; p < o.tokens.size(); ++p) {
    const std::vector<float> logits = ToyLogits(cache.Run(Embed(prompt[p], rotary)));
    const SampledToken& score = o.tokens[p].token;
    const int32_t next = p + 1 < prompt.size() ? prompt[p + 1] : -1;
    const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
    if (score.id != next || score.top.empty() || score.top[0].id != best) {
      return fmt::format("the score of position {} is wrong", p);
    }
  }
  if (o.ended && o.status.ok() && o.tokens.size() != prompt.size()) return "scores are missing";
  return "";
}

}  // namespace

std::string CheckText(const Outcome& o, int64_t context, int64_t rotary_switch) {
  if (o.request.score) return CheckScores(o, rotary_switch);
  const auto prompt = static_cast<int64_t>(o.request.prompt.size());
  std::vector<int32_t> got;
  for (const Token& token : o.tokens) {
    if (token.position != prompt + static_cast<int64_t>(got.size())) {
      return fmt::format("a token for position {} came after {} tokens", token.position,
                         got.size());
    }
    got.push_back(token.token.id);
  }
  std::vector<int32_t> want = ReferenceTokens(o.request.prompt, o.request.params,
                                              o.request.sequence_index, rotary_switch, context);
  const bool whole = o.ended && o.status.ok();
  if (!whole) want.resize(std::min(want.size(), got.size()));
  if (got == want) return "";
  return fmt::format("the text is {}, and should {} {}", fmt::join(got, ","),
                     whole ? "be" : "begin with", fmt::join(want, ","));
}

std::string CheckBlame(const Outcome& o, const std::vector<Happened>& faults, bool hasty) {
  if (o.lost || !o.ended || o.status.ok()) return "";
  if (o.cancelled && absl::IsCancelled(o.status)) return "";
  if (o.request.deadline &&
      (absl::IsDeadlineExceeded(o.status) || absl::IsResourceExhausted(o.status))) {
    return "";
  }
  // A text may also become one that kills.
  std::vector<int32_t> ids = o.request.prompt;
  for (const Token& token : o.tokens) ids.push_back(token.token.id);
  const auto poison =
      std::find_if(ids.begin(), ids.end(), [](int32_t id) { return id != kPoison; });
  if (poison - ids.begin() >= kPoisonLength && absl::IsInternal(o.status)) return "";
  // No route, or one only with the stages of another model.
  const bool refused = (!o.started || o.probe || hasty) &&
                       (absl::IsUnavailable(o.status) || absl::IsFailedPrecondition(o.status));
  const auto before = [&](const Happened& h) {
    return h.fault.may_hide_stages() && h.from <= o.moved_at;
  };
  if (refused && std::any_of(faults.begin(), faults.end(), before)) return "";
  return fmt::format("it failed, and nothing explains it: {}", o.status.ToString());
}

std::string CheckProgress(const Outcomes& outcomes, Instant now, Instant well_since,
                          Nanoseconds limit) {
  Instant last = well_since;
  bool waiting = false;
  const int64_t open = std::count_if(outcomes.begin(), outcomes.end(),
                                     [](const auto& o) { return o->submitted && o->open(); });
  for (const auto& o : outcomes) {
    if (!o->submitted) continue;
    last = std::max(o->moved_at, last);
    if (!o->open()) continue;
    waiting = true;
    const Nanoseconds still = now - std::max({o->moved_at, o->waited_at, well_since});
    const bool tried_in_turn = o->untried_at > o->moved_at;
    if (o->started && still > (tried_in_turn ? limit * open : limit)) {
      return fmt::format("a request that runs has stood still for {} s after {} tokens",
                         ToSeconds(still), o->tokens.size());
    }
  }
  if (!waiting || now - last <= limit) return "";
  return fmt::format("requests wait, and nothing has moved for {} s", ToSeconds(now - last));
}

std::string CheckLimits(const Processes& processes) {
  for (const auto& p : processes) {
    const auto over = [&](const char* what, int64_t n, int64_t most) {
      return n > most ? fmt::format("{} holds {} {}, and may {}", p->address(), n, what, most) : "";
    };
    std::string problem;
    if (p->gateway() != nullptr) {
      const int64_t fresh = p->gateway()->waiting() - p->gateway()->returned();
      problem = over("requests that wait", fresh, p->options().max_waiting);
    } else if (p->stage() != nullptr) {
      const ReplicaLoad load = p->stage()->load({});
      const int64_t window = limits::kDefaultWindowRows;
      // The first stage takes whole prompts, as ids; the others what windows allow.
      const bool first = p->options().layers.begin == 0;
      const int64_t queue = load.sequences * (first ? p->options().context : window);
      // Blocks of 16 rows, of which the first and the last of a sequence may be partly needed.
      const int64_t in_flight = p->memory()->sequences() * (window + 32) * kRowBytes;
      problem = over("queued rows", load.queued_rows, queue);
      if (problem.empty()) {
        problem = over("journal bytes", load.journal_bytes, p->options().journal_bytes + in_flight);
      }
      if (problem.empty()) {
        problem = over("KV positions", p->memory()->used(), p->options().kv_positions);
      }
    } else if (p->head() != nullptr) {
      const ReplicaLoad load = p->head()->load({});
      problem = over("queued rows", load.queued_rows, load.sequences * limits::kDefaultWindowRows);
    }
    if (!problem.empty()) return problem;
  }
  return "";
}

std::string CheckLeaks(const Processes& processes, const Network& network) {
  std::string leaks;
  for (const auto& p : processes) {
    const auto note = [&](const char* what, int64_t n) {
      if (n != 0) leaks += fmt::format("{} holds {} {}; ", p->address(), n, what);
    };
    if (p->stage() != nullptr) {
      const ReplicaLoad load = p->stage()->load({});
      note("sequences", load.sequences);
      note("queued rows", load.queued_rows);
      note("journal bytes", load.journal_bytes);
      note("KV positions", p->memory()->used());
    } else if (p->head() != nullptr) {
      note("sequences", p->head()->load({}).sequences);
      note("queued rows", p->head()->load({}).queued_rows);
    } else if (p->gateway() != nullptr) {
      note("requests that wait", p->gateway()->waiting());
      note("requests that run", p->gateway()->running());
    }
  }
  if (network.held() != 0) leaks += fmt::format("links hold {} messages; ", network.held());
  return leaks;
}

std::string CheckDivergences(const Processes& processes) {
  for (const auto& p : processes) {
    int64_t n = 0;
    if (p->stage() != nullptr) n = p->stage()->load({}).divergences;
    if (p->head() != nullptr) n = p->head()->load({}).divergences;
    if (n != 0) return fmt::format("{} saw {} divergences", p->address(), n);
  }
  return "";
}

}  // namespace catena::sim
