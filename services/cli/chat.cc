// catena chat: a conversation in the terminal. The KV cache keeps what was said: each turn computes
// only its new tokens.
#include <algorithm>
#include <iostream>

#include <fmt/format.h>
#include <unistd.h>

#include "runtime/generate.h"
#include "runtime/text_stream.h"
#include "services/cli/interrupt.h"
#include "services/cli/model_options.h"
#include "services/cli/output.h"
#include "services/cli/sampling_options.h"

namespace catena::cli {
namespace {

struct ChatOptions {
  ModelOptions model;
  RunOptions run;
  SamplingOptions sampling;
  std::string system;
  int64_t context = 0;  // 0: the model's, at most kDefaultContext
  bool stats = false;
};

// What is set aside for a conversation grows with its context, and models claim up to millions.
constexpr int64_t kDefaultContext = 32768;
constexpr int32_t kDefaultMaxTokens = 1024;

int64_t Positions(const ChatOptions& o, const Model& model) {
  const int64_t most = model.config().context_length;
  return std::min(most, o.context > 0 ? o.context : kDefaultContext);
}

// The next line of the user; false at the end of the input.
bool ReadLine(bool terminal, std::string* line) {
  if (terminal) fmt::print(stderr, "\x1b[1m> \x1b[0m");
  return static_cast<bool>(std::getline(std::cin, *line));
}

// Answers `messages`, shows the text as it comes and appends it to them.
absl::Status Answer(const ChatOptions& o, const Model& model, const ChatTemplate& chat,
                    const Sampler& sampler, Engine* engine, std::vector<ChatMessage>* messages,
                    KeptSequence* kept) {
  CATENA_ASSIGN_OR_RETURN(const std::string text, chat.Render(*messages, true));
  TextStream stream(model.tokenizer.get(), sampler.params());
  std::string answer;
  absl::Status written;
  const GenerateRequest request{.prompt = model.tokenizer->Encode(text),
                                .sampler = &sampler,
                                .on_token =
                                    [&](const TokenEvent& event) {
                                      std::string piece = stream.Push(event.token.id);
                                      if (event.finish) piece += stream.Flush();
                                      answer += piece;
                                      written = Write(piece);
                                      return written.ok() && !stream.stopped();
                                    },
                                .cancel = &InterruptFlag(),
                                .kept = kept};
  if (static_cast<int64_t>(request.prompt.size()) > engine->options().max_positions) {
    return absl::ResourceExhaustedError(
        fmt::format("the conversation has {} tokens, more than its context of {}; start again, or "
                    "give a larger --context",
                    request.prompt.size(), engine->options().max_positions));
  }
  const absl::StatusOr<GenerateStats> stats = Generate(request, engine);
  CATENA_RETURN_IF_ERROR(written);
  CATENA_RETURN_IF_ERROR(Write(stream.Flush() + "\n"));
  messages->push_back({.role = "assistant", .content = answer});
  if (absl::IsCancelled(stats.status())) {  // Ctrl-C ends the answer, not the conversation
    ClearInterrupt();
    return absl::OkStatus();
  }
  CATENA_RETURN_IF_ERROR(stats.status());
  if (o.stats) {
    fmt::print(stderr, "{} tokens, {} of them reused | first after {:.3f} s | {:.1f} tok/s\n",
               stats->prompt_tokens, stats->reused_tokens, stats->prefill_s,
               stats->decode_s > 0 ? (stats->completion_tokens - 1) / stats->decode_s : 0.0);
  }
  return absl::OkStatus();
}

absl::Status RunChat(ChatOptions& o) {
  CATENA_ASSIGN_OR_RETURN(const Model model, OpenModel(o.model));
  CATENA_RETURN_IF_ERROR(model.NeedTokenizer().status());
  CATENA_ASSIGN_OR_RETURN(const ChatTemplate chat, OpenChatTemplate(model, o.model));
  CATENA_ASSIGN_OR_RETURN(
      const SamplingParams params,
      o.sampling.Resolve(model.checkpoint->generation(), model.config().vocab_size));
  if (params.n != 1 || params.logprobs) {
    return absl::InvalidArgumentError("--n and --logprobs are of generate; chat has one answer");
  }
  CATENA_ASSIGN_OR_RETURN(const Sampler sampler, Sampler::Make(params, model.config().vocab_size));
  CATENA_ASSIGN_OR_RETURN(const auto engine, LoadEngine(model, o.run, Positions(o, model), 1));
  KeptSequence kept;
  std::vector<ChatMessage> messages;
  if (!o.system.empty()) messages.push_back({.role = "system", .content = o.system});
  const bool terminal = isatty(STDIN_FILENO) == 1;
  if (terminal)
    fmt::print(stderr, "Type a message. Ctrl-C ends an answer, Ctrl-D the conversation.\n");
  std::string line;
  while (!InterruptFlag().load() && ReadLine(terminal, &line)) {
    if (line.empty()) continue;
    messages.push_back({.role = "user", .content = line});
    CATENA_RETURN_IF_ERROR(Answer(o, model, chat, sampler, engine.get(), &messages, &kept));
  }
  if (terminal) fmt::print(stderr, "\n");
  // At the prompt Ctrl-C leaves, as Ctrl-D does.
  return absl::OkStatus();
}

}  // namespace

Action DeclareChat(CLI::App& app) {
  auto o = std::make_shared<ChatOptions>();
  o->model.Declare(app);
  o->model.DeclareChatTemplate(app);
  app.add_option("--system", o->system, "The system message");
  app.add_option("--context", o->context,
                 "Tokens a conversation may have (default: the model's, at most 32768)")
      ->check(CLI::PositiveNumber);
  app.add_flag("--stats", o->stats, "Speed of each answer on stderr");
  o->sampling.Declare(app, kDefaultMaxTokens);
  o->run.Declare(app);
  return [o] { return RunChat(*o); };
}

}  // namespace catena::cli
