// Text from a model in this process.
//
// Thread rules: one thread.
#pragma once

#include <chrono>
#include <memory>
#include <optional>

#include "services/cli/model_options.h"
#include "services/cli/text_source.h"

namespace catena::cli {

class LocalSource final : public TextSource {
 public:
  // Opens the model's files; its weights are read when they are needed. `chat_context`: positions
  // of a conversation; 0: the model's, at most kDefaultContext.
  static absl::StatusOr<std::unique_ptr<TextSource>> Open(const ModelOptions& model,
                                                          const RunOptions& run,
                                                          int64_t chat_context);

  absl::Status PrepareChat(const SamplingOverrides& sampling) override;
  absl::StatusOr<TextStats> Generate(const TextPrompt& prompt, const SamplingOverrides& sampling,
                                     const OnDelta& on_delta) override;
  absl::Status Score(const TextPrompt& prompt, int top, const OnPosition& on_position) override;

 private:
  LocalSource(const ModelOptions& options, const RunOptions& run, int64_t chat_context)
      : options_(options), run_(run), chat_context_(chat_context) {}

  absl::StatusOr<Sampler> MakeSampler(const SamplingOverrides& sampling) const;
  absl::StatusOr<std::vector<int32_t>> Encode(const TextPrompt& prompt);
  // The prompt's ids fit the model, or the conversation's context.
  absl::Status Check(const std::vector<int32_t>& ids) const;
  absl::Status Load(int64_t positions, int64_t sequences);
  TokenTexts Texts(const SampledToken& token) const;

  const ModelOptions options_;
  const RunOptions run_;
  const int64_t chat_context_;
  const std::chrono::steady_clock::time_point opened_ = std::chrono::steady_clock::now();
  Model model_;
  std::optional<ChatTemplate> chat_;
  std::unique_ptr<Engine> engine_;  // null: not yet loaded
  double load_s_ = 0;
  std::optional<KeptSequence> kept_;  // of a conversation
};

}  // namespace catena::cli
