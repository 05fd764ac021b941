#include "services/cli/sampling_options.h"

#include <charconv>

#include "model/tokenizer/utf8.h"

namespace catena::cli {
namespace {

absl::Status AddBias(const std::string& text, std::map<int32_t, float>* biases) {
  const size_t equals = text.find('=');
  const char* end = text.data() + text.size();
  int32_t id = 0;
  float bias = 0;
  if (equals != std::string::npos) {
    const char* middle = text.data() + equals;
    const auto a = std::from_chars(text.data(), middle, id);
    const auto b = std::from_chars(middle + 1, end, bias);
    if (a.ec == std::errc() && b.ec == std::errc() && a.ptr == middle && b.ptr == end) {
      (*biases)[id] = bias;
      return absl::OkStatus();
    }
  }
  return absl::InvalidArgumentError(
      fmt::format("--logit-bias {}: write ID=BIAS, for example 42=-5", text));
}

absl::Status ReadSeed(const std::string& text, std::optional<uint64_t>* seed) {
  if (text.empty() || text == "-1") return absl::OkStatus();
  uint64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stopped != end) {
    return absl::InvalidArgumentError(
        fmt::format("--seed {}: give a whole number from 0 to {}, or -1 for one that is drawn",
                    Quoted(text), UINT64_MAX));
  }
  *seed = value;
  return absl::OkStatus();
}

}  // namespace

void SamplingOptions::Declare(App& app, int32_t max_tokens) {
  default_max_tokens = max_tokens;
  SamplingOverrides& o = overrides;
  const char* group = "Sampling";
  auto add = [&](const char* name, auto& target, const std::string& help) {
    return app.AddOption(name, &target, help).Group(group);
  };
  add("--max-tokens", o.max_tokens, fmt::format("New tokens at most (default {})", max_tokens));
  add("--temperature", o.temperature, "0: greedy (the default unless the model says do_sample)");
  add("--top-k", o.top_k, "Keep the k likeliest");
  add("--top-p", o.top_p, "Keep the likeliest that have this share together");
  add("--min-p", o.min_p, "Keep what has at least this share of the likeliest");
  add("--typical-p", o.typical_p, "Keep the most typical that have this share together");
  add("--repetition-penalty", o.repetition_penalty, "Over prompt and output; 1: off");
  add("--presence-penalty", o.presence_penalty, "Over the output");
  add("--frequency-penalty", o.frequency_penalty, "Over the output, a count");
  add("--seed", seed, "The same seed gives the same text (default, or -1: drawn, see --json)");
  add("--stop", o.stop, "End before this text; may be given several times");
  add("--stop-token-ids", o.stop_token_ids, "End at these ids, for example 13,198").Delimiter(',');
  add("--n", o.n, "Sequences of this prompt");
  add("--speculate", o.speculate,
      "Guess up to this many tokens from the text so far and check them in one pass: the same "
      "text, "
      "sooner where it repeats itself");
  add("--logprobs", o.top_logprobs, "Log-probabilities of each token and this many alternatives");
  add("--logit-bias", logit_bias, "ID=BIAS, several with commas").Delimiter(',');
  add("--min-tokens", o.min_tokens, "Do not stop before this many");
  app.AddFlag("--ignore-eos", &o.ignore_eos, "Go on past the model's stop ids").Group(group);
}

absl::StatusOr<SamplingOverrides> SamplingOptions::Overrides() const {
  SamplingOverrides out = overrides;
  for (const std::string& text : logit_bias) {
    CATENA_RETURN_IF_ERROR(AddBias(text, &out.logit_bias));
  }
  CATENA_RETURN_IF_ERROR(ReadSeed(seed, &out.seed));
  // What is compared with them is valid UTF-8, here as in a cluster.
  for (std::string& stop : out.stop) stop = ToValidUtf8(stop);
  if (out.top_logprobs) out.logprobs = true;
  if (!out.max_tokens) out.max_tokens = default_max_tokens;
  return out;
}

}  // namespace catena::cli
