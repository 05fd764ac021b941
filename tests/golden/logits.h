// Logits of a whole prompt, for tests that compare them.
#pragma once

#include <cmath>
#include <vector>

#include <nlohmann/json.hpp>

#include "runtime/local/engine.h"

namespace catena {

// Of every position, computed `chunk` positions at a time.
inline std::vector<std::vector<float>> LogitsOf(Engine* engine, const std::vector<int32_t>& ids,
                                                size_t chunk = 128) {
  const auto n = static_cast<int64_t>(ids.size());
  const SequenceId id = *engine->Open(ChooseRotaryTable(engine->config(), n));
  std::vector<std::vector<float>> out;
  for (size_t at = 0; at < ids.size(); at += chunk) {
    const auto part = absl::Span<const int32_t>(ids).subspan(at, chunk);
    const StageRows hidden = *engine->Forward({{id, static_cast<int64_t>(at), part}});
    for (int32_t r = 0; r < hidden.rows.rows; ++r) {
      const HostRows logits = engine->Logits(hidden, {r});
      out.emplace_back(logits.row(0), logits.row(0) + logits.cols);
    }
  }
  engine->Close(id);
  return out;
}

inline double LogSumExp(const std::vector<float>& logits) {
  double sum = 0;
  for (const float l : logits) sum += std::exp(static_cast<double>(l));
  return std::log(sum);
}

// The largest difference between a case's logits and log-sums and those of its prompt.
inline double WorstDifference(const nlohmann::json& c, Engine* engine) {
  const auto logits = LogitsOf(engine, c["prompt"].get<std::vector<int32_t>>());
  double worst = 0;
  for (size_t p = 0; p < logits.size(); ++p) {
    worst = std::max(worst, std::abs(LogSumExp(logits[p]) - c["logsumexp"][p].get<double>()));
    for (const nlohmann::json& top : c["top"][p]) {
      const double l = logits[p][top[0].get<size_t>()];
      worst = std::max(worst, std::abs(l - top[1].get<double>()));
    }
  }
  return worst;
}

}  // namespace catena
