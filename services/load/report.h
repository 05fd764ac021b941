// What a load run measured.
//
// Thread rules: one thread at a time.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "kernels/base/status.h"
#include "services/load/client.h"

namespace catena::load {

struct Percentiles {
  double p50 = 0, p95 = 0, p99 = 0, mean = 0;
};
// Nearest rank; nothing of nothing.
std::optional<Percentiles> PercentilesOf(std::vector<double> values);

class Report {
 public:
  void Add(CallResult result);

  // `seconds`: how long all of it took.
  std::string Table(double seconds) const;
  nlohmann::ordered_json Json(double seconds) const;

  // Not OK where a request failed that had no reason to: neither was it cancelled by us nor did it
  // miss a deadline that we gave it.
  absl::Status Verdict() const;

 private:
  int64_t total() const { return completed_ + cancelled_ + missed_deadline_ + failed_; }

  int64_t completed_ = 0, cancelled_ = 0, missed_deadline_ = 0, failed_ = 0;
  int64_t prompt_tokens_ = 0, output_tokens_ = 0;
  std::map<std::string, int64_t> errors_;  // of those that failed, by the code's name
  std::string first_error_;
  std::vector<double> first_token_s_, gap_s_, end_to_end_s_, queue_s_;
};

// The same duration in the unit that suits it: "12.3 ms", "1.23 s".
std::string HumanSeconds(double seconds);

nlohmann::ordered_json ToJson(const std::optional<Percentiles>& p);

}  // namespace catena::load
