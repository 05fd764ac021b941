// catena generate: a prompt in, new text out as it comes.
#include "runtime/generate.h"

#include <chrono>
#include <iostream>
#include <iterator>

#include <fmt/format.h>

#include "runtime/prompt.h"
#include "runtime/text_stream.h"
#include "services/cli/interrupt.h"
#include "services/cli/model_options.h"
#include "services/cli/output.h"
#include "services/cli/sampling_options.h"
#include "services/cli/text_input.h"

namespace catena::cli {
namespace {

using nlohmann::ordered_json;

struct GenerateOptions {
  ModelOptions model;
  RunOptions run;
  SamplingOptions sampling;
  std::string prompt;
  std::string system;
  std::string prompt_tokens;
  bool has_prompt = false;
  bool chat = false, json = false, stats = false;
};

// One of the n sequences, as it grows.
struct Output {
  explicit Output(TextStream s) : stream(std::move(s)) {}
  TextStream stream;
  std::string text;
  std::vector<int32_t> ids;
  ordered_json logprobs = ordered_json::array();
  FinishReason finish = FinishReason::kLength;
};

absl::StatusOr<std::vector<int32_t>> PromptIds(const GenerateOptions& o, const Model& model) {
  if (!o.has_prompt) return ParseIds(o.prompt_tokens);
  CATENA_ASSIGN_OR_RETURN(const Tokenizer* tokenizer, model.NeedTokenizer());
  std::string text = o.prompt;
  if (text == "-") text.assign(std::istreambuf_iterator<char>(std::cin), {});
  if (!o.chat) return EncodePrompt(*tokenizer, text);
  CATENA_ASSIGN_OR_RETURN(const ChatTemplate chat, OpenChatTemplate(model, o.model));
  std::vector<ChatMessage> messages;
  if (!o.system.empty()) messages.push_back({.role = "system", .content = o.system});
  messages.push_back({.role = "user", .content = text});
  CATENA_ASSIGN_OR_RETURN(const std::string rendered, chat.Render(messages, true));
  return tokenizer->Encode(rendered);
}

// Text of several sequences cannot be streamed to one terminal: it is shown when all are done.
absl::Status Show(const std::vector<Output>& outputs) {
  if (outputs.size() == 1) return Write("\n");
  for (size_t i = 0; i < outputs.size(); ++i) {
    CATENA_RETURN_IF_ERROR(Write(fmt::format("[{}] {}\n", i, outputs[i].text)));
  }
  return absl::OkStatus();
}

ordered_json LogprobsOf(const SampledToken& token, const Tokenizer* tokenizer) {
  auto entry = [&](int32_t id, float logprob) {
    return ordered_json{{"id", id},
                        {"token", tokenizer == nullptr ? "" : tokenizer->Piece(id)},
                        {"logprob", logprob}};
  };
  ordered_json out = entry(token.id, token.logprob);
  out["top"] = ordered_json::array();
  for (const TokenLogprob& t : token.top) out["top"].push_back(entry(t.id, t.logprob));
  return out;
}

// The first token of each of `n` sequences comes with the prompt, not of decoding.
void PrintStats(const GenerateStats& s, int n, double load_s) {
  const double decoded = static_cast<double>(s.completion_tokens - n);
  fmt::print(stderr,
             "load {:.2f} s | prompt {} tokens, first token after {:.3f} s ({:.1f} tok/s) | "
             "{} new tokens, {:.1f} tok/s | peak memory {}\n",
             load_s, s.prompt_tokens, s.prefill_s, s.prompt_tokens / std::max(s.prefill_s, 1e-9),
             s.completion_tokens, s.decode_s > 0 ? decoded / s.decode_s : 0.0,
             HumanBytes(PeakMemoryBytes()));
}

absl::Status PrintJson(const std::vector<Output>& outputs, const SamplingParams& params,
                       const GenerateStats& s, double load_s) {
  for (const Output& o : outputs) {
    CATENA_RETURN_IF_ERROR(WriteJson({{"text", o.text},
                                      {"token_ids", o.ids},
                                      {"finish_reason", FinishReasonName(o.finish)},
                                      {"logprobs", params.logprobs ? o.logprobs : ordered_json()},
                                      {"seed", params.seed},
                                      {"stats",
                                       {{"load_s", load_s},
                                        {"prompt_tokens", s.prompt_tokens},
                                        {"prefill_s", s.prefill_s},
                                        {"completion_tokens", o.ids.size()},
                                        {"decode_s", s.decode_s},
                                        {"peak_memory_bytes", PeakMemoryBytes()}}}}));
  }
  return absl::OkStatus();
}

// Takes tokens as they come: text to the screen, everything to `outputs`.
class Collector {
 public:
  Collector(const GenerateOptions& o, const SamplingParams& params, const Tokenizer* tokenizer)
      : options_(o), params_(params), tokenizer_(tokenizer) {
    for (int i = 0; i < params.n; ++i) outputs_.emplace_back(TextStream(tokenizer, params));
  }

