// Text generation in one process: prompts are prefilled in chunks, all sequences decode together,
// decodes before prefill in every batch.
//
// Thread rules: one thread; `cancel` may be raised from any.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <vector>

#include "model/sampler/finish.h"
#include "model/sampler/sampler.h"
#include "runtime/local/engine.h"

namespace catena {

struct TokenEvent {
  int sequence = 0;  // index, 0 to params.n - 1
  SampledToken token;
  std::optional<FinishReason> finish;  // set with the sequence's last token
};

struct GenerateStats {
  int64_t prompt_tokens = 0;      // of one sequence
  int64_t reused_tokens = 0;      // of them, that a kept sequence had already
  int64_t completion_tokens = 0;  // of all
  double prefill_s = 0;           // until the first token
  double decode_s = 0;            // from there to the end
  int64_t drafted_tokens = 0;     // that speculation guessed,
  int64_t accepted_tokens = 0;    // and those of them that were right
};

// A sequence that stays in the cache between requests (a conversation): a prompt that begins like
// it computes only what is new. The bits are those of computing it all.
struct KeptSequence {
  SequenceId id = 0;         // 0: none yet
  std::vector<int32_t> ids;  // whose keys and values are in the cache
};

struct GenerateRequest {
  std::vector<int32_t> prompt;
  const Sampler* sampler = nullptr;
  // Called for every token in the order of its making. False ends that sequence (a stop string).
  std::function<bool(const TokenEvent&)> on_token;
  // Checked between steps; CANCELLED once it is true.
  const std::atomic<bool>* cancel = nullptr;
  // Taken up and left behind for the next request; the engine's for good. REQUIRES: n == 1.
  KeptSequence* kept = nullptr;
};

// INVALID_ARGUMENT for an empty prompt or one over the context; INTERNAL where the model gives
// logits that are not finite. A sequence that fills the context ends with kLength.
absl::StatusOr<GenerateStats> Generate(const GenerateRequest& request, Engine* engine);

}  // namespace catena
