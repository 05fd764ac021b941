// catena chat: a conversation in the terminal. The KV cache keeps what was said: each turn computes
// only its new tokens.
#include <iostream>
#include <memory>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

#include "services/cli/interrupt.h"
#include "services/cli/output.h"
#include "services/cli/sampling_options.h"
#include "services/cli/source_options.h"
#include "services/cli/text_input.h"

namespace catena::cli {
namespace {

struct ChatOptions {
  SourceOptions source;
  SamplingOptions sampling;
  std::string system, answer_start;
  int64_t context = 0;  // see LocalSource
  bool stats = false;
};

constexpr int32_t kDefaultMaxTokens = 1024;

// The next line of the user; false at the end of the input.
absl::StatusOr<bool> ReadMessage(bool terminal, std::string* line) {
  if (terminal) fmt::print(stderr, "\x1b[1m> \x1b[0m");
  return ReadLine(std::cin, line);
}

// Answers `chat`, shows the text as it comes and appends it to the messages. An answer that was
// begun is one message with its start.
absl::Status Answer(const ChatOptions& o, const SamplingOverrides& sampling, TextSource* source,
                    ChatPrompt* chat) {
  std::string answer;
  if (chat->continue_final) CATENA_RETURN_IF_ERROR(Write(chat->messages.back().content));
  const absl::StatusOr<TextStats> stats =
      source->Generate(*chat, sampling, [&](const TextDelta& delta) {
        answer += delta.text;
        return Write(delta.text);
      });
  const bool interrupted = absl::IsCancelled(stats.status());
  if (stats.ok() || interrupted || !answer.empty()) CATENA_RETURN_IF_ERROR(Write("\n"));
  if (!chat->continue_final) chat->messages.push_back({.role = "assistant", .content = ""});
  chat->messages.back().content += answer;
  chat->continue_final = false;
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
  ChatPrompt chat;
  if (!o.system.empty()) chat.messages.push_back({.role = "system", .content = o.system});
  const bool terminal = isatty(STDIN_FILENO) == 1;
  if (terminal)
    fmt::print(stderr, "Type a message. Ctrl-C ends an answer, Ctrl-D the conversation.\n");
  std::string line;
  std::string start = o.answer_start;
  while (!InterruptFlag().load()) {
    CATENA_ASSIGN_OR_RETURN(const bool read, ReadMessage(terminal, &line));
    if (!read) break;
    if (line.empty()) continue;
    chat.messages.push_back({.role = "user", .content = line});
    chat.continue_final = !start.empty();
    if (chat.continue_final) {
      chat.messages.push_back({.role = "assistant", .content = std::exchange(start, "")});
    }
    CATENA_RETURN_IF_ERROR(Answer(o, sampling, source.get(), &chat));
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
  app.AddOption("--continue", &o->answer_start,
                "What the first answer starts with; it goes on from there");
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