  bool Take(const TokenEvent& event) {
    Output& out = outputs_[event.sequence];
    out.ids.push_back(event.token.id);
    if (params_.logprobs) out.logprobs.push_back(LogprobsOf(event.token, tokenizer_));
    std::string text = out.stream.Push(event.token.id);
    if (event.finish) {
      text += out.stream.Flush();
      out.finish = *event.finish;
    }
    if (out.stream.stopped()) out.finish = FinishReason::kStop;
    out.text += text;
    if (!options_.json && outputs_.size() == 1 && written_.ok()) written_ = Write(text);
    return !out.stream.stopped() && written_.ok();
  }

  // Ends what was interrupted: what was held back is shown too.
  absl::Status FlushAll() {
    for (Output& out : outputs_) {
      const std::string text = out.stream.Flush();
      out.text += text;
      if (!options_.json && outputs_.size() == 1) CATENA_RETURN_IF_ERROR(Write(text));
    }
    return options_.json ? absl::OkStatus() : Show(outputs_);
  }

  const std::vector<Output>& outputs() const { return outputs_; }
  const absl::Status& written() const { return written_; }

 private:
  const GenerateOptions& options_;
  const SamplingParams& params_;
  const Tokenizer* tokenizer_;
  std::vector<Output> outputs_;
  absl::Status written_;
};

absl::Status RunGenerate(GenerateOptions& o) {
  const auto start = std::chrono::steady_clock::now();
  CATENA_ASSIGN_OR_RETURN(const Model model, OpenModel(o.model));
  CATENA_ASSIGN_OR_RETURN(
      const SamplingParams params,
      o.sampling.Resolve(model.checkpoint->generation(), model.config().vocab_size));
  CATENA_ASSIGN_OR_RETURN(const Sampler sampler, Sampler::Make(params, model.config().vocab_size));
  CATENA_ASSIGN_OR_RETURN(std::vector<int32_t> prompt, PromptIds(o, model));
  CATENA_RETURN_IF_ERROR(
      CheckPrompt(prompt, model.config().vocab_size, model.config().context_length));
  const auto prompt_tokens = static_cast<int64_t>(prompt.size());
  CATENA_ASSIGN_OR_RETURN(
      const auto engine,
      LoadEngine(model, o.run,
                 PositionsNeeded(prompt_tokens, params, model.config().context_length), params.n));
  const double load_s =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  Collector collector(o, params, model.tokenizer.get());
  const GenerateRequest request{.prompt = std::move(prompt),
                                .sampler = &sampler,
                                .on_token = [&](const TokenEvent& e) { return collector.Take(e); },
                                .cancel = &InterruptFlag()};
  const absl::StatusOr<GenerateStats> stats = Generate(request, engine.get());
  CATENA_RETURN_IF_ERROR(collector.written());
  if (!stats.ok()) {
    if (absl::IsCancelled(stats.status())) CATENA_RETURN_IF_ERROR(collector.FlushAll());
    return stats.status();
  }
  if (o.json) {
    CATENA_RETURN_IF_ERROR(PrintJson(collector.outputs(), params, *stats, load_s));
  } else {
    CATENA_RETURN_IF_ERROR(Show(collector.outputs()));
  }
  if (o.stats) PrintStats(*stats, params.n, load_s);
  return absl::OkStatus();
}

}  // namespace

Action DeclareGenerate(CLI::App& app) {
  auto o = std::make_shared<GenerateOptions>();
  o->model.Declare(app);
  o->model.DeclareChatTemplate(app);
  auto* text = app.add_option("-p,--prompt", o->prompt, "The text to go on from; - reads stdin");
  auto* ids =
      app.add_option("--prompt-tokens", o->prompt_tokens, "The same as ids: 1,2,3")->excludes(text);
  auto* chat = app.add_flag("--chat", o->chat, "Ask it as a user, in the model's chat template");
  chat->needs(text);
  app.add_option("--system", o->system, "With --chat: the system message")->needs(chat);
  app.add_flag("--json", o->json, "One JSON object a sequence on stdout");
  app.add_flag("--stats", o->stats, "Times, speed and memory on stderr at the end");
  o->sampling.Declare(app);
  o->run.Declare(app);
  return [o, text, ids]() -> absl::Status {
    if (text->count() + ids->count() == 0) {
      return absl::InvalidArgumentError("give --prompt TEXT or --prompt-tokens 1,2,3");
    }
    o->has_prompt = text->count() > 0;
    return RunGenerate(*o);
  };
}

}  // namespace catena::cli
