#include "services/cli/bench_kv_cache.h"

#include <chrono>

#include "runtime/local/generate.h"
#include "runtime/text/prompt.h"
#include "services/cli/model_options.h"
#include "services/cli/output.h"
#include "services/cli/progress.h"

namespace catena::cli {
namespace {

using Clock = std::chrono::steady_clock;

struct KvCacheOptions {
  ModelOptions model;
  RunOptions run;
  std::string prompt = "Once upon a time";
  int tokens = 100;
  bool json = false;
};

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

struct TimedIds {
  std::vector<int32_t> ids;
  double seconds = 0;
};

absl::StatusOr<TimedIds> WithCache(const std::vector<int32_t>& prompt, const Sampler& sampler,
                                   Engine* engine) {
  TimedIds out;
  const Clock::time_point start = Clock::now();
  const GenerateRequest request{
      .prompt = prompt, .sampler = &sampler, .on_token = [&](const TokenEvent& event) {
        out.ids.push_back(event.token.id);
        return true;
      }};
  CATENA_RETURN_IF_ERROR(Generate(request, engine).status());
  out.seconds = SecondsSince(start);
  return out;
}

// Each token from nothing: the whole text so far is computed again.
absl::StatusOr<TimedIds> Recomputing(std::vector<int32_t> text, int tokens, Engine* engine,
                                     ProgressBar* bar) {
  TimedIds out;
  LogitScan scan;
  const Clock::time_point start = Clock::now();
  for (int i = 0; i < tokens; ++i) {
    const int rotary = ChooseRotaryTable(engine->config(), static_cast<int64_t>(text.size()));
    CATENA_ASSIGN_OR_RETURN(const SequenceId id, engine->Open(rotary));
    StageRows hidden;
    const absl::Span<const int32_t> all(text);
    for (size_t at = 0; at < text.size(); at += hidden.rows.rows) {
      const auto chunk = all.subspan(at, static_cast<size_t>(engine->options().max_rows));
      CATENA_ASSIGN_OR_RETURN(hidden, engine->Forward({{id, static_cast<int64_t>(at), chunk}}));
    }
    engine->Close(id);
    const HostRows logits = engine->Logits(hidden, {hidden.rows.rows - 1});
    ScanLogits({logits.row(0), static_cast<size_t>(logits.cols)}, &scan);
    out.ids.push_back(scan.argmax);
    text.push_back(scan.argmax);
    bar->Show((i + 1.0) / tokens);
  }
  out.seconds = SecondsSince(start);
  return out;
}

absl::Status RunKvCache(const KvCacheOptions& o) {
  CATENA_ASSIGN_OR_RETURN(const Model model, OpenModel(o.model));
  std::vector<int32_t> prompt = {0};
  if (model.tokenizer != nullptr) {
    CATENA_ASSIGN_OR_RETURN(prompt, EncodePrompt(*model.tokenizer, o.prompt));
  }
  SamplingParams params;
  params.max_tokens = o.tokens;
  params.ignore_eos = true;
  CATENA_ASSIGN_OR_RETURN(const Sampler sampler, Sampler::Make(params, model.config().vocab_size));
  const auto prompt_tokens = static_cast<int64_t>(prompt.size());
  if (prompt_tokens + o.tokens > model.config().context_length) {
    return absl::InvalidArgumentError(
        fmt::format("prompt and --tokens {} pass the context of {}; give fewer", o.tokens,
                    model.config().context_length));
  }
  CATENA_ASSIGN_OR_RETURN(const auto engine, LoadEngine(model, o.run, prompt_tokens + o.tokens, 1));
  CATENA_RETURN_IF_ERROR(WithCache(prompt, sampler, engine.get()).status());  // warm up
  CATENA_ASSIGN_OR_RETURN(const TimedIds cached, WithCache(prompt, sampler, engine.get()));
  TimedIds recomputed;
  {
    ProgressBar bar("Recomputing");
    CATENA_ASSIGN_OR_RETURN(recomputed, Recomputing(prompt, o.tokens, engine.get(), &bar));
  }
  if (cached.ids != recomputed.ids) {
    return absl::InternalError("the tokens with and without the KV cache differ");
  }
  const double ratio = recomputed.seconds / cached.seconds;
  if (o.json) {
    return WriteJson({{"tokens", o.tokens},
                      {"with_cache_s", cached.seconds},
                      {"recomputing_s", recomputed.seconds},
                      {"ratio", ratio}});
  }
  return Write(
      fmt::format("{} tokens with the KV cache    {:>8.3f} s\n"
                  "{} tokens recomputing it all   {:>8.3f} s\n"
                  "ratio                          {:>8.1f}\n",
                  o.tokens, cached.seconds, o.tokens, recomputed.seconds, ratio));
}

}  // namespace

Action DeclareBenchKvCache(App& app) {
  auto o = std::make_shared<KvCacheOptions>();
  o->model.Declare(app);
  app.AddOption("-p,--prompt", &o->prompt, "The text to go on from");
  app.AddOption("--tokens", &o->tokens, "New tokens (default 100)").Range(1, 100000);
  app.AddFlag("--json", &o->json, "One JSON object");
  o->run.Declare(app);
  return [o] { return RunKvCache(*o); };
}

}  // namespace catena::cli
