// Requests like those of chat users, made from a seed: lengths are log-normal, as in ShareGPT's
// conversations (a median of about 100 tokens of prompt and 140 of answer, with a long tail),
// prompts are random ids, and arrivals are a Poisson process.
//
// Thread rules: one thread at a time. The same seed gives the same requests on any machine.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

namespace catena::load {

struct MixOptions {
  uint64_t seed = 1;
  int64_t vocab_size = 0;
  int64_t context_length = 0;  // prompt and answer fit into it
  double prompt_median = 100;  // tokens
  double prompt_spread = 1.2;  // standard deviation of the logarithm
  double output_median = 140;
  double output_spread = 0.9;
  int64_t max_prompt = 1024;
  int64_t max_output = 512;
  double cancel_share = 0;    // of requests that the client gives up after some tokens
  double deadline_share = 0;  // of requests with a deadline, often too short for them
};

struct RequestSpec {
  std::vector<int32_t> prompt;
  int32_t max_tokens = 0;
  std::optional<int32_t> cancel_after;  // tokens; 0: before the first
  std::optional<std::chrono::nanoseconds> deadline;
};

class Mix {
 public:
  // REQUIRES: vocab_size >= 1, context_length >= 2.
  explicit Mix(const MixOptions& options) : options_(options), state_(options.seed) {}

  RequestSpec Next();
  // A prompt of so many tokens, or of as many as leave room for the answer.
  RequestSpec Fixed(int64_t prompt_tokens, int32_t max_tokens);
  // From one arrival to the next. REQUIRES: rate > 0, arrivals a second.
  std::chrono::nanoseconds Gap(double rate);

 private:
  uint64_t Bits();
  double Uniform();  // (0, 1]
  double Normal();
  int64_t Length(double median, double spread, int64_t most);

  const MixOptions options_;
  uint64_t state_;
};

}  // namespace catena::load
