// Do running streams go on evenly while long prompts come? Streams of short prompts run all the
// time; once each has been alone for a while, long prompts come, one after the other.
//
// Thread rules: one thread.
#pragma once

#include <atomic>
#include <optional>
#include <string>

#include "kernels/base/status.h"
#include "services/load/client.h"
#include "services/load/report.h"

namespace catena::load {

struct FairnessOptions {
  MixOptions mix;  // seed, vocabulary, context
  int streams = 8;
  int long_prompts = 4;
  int64_t long_prompt_tokens = 2048;
  const std::atomic<bool>* interrupted = nullptr;  // ends it with CANCELLED
};

// Of the time between two tokens of a stream.
struct Fairness {
  int streams = 0, long_prompts = 0;
  int64_t long_prompt_tokens = 0;            // that fitted into the context
  std::optional<Percentiles> alone, beside;  // the streams alone, and beside long prompts
  std::optional<Percentiles> long_first_token_s;
};

absl::StatusOr<Fairness> MeasureFairness(const FairnessOptions& options, LoadClient* client);

// p99 over median.
std::optional<double> Unevenness(const std::optional<Percentiles>& gaps);

std::string FairnessTable(const Fairness& f);
nlohmann::ordered_json FairnessJson(const Fairness& f);

}  // namespace catena::load
