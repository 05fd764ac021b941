// Where the text of a command comes from: a model in this process, or the gateway of a cluster. The
// commands show either in the same way.
//
// Thread rules: one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "model/chat/chat_template.h"
#include "model/sampler/finish.h"
#include "runtime/local/generate.h"

namespace catena::cli {

// Text, ids, or a conversation that the chat template renders.
using TextPrompt = std::variant<std::string, std::vector<int32_t>, ChatPrompt>;

struct TokenText {
  int32_t id = -1;
  std::string piece;  // as a human reads it
  float logprob = 0;
};

struct TokenTexts {
  TokenText chosen;
  std::vector<TokenText> top;  // likeliest first
};

// What is new of one sequence.
struct TextDelta {
  size_t sequence = 0;
  std::string text;
  std::vector<int32_t> ids;
  std::vector<TokenTexts> logprobs;    // one an id, where asked for
  std::optional<FinishReason> finish;  // in the sequence's last
  std::string sequence_id;             // of a cluster, in the sequence's first: for `debug`
};

struct TextStats : GenerateStats {
  double load_s = 0;  // 0 where nothing was loaded
  uint64_t seed = 0;
  // How often the text went on in other processes, what was computed again for that, and how long
  // it stood still: until that was noticed, and in all.
  int64_t moves = 0, replayed_tokens = 0;
  double noticed_s = 0, paused_s = 0;
};

// A position of a text as the model sees it.
struct ScoredPosition {
  int64_t position = 0;
  int32_t id = -1;
  std::optional<std::string> piece;   // none: there is no tokenizer
  std::optional<double> probability;  // that the position before gave it
  struct Guess {
    int32_t id = -1;
    std::optional<std::string> piece;
    double probability = 0;
  };
  std::vector<Guess> next;  // likeliest first
};

class TextSource {
 public:
  // An error ends the work and is what it returns.
  using OnDelta = std::function<absl::Status(const TextDelta&)>;
  using OnPosition = std::function<absl::Status(const ScoredPosition&)>;

  virtual ~TextSource() = default;

  // Makes ready for conversations, each prompt of which begins with the one before: what may fail
  // fails before the user has typed anything.
  virtual absl::Status PrepareChat(const SamplingOverrides& sampling) = 0;

  // CANCELLED after Ctrl-C, with what text there was before handed to `on_delta`.
  virtual absl::StatusOr<TextStats> Generate(const TextPrompt& prompt,
                                             const SamplingOverrides& sampling,
                                             const OnDelta& on_delta) = 0;

  virtual absl::Status Score(const TextPrompt& prompt, int top, const OnPosition& on_position) = 0;
};

}  // namespace catena::cli
