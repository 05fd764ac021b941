#include "services/cli/bench_speed.h"

#include <algorithm>
#include <chrono>
#include <random>

#include "model/sampler/sampling_limits.h"
#include "runtime/local/generate.h"
#include "services/cli/model_options.h"
#include "services/cli/output.h"

namespace catena::cli {
namespace {

using Clock = std::chrono::steady_clock;

struct SpeedOptions {
  ModelOptions model;
  RunOptions run;
  int prompt_tokens = 512;
  int streams = 1;
  int tokens = 32;
  bool json = false;
};

// Any ids will do: what is computed takes as long for all of them.
std::vector<int32_t> DrawPrompt(int tokens, int64_t vocab_size) {
  std::minstd_rand random(static_cast<uint32_t>(tokens));
  std::vector<int32_t> ids(static_cast<size_t>(tokens));
  for (int32_t& id : ids) id = static_cast<int32_t>(random() % static_cast<uint64_t>(vocab_size));
  return ids;
}

struct Speed {
  double prefill_s = 0;     // until the first token
  double tokens_per_s = 0;  // once all streams write
};

absl::StatusOr<Speed> Time(const std::vector<int32_t>& prompt, int streams, int tokens,
                           Engine* engine) {
  SamplingParams params;
  params.max_tokens = tokens;
  params.n = streams;
  params.ignore_eos = true;
  CATENA_ASSIGN_OR_RETURN(const Sampler sampler,
                          Sampler::Make(params, engine->config().vocab_size));
  // The first streams write while the prompts of the last ones are read.
  std::vector<bool> writes(static_cast<size_t>(streams));
  int waiting = streams;
  int64_t written = 0;
  Clock::time_point start, end;
  auto count = [&](const TokenEvent& event) {
    end = Clock::now();
    if (waiting == 0) {
      ++written;
    } else if (!writes[event.sequence]) {
      writes[event.sequence] = true;
      if (--waiting == 0) start = end;
    }
    return true;
  };
  CATENA_ASSIGN_OR_RETURN(
      const GenerateStats stats,
      Generate({.prompt = prompt, .sampler = &sampler, .on_token = count}, engine));
  const double seconds = std::chrono::duration<double>(end - start).count();
  return Speed{stats.prefill_s, static_cast<double>(written) / std::max(seconds, 1e-9)};
}

absl::Status RunSpeed(const SpeedOptions& o) {
  CATENA_ASSIGN_OR_RETURN(const Model model, OpenModel(o.model));
  const int64_t positions = int64_t{o.prompt_tokens} + o.tokens;
  if (positions > model.config().context_length) {
    return absl::InvalidArgumentError(
        fmt::format("--prompt-tokens {} and --tokens {} pass the context of {}; give fewer",
                    o.prompt_tokens, o.tokens, model.config().context_length));
  }
  CATENA_ASSIGN_OR_RETURN(const auto engine, LoadEngine(model, o.run, positions, o.streams));
  const std::vector<int32_t> prompt = DrawPrompt(o.prompt_tokens, model.config().vocab_size);
  // The first run is not counted: memory is taken from the system when it is first touched.
  CATENA_RETURN_IF_ERROR(Time(prompt, o.streams, std::min(o.tokens, 2), engine.get()).status());
  CATENA_ASSIGN_OR_RETURN(const Speed one, Time(prompt, 1, 1, engine.get()));
  CATENA_ASSIGN_OR_RETURN(const Speed all, Time(prompt, o.streams, o.tokens, engine.get()));
  const double prefill = o.prompt_tokens / one.prefill_s;
  if (o.json) {
    return WriteJson({{"prompt_tokens", o.prompt_tokens},
                      {"streams", o.streams},
                      {"tokens", o.tokens},
                      {"prefill_tokens_per_s", prefill},
                      {"decode_tokens_per_s", all.tokens_per_s},
                      {"peak_memory_bytes", PeakMemoryBytes()}});
  }
  return Write(fmt::format("{:<36}{:>8.1f} tok/s\n{:<36}{:>8.1f} tok/s\n",
                           fmt::format("reading a prompt of {} tokens", o.prompt_tokens), prefill,
                           fmt::format("writing after it, {} together", o.streams),
                           all.tokens_per_s));
}

}  // namespace

Action DeclareBenchSpeed(App& app) {
  auto o = std::make_shared<SpeedOptions>();
  o->model.Declare(app);
  app.AddOption("--prompt-tokens", &o->prompt_tokens, "Tokens of the prompt (default 512)")
      .Range(1, 1 << 20);
  app.AddOption("--streams", &o->streams, "Sequences that decode together (default 1)")
      .Range(1, int{kMaxSequences});
  app.AddOption("--tokens", &o->tokens, "New tokens of each (default 32)").Range(2, 1 << 20);
  app.AddFlag("--json", &o->json, "One JSON object");
  o->run.Declare(app);
  return [o] { return RunSpeed(*o); };
}

}  // namespace catena::cli
