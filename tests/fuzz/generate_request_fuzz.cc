// Any bytes that parse as a GenerateRequest are either refused or resolve to parameters that the
// sampler takes, within its limits.

#include <cstddef>
#include <cstdint>

#include "model/sampler/sampler.h"
#include "model/sampler/sampling_limits.h"
#include "services/gateway/request.h"

namespace {

constexpr int64_t kVocab = 1000;

catena::ModelFacts Facts(uint8_t bits) {
  catena::ModelFacts facts;
  facts.model = {.name = "m",
                 .fingerprint = "f",
                 .n_layers = 1,
                 .vocab_size = kVocab,
                 .hidden_size = 1,
                 .context_length = 100};
  facts.has_tokenizer = (bits & 1) != 0;
  facts.has_chat_template = (bits & 2) != 0;
  facts.generation.do_sample = (bits & 4) != 0;
  return facts;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const catena::ModelFacts facts = Facts(data[0]);
  catena::v1::GenerateRequest request;
  if (!request.ParseFromArray(data + 1, static_cast<int>(size - 1))) return 0;
  (void)catena::CheckModel(request.model(), facts);
  (void)catena::CheckText(request, facts);
  const auto& ids = request.tokens().ids();
  (void)catena::CheckPromptIds({ids.data(), static_cast<size_t>(ids.size())}, facts);
  const auto params = catena::ResolveSampling(request.sampling(), facts, 7);
  if (!params.ok()) {
    if (!absl::IsInvalidArgument(params.status())) __builtin_trap();
    return 0;
  }
  const bool bounded = params->n >= 1 && params->n <= catena::kMaxSequences &&
                       params->stop.size() <= catena::kMaxStopStrings &&
                       params->logit_bias.size() <= catena::kMaxLogitBiases;
  if (!bounded || !catena::Sampler::Make(*params, kVocab).ok()) __builtin_trap();
  return 0;
}
