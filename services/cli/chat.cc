// catena chat: a conversation in the terminal. The KV cache keeps what was said: each turn computes
// only its new tokens.
#include <iostream>
#include <memory>

#include <fmt/format.h>
#include <unistd.h>

#include "services/cli/interrupt.h"
#include "services/cli/output.h"
#include "services/cli/sampling_options.h"
#include "services/cli/source_options.h"

namespace catena::cli {
namespace {

struct ChatOptions {
  SourceOptions source;
  SamplingOptions sampling;
  std::string system;
  int64_t context = 0;  // see LocalSource
  bool stats = false;
};

constexpr int32_t kDefaultMaxTokens = 1024;

// The next line of the user; false at the end of the input.
bool ReadLine(bool terminal, std::string* line) {
  if (terminal) fmt::print(stderr, "\x1b[1m> \x1b[0m");
  return static_cast<bool>(std::getline(std::cin, *line));
}

// Answers `messages`, shows the text as it comes and appends it to them.
absl::Status Answer(const ChatOptions& o, const SamplingOverrides& sampling, TextSource* source,
                    std::vector<ChatMessage>* messages) {
  std::string answer;
  const absl::StatusOr<TextStats> stats =
      source->Generate(*messages, sampling, [&](const TextDelta& delta) {
        answer += delta.text;
        return Write(delta.text);
      });
  const bool interrupted = absl::IsCancelled(stats.status());
  if (stats.ok() || interrupted || !answer.empty()) CATENA_RETURN_IF_ERROR(Write("\n"));
  messages->push_back({.role = "assistant", .content = answer});
  if (interrupted) {  // Ctrl-C ends the answer, not the conversation
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

absl::Status RunChat(const ChatOptions& o) {
  CATENA_ASSIGN_OR_RETURN(const SamplingOverrides sampling, o.sampling.Overrides());
  CATENA_ASSIGN_OR_RETURN(const auto source, o.source.Open(o.context));
  if (sampling.n.value_or(1) != 1 || sampling.logprobs.value_or(false)) {
    return absl::InvalidArgumentError("--n and --logprobs are of generate; chat has one answer");
  }
  CATENA_RETURN_IF_ERROR(source->PrepareChat(sampling));
  std::vector<ChatMessage> messages;
  if (!o.system.empty()) messages.push_back({.role = "system", .content = o.system});
  const bool terminal = isatty(STDIN_FILENO) == 1;
  if (terminal)
    fmt::print(stderr, "Type a message. Ctrl-C ends an answer, Ctrl-D the conversation.\n");
  std::string line;
  while (!InterruptFlag().load() && ReadLine(terminal, &line)) {
    if (line.empty()) continue;
    messages.push_back({.role = "user", .content = line});
    CATENA_RETURN_IF_ERROR(Answer(o, sampling, source.get(), &messages));
  }
  if (terminal) fmt::print(stderr, "\n");
  // At the prompt Ctrl-C leaves, as Ctrl-D does.
  return absl::OkStatus();
}

}  // namespace

Action DeclareChat(App& app) {
  auto o = std::make_shared<ChatOptions>();
  const Option gateway = o->source.Declare(app, true);
  app.AddOption("--system", &o->system, "The system message");
  const Option context =
      app.AddOption("--context", &o->context,
                    "Tokens a conversation may have (default: the model's, at most "
                    "32768)");
  context.Positive().Excludes(gateway);
  app.AddFlag("--stats", &o->stats, "Speed of each answer on stderr");
  o->sampling.Declare(app, kDefaultMaxTokens);
  return [o] { return RunChat(*o); };
}

}  // namespace catena::cli
