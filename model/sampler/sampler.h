// The sampler: from a model's logits to one token. A pure function of (logits, parameters, seed,
// sequence index, position, ids before it): any replica, at any time, draws the same token, which
// is what makes a Move of a running request exact. No libm, no state, no order that depends on the
// machine; every tie goes to the lowest id.
//
// What is done to the logits, z, in this order:
//
//    1 logit bias          z + bias[id]
//    2 repetition penalty  z > 0 ? z / r : z * r, of ids in the prompt or the output
//    3 frequency penalty   z - f * (times in the output)
//    4 presence penalty    z - p, of ids in the output
//    5 min_tokens          -infinity, of ids that would stop, while the output is shorter
//    - greedy              the largest z, with no step below
//    6 temperature         weight e^((z - max) / T)
//    7 top-k               keeps the k largest
//    8 top-p               keeps the fewest largest that have the share p of the weight
//    9 min-p               keeps weights of at least min_p * the largest
//   10 typical-p           keeps the fewest nearest to the entropy that have the share p
//   11 draw                inverse CDF, in id order, of one Philox double (philox.h)
//
// Sources: 1 and 5 vLLM, v1/sample/logits_processor/builtin.py; 2 Hugging Face transformers,
// generation/logits_process.py (and vLLM; CTRL, arXiv:1909.05858); 3 and 4 OpenAI's definition as
// in vLLM, model_executor/layers/utils.py; 6 to 10 logits_process.py (typical-p: arXiv:2202.00666).
//
// Bias comes before the penalties and both before the temperature, as in vLLM and Hugging Face, so
// that a bias means the same at every temperature. Masking comes after both, so that nothing lifts
// a masked id. The filters' order, and that each sees the survivors of the one before renormalised,
// are Hugging Face's; vLLM has min-p first and knows no typical-p. Steps 1 to 5 are in float, as
// theirs are, the rest in double. One difference: Hugging Face keeps all that tie with the last one
// kept by top-k or typical-p; here k is k.
//
// Reported log-probabilities are the model's own: the log-softmax of the logits as they came,
// before all steps (vLLM's default, raw_logprobs).
//
// Thread rules: a Sampler is immutable, any thread may use it; one SamplerScratch a thread.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/types/span.h"

#include "kernels/base/status.h"
#include "model/sampler/candidates.h"
#include "model/sampler/finish.h"
#include "model/sampler/log_softmax.h"
#include "model/sampler/logit_source.h"
#include "model/sampler/params.h"
#include "model/sampler/token_history.h"
#include "model/sampler/vocab_ops.h"

namespace catena {

struct SampledToken {
  int32_t id = -1;
  float logprob = 0;              // set where params.logprobs asks
  std::vector<TokenLogprob> top;  // the params.top_logprobs likeliest, likeliest first
};

struct TokenProbability {
  int32_t id = -1;
  double probability = 0;
};

// Memory that Sample reuses from call to call; its contents mean nothing between calls.
struct SamplerScratch {
  LogitScan scan;
  std::vector<float> adjusted;  // (vocab)
  std::vector<double> blocks;   // weight of each kWeightBlock ids
  Candidates candidates;
  LogSoftmax log_softmax;
};

class Sampler {
 public:
  // INVALID_ARGUMENT from Validate.
  static absl::StatusOr<Sampler> Make(SamplingParams params, int64_t vocab_size);

  // The token at position history.size() of sequence `sequence_index`, of the params.n that share
  // the prompt. INTERNAL where a logit is not finite: the model is broken, and token 0 would hide
  // it. INVALID_ARGUMENT where min_tokens masks the whole vocabulary or the history has an id
  // outside it. REQUIRES: logits.size() == vocab_size.
  absl::StatusOr<SampledToken> Sample(absl::Span<const float> logits, const TokenHistory& history,
                                      uint32_t sequence_index, SamplerScratch* scratch) const;

  // The same of a row of `logits`, of its largest where they decide: greedily, by top-k of as many
  // and by min-p where it keeps no more, as long as the logits are taken as they came.
  absl::StatusOr<SampledToken> Sample(LogitSource& logits, int64_t row, const TokenHistory& history,
                                      uint32_t sequence_index, SamplerScratch* scratch) const;

  // The distribution that Sample draws from, in id order, without what has no chance. Same errors.
  absl::StatusOr<std::vector<TokenProbability>> Distribution(absl::Span<const float> logits,
                                                             const TokenHistory& history,
                                                             SamplerScratch* scratch) const;

  const SamplingParams& params() const { return params_; }

 private:
  Sampler(SamplingParams params, int64_t vocab_size);

  // Steps 1 to 5: the logits to choose from, either `logits` or scratch->adjusted, with
  // scratch->scan of them.
  absl::StatusOr<absl::Span<const float>> Prepare(absl::Span<const float> logits,
                                                  const TokenHistory& history,
                                                  SamplerScratch* scratch) const;
  absl::Status ApplyPenalties(const TokenHistory& history, absl::Span<float> logits) const;

  // Steps 6 to 10, to scratch->candidates.
  void Select(absl::Span<const float> logits, SamplerScratch* scratch) const;
  // No logit below it passes min-p.
  float MinPFrom(float max) const;
  // The filters behind the first one, of what was gathered and weighed.
  void Narrow(double max, Candidates* candidates) const;
  void GatherTopMass(absl::Span<const float> logits, SamplerScratch* scratch) const;

  // Step 11 without a filter before it, over the whole vocabulary.
  int32_t PickFromAll(absl::Span<const float> logits, double share, SamplerScratch* scratch) const;

  // Whether steps 1 to 5 change a logit.
  bool Adjusts(const TokenHistory& history) const {
    return !params_.logit_bias.empty() || penalises_ || MasksStopIds(history);
  }
  // Sample of the largest logits of a row; nothing where they do not decide.
  std::optional<int32_t> SampleTop(const TopLogits& top, const TokenHistory& history,
                                   uint32_t sequence_index, SamplerScratch* scratch) const;

  bool MasksStopIds(const TokenHistory& history) const {
    return !stop_ids_.empty() && history.n_output() < params_.min_tokens;
  }

  SamplingParams params_;
  int64_t vocab_size_;
  std::vector<int32_t> stop_ids_;  // those that end this sequence, inside the vocabulary
  bool greedy_;
  bool penalises_;  // steps 2 to 4
  bool filters_;    // steps 7 to 10
  size_t top_k_;    // vocab_size_: off
  double inv_temperature_ = 1.0;
};

}  // namespace catena
