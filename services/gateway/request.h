// What a client asks, checked and made into what the token loop takes.
//
// Thread rules: pure functions, any thread.
#pragma once

#include <chrono>
#include <optional>
#include <string_view>

#include "catena/v1/generation.pb.h"

#include "model/sampler/params.h"
#include "runtime/chain/token_loop.h"
#include "services/gateway/model_facts.h"

namespace catena {

// The request's sampling over the model's generation config over the defaults, validated.
// `fresh_seed` is used where the request gives none. INVALID_ARGUMENT that names the field.
absl::StatusOr<SamplingParams> ResolveSampling(const v1::SamplingOptions& options,
                                               const ModelFacts& facts, uint64_t fresh_seed);

// NOT_FOUND unless `model` is "" or the cluster's.
absl::Status CheckModel(std::string_view model, const ModelFacts& facts);

// INVALID_ARGUMENT where a prompt's ids, or what a request asks of the tokenizer, cannot be; before
// anything is copied or asked.
absl::Status CheckText(const v1::GenerateRequest& request, const ModelFacts& facts);
absl::Status CheckText(const v1::ScoreRequest& request, const ModelFacts& facts);
absl::Status CheckText(const v1::TokenizeRequest& request, const ModelFacts& facts);

// INVALID_ARGUMENT where what a client says that it has cannot be of a request with these
// parameters.
absl::Status CheckResume(const v1::GenerateRequest& request, const SamplingParams& params,
                         const ModelFacts& facts);

// CheckPrompt of runtime/text/prompt.h, for this model.
absl::Status CheckPromptIds(absl::Span<const int32_t> ids, const ModelFacts& facts);

// Of a gRPC call, for the loop; nullopt: none. `now` is the same moment of both clocks.
std::optional<LoopClock::time_point> LoopDeadline(std::chrono::system_clock::time_point deadline,
                                                  std::chrono::system_clock::time_point now,
                                                  LoopClock::time_point loop_now);

// A seed for a request without one: 53 bits, so that it survives any JSON reader.
uint64_t DrawSeed();

}  // namespace catena
