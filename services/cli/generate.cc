// catena generate: a prompt in, new text out as it comes.
#include <algorithm>
#include <memory>

#include <fmt/format.h>

#include "services/cli/output.h"
#include "services/cli/sampling_options.h"
#include "services/cli/source_options.h"
#include "services/cli/text_input.h"

namespace catena::cli {
namespace {

using nlohmann::ordered_json;

struct GenerateOptions {
  SourceOptions source;
  SamplingOptions sampling;
  TextInput input;
  std::string system, answer_start;
  bool chat = false, json = false, stats = false;
};

// One of the n sequences, as it grows.
struct Output {
  std::string text;
  std::vector<int32_t> ids;
  ordered_json logprobs = ordered_json::array();
  FinishReason finish = FinishReason::kLength;
  std::string sequence_id;
};

absl::StatusOr<TextPrompt> ReadPrompt(const GenerateOptions& o) {
  CATENA_ASSIGN_OR_RETURN(TextPrompt prompt, o.input.Prompt());
  if (!o.chat) return prompt;
  ChatPrompt chat;
  if (!o.system.empty()) chat.messages.push_back({.role = "system", .content = o.system});
  chat.messages.push_back({.role = "user", .content = std::get<std::string>(prompt)});
  if (!o.answer_start.empty()) {
    chat.messages.push_back({.role = "assistant", .content = o.answer_start});
    chat.continue_final = true;
  }
  return chat;
}

// Text of several sequences cannot be streamed to one terminal: it is shown when all are done.
absl::Status Show(const std::vector<Output>& outputs) {
  if (outputs.size() == 1) return Write("\n");
  for (size_t i = 0; i < outputs.size(); ++i) {
    CATENA_RETURN_IF_ERROR(Write(fmt::format("[{}] {}\n", i, outputs[i].text)));
  }
  return absl::OkStatus();
}

ordered_json LogprobsOf(const TokenTexts& token) {
  auto entry = [](const TokenText& t) {
    return ordered_json{{"id", t.id}, {"token", t.piece}, {"logprob", t.logprob}};
  };
  ordered_json out = entry(token.chosen);
  out["top"] = ordered_json::array();
  for (const TokenText& t : token.top) out["top"].push_back(entry(t));
  return out;
}

// The first token of each of `n` sequences comes with the prompt, not of decoding.
void PrintStats(const TextStats& s, size_t n) {
  const double decoded = static_cast<double>(s.completion_tokens) - static_cast<double>(n);
  std::string guesses;
  if (s.drafted_tokens > 0) {
    guesses = fmt::format(", {} of {} guesses right", s.accepted_tokens, s.drafted_tokens);
  }
  std::string moves;
  if (s.moves > 0) {
    moves = fmt::format(" | {} moves, {} positions computed again, stood still for {:.2f} s",
                        s.moves, s.replayed_tokens, s.paused_s);
  }
  fmt::print(stderr,
             "load {:.2f} s | prompt {} tokens, first token after {:.3f} s ({:.1f} tok/s) | "
             "{} new tokens, {:.1f} tok/s{}{} | peak memory {}\n",
             s.load_s, s.prompt_tokens, s.prefill_s, s.prompt_tokens / std::max(s.prefill_s, 1e-9),
             s.completion_tokens, s.decode_s > 0 ? decoded / s.decode_s : 0.0, guesses, moves,
             HumanBytes(PeakMemoryBytes()));
}

// Guesses where they were asked for, and moves where there were any: other programs read exactly
// these keys.
ordered_json StatsJson(const TextStats& s, const Output& o, bool speculated) {
  ordered_json stats = {{"load_s", s.load_s},       {"prompt_tokens", s.prompt_tokens},
                        {"prefill_s", s.prefill_s}, {"completion_tokens", o.ids.size()},
                        {"decode_s", s.decode_s},   {"peak_memory_bytes", PeakMemoryBytes()}};
  if (speculated) {
    stats["drafted_tokens"] = s.drafted_tokens;
    stats["accepted_tokens"] = s.accepted_tokens;
  }
  if (s.moves > 0) {
    stats["moves"] = s.moves;
    stats["replayed_tokens"] = s.replayed_tokens;
    stats["noticed_s"] = s.noticed_s;
    stats["paused_s"] = s.paused_s;
  }
  return stats;
}

absl::Status PrintJson(const std::vector<Output>& outputs, const SamplingOverrides& sampling,
                       const TextStats& s) {
  const bool logprobs = sampling.logprobs.value_or(false);
  const bool speculated = sampling.speculate.value_or(0) > 0;
  for (const Output& o : outputs) {
    ordered_json line = {{"text", o.text},
                         {"token_ids", o.ids},
                         {"finish_reason", FinishReasonName(o.finish)},
                         {"logprobs", logprobs ? o.logprobs : ordered_json()},
                         {"seed", s.seed},
                         {"stats", StatsJson(s, o, speculated)}};
    if (!o.sequence_id.empty()) line["sequence_id"] = o.sequence_id;
    CATENA_RETURN_IF_ERROR(WriteJson(line));
  }
  return absl::OkStatus();
}

absl::Status RunGenerate(const GenerateOptions& o) {
  CATENA_ASSIGN_OR_RETURN(const SamplingOverrides sampling, o.sampling.Overrides());
  CATENA_ASSIGN_OR_RETURN(const auto source, o.source.Open());
  CATENA_ASSIGN_OR_RETURN(const TextPrompt prompt, ReadPrompt(o));
  const bool streams = !o.json && sampling.n.value_or(1) == 1;
  std::vector<Output> outputs;
  auto take = [&](const TextDelta& delta) {
    if (outputs.size() <= delta.sequence) outputs.resize(delta.sequence + 1);
    Output& out = outputs[delta.sequence];
    out.text += delta.text;
    out.ids.insert(out.ids.end(), delta.ids.begin(), delta.ids.end());
    for (const TokenTexts& token : delta.logprobs) out.logprobs.push_back(LogprobsOf(token));
    if (delta.finish) out.finish = *delta.finish;
    if (!delta.sequence_id.empty()) {
      out.sequence_id = delta.sequence_id;
      if (o.stats) fmt::print(stderr, "sequence {}\n", delta.sequence_id);
    }
    return streams ? Write(delta.text) : absl::OkStatus();
  };
  const absl::StatusOr<TextStats> stats = source->Generate(prompt, sampling, take);
  if (!stats.ok()) {
    // What came before Ctrl-C stays.
    const bool show = absl::IsCancelled(stats.status()) && !o.json && !outputs.empty();
    if (show) CATENA_RETURN_IF_ERROR(Show(outputs));
    return stats.status();
  }
  if (o.json) {
    CATENA_RETURN_IF_ERROR(PrintJson(outputs, sampling, *stats));
  } else {
    CATENA_RETURN_IF_ERROR(Show(outputs));
  }
  if (o.stats) PrintStats(*stats, outputs.size());
  return absl::OkStatus();
}

}  // namespace

Action DeclareGenerate(App& app) {
  auto o = std::make_shared<GenerateOptions>();
  o->source.Declare(app, true);
  const Option text = o->input.Declare(app, "-p,--prompt", "The text to go on from; - reads stdin");
  const Option chat =
      app.AddFlag("--chat", &o->chat, "Ask it as a user, in the model's chat template");
  chat.Needs(text);
  app.AddOption("--system", &o->system, "With --chat: the system message").Needs(chat);
  app.AddOption("--continue", &o->answer_start,
                "With --chat: what the answer starts with; it goes on from there")
      .Needs(chat);
  app.AddFlag("--json", &o->json, "One JSON object a sequence on stdout");
  app.AddFlag("--stats", &o->stats, "Times, speed and memory on stderr at the end");
  o->sampling.Declare(app);
  return [o] { return RunGenerate(*o); };
}

}  // namespace catena::cli
