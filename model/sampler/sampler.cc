#include "model/sampler/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "model/sampler/exact_math.h"
#include "model/sampler/philox.h"
#include "model/sampler/sampling_limits.h"

namespace catena {
namespace {

constexpr float kMasked = -std::numeric_limits<float>::infinity();

// A penalty may not make a finite logit infinite.
float ClampFinite(float z) {
  constexpr float kMax = std::numeric_limits<float>::max();
  return std::min(std::max(z, -kMax), kMax);
}

// The largest float that is surely no more than max + scaled / inv_temperature: what it gathers
// holds at least all logits of that weight.
float GatherFrom(float max, double scaled, double inv_temperature) {
  const double exact = double{max} + scaled / inv_temperature;
  if (exact <= std::numeric_limits<float>::lowest()) return kMasked;
  return std::nextafterf(static_cast<float>(exact), kMasked);
}

}  // namespace

absl::StatusOr<Sampler> Sampler::Make(SamplingParams params, int64_t vocab_size) {
  CATENA_RETURN_IF_ERROR(Validate(params, vocab_size));
  return Sampler(std::move(params), vocab_size);
}

Sampler::Sampler(SamplingParams params, int64_t vocab_size)
    : params_(std::move(params)), vocab_size_(vocab_size) {
  for (const auto* ids : {&params_.eos_token_ids, &params_.stop_token_ids}) {
    for (int32_t id : *ids) {
      if (id >= 0 && id < vocab_size && IsStopId(params_, id)) stop_ids_.push_back(id);
    }
  }
  greedy_ = params_.temperature < kGreedyTemperature;
  penalises_ = params_.repetition_penalty != 1.0 || params_.presence_penalty != 0.0 ||
               params_.frequency_penalty != 0.0;
  const bool top_k = params_.top_k > 0 && params_.top_k < vocab_size;
  top_k_ = top_k ? params_.top_k : vocab_size;
  filters_ = top_k || params_.top_p < 1.0 || params_.min_p > 0.0 || params_.typical_p < 1.0;
  if (!greedy_) inv_temperature_ = 1.0 / params_.temperature;
}

absl::StatusOr<SampledToken> Sampler::Sample(absl::Span<const float> logits,
                                             const TokenHistory& history, uint32_t sequence_index,
                                             SamplerScratch* scratch) const {
  CATENA_ASSIGN_OR_RETURN(const auto adjusted, Prepare(logits, history, scratch));
  SampledToken token;
  if (greedy_) {
    token.id = scratch->scan.argmax;
  } else {
    const double share = UniformDraw(params_.seed, sequence_index, history.size());
    if (filters_) {
      Select(adjusted, scratch);
      token.id = scratch->candidates.Pick(share);
    } else {
      token.id = PickFromAll(adjusted, share, scratch);
    }
  }
  if (params_.logprobs) {
    LogSoftmax& softmax = scratch->log_softmax;
    CATENA_RETURN_IF_ERROR(softmax.Take(logits, history.size()));
    token.logprob = static_cast<float>(softmax.logprob(token.id));
    token.top = softmax.Top(static_cast<size_t>(params_.top_logprobs));
  }
  return token;
}

absl::StatusOr<SampledToken> Sampler::Sample(LogitSource& logits, int64_t row,
                                             const TokenHistory& history, uint32_t sequence_index,
                                             SamplerScratch* scratch) const {
  if (const TopLogits* top = logits.Top(row); top != nullptr && !params_.logprobs) {
    const std::optional<int32_t> id = SampleTop(*top, history, sequence_index, scratch);
    if (id) return SampledToken{.id = *id, .logprob = 0, .top = {}};
  }
  return Sample(logits.All(row), history, sequence_index, scratch);
}

std::optional<int32_t> Sampler::SampleTop(const TopLogits& top, const TokenHistory& history,
                                          uint32_t sequence_index, SamplerScratch* scratch) const {
  if (top.finite == 0 || Adjusts(history)) return std::nullopt;
  if (greedy_) return top.ids[0];
  const float max = top.logits[0];
  // How many the first filter keeps.
  auto kept = static_cast<int>(std::min<size_t>(top_k_, top.count));
  if (top_k_ == static_cast<size_t>(vocab_size_)) {
    if (params_.top_p < 1.0 || params_.min_p <= 0.0) return std::nullopt;
    const float least = MinPFrom(max);
    if (top.count < vocab_size_ && top.logits[top.count - 1] >= least) return std::nullopt;
    while (kept > 0 && top.logits[kept - 1] < least) --kept;
  } else if (top_k_ > static_cast<size_t>(top.count)) {
    return std::nullopt;
  }
  scratch->candidates.Take(top, kept);
  scratch->candidates.Weigh(max, inv_temperature_);
  if (top_k_ < static_cast<size_t>(vocab_size_) && params_.top_p < 1.0) {
    scratch->candidates.KeepTopMass(params_.top_p * scratch->candidates.TotalWeight());
  }
  Narrow(max, &scratch->candidates);
  return scratch->candidates.Pick(UniformDraw(params_.seed, sequence_index, history.size()));
}

absl::StatusOr<std::vector<TokenProbability>> Sampler::Distribution(absl::Span<const float> logits,
                                                                    const TokenHistory& history,
                                                                    SamplerScratch* scratch) const {
  CATENA_ASSIGN_OR_RETURN(const auto adjusted, Prepare(logits, history, scratch));
  if (greedy_) return std::vector<TokenProbability>{{scratch->scan.argmax, 1.0}};
  Select(adjusted, scratch);
  const Candidates& candidates = scratch->candidates;
  const double total = candidates.TotalWeight();
  std::vector<TokenProbability> distribution;
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (candidates.weights()[i] == 0) continue;
    distribution.push_back({candidates.ids()[i], candidates.weights()[i] / total});
  }
  return distribution;
}

absl::StatusOr<absl::Span<const float>> Sampler::Prepare(absl::Span<const float> logits,
                                                         const TokenHistory& history,
                                                         SamplerScratch* scratch) const {
  CATENA_CHECK(static_cast<int64_t>(logits.size()) == vocab_size_);
  LogitScan& scan = scratch->scan;
  ScanLogits(logits, &scan);
  if (!scan.finite) return NonFiniteError(logits, history.size());
  if (!Adjusts(history)) return logits;

  std::vector<float>& adjusted = scratch->adjusted;
  adjusted.assign(logits.begin(), logits.end());
  for (const auto& [id, bias] : params_.logit_bias) adjusted[id] = ClampFinite(adjusted[id] + bias);
  if (penalises_) CATENA_RETURN_IF_ERROR(ApplyPenalties(history, absl::MakeSpan(adjusted)));
  if (MasksStopIds(history)) {
    for (int32_t id : stop_ids_) adjusted[id] = kMasked;
  }
  ScanLogits(adjusted, &scan);
  if (scan.max == kMasked) {
    return absl::InvalidArgumentError(
        "every token id is a stop id, which --min-tokens masks: give fewer or no --min-tokens");
  }
  return absl::Span<const float>(adjusted);
}

absl::Status Sampler::ApplyPenalties(const TokenHistory& history, absl::Span<float> logits) const {
  const float repetition = static_cast<float>(params_.repetition_penalty);
  const float frequency = static_cast<float>(params_.frequency_penalty);
  const float presence = static_cast<float>(params_.presence_penalty);
  // In whatever order: each id is changed once and alone.
  for (const auto& [id, counts] : history.counts()) {
    if (id < 0 || id >= vocab_size_) {
      return absl::InvalidArgumentError(
          fmt::format("the sequence has the token id {}: ids of this model are from 0 to {}", id,
                      vocab_size_ - 1));
    }
    float z = logits[id];
    z = z > 0 ? z / repetition : z * repetition;
    if (counts.output > 0) {
      z -= frequency * static_cast<float>(counts.output);
      z -= presence;
    }
    logits[id] = ClampFinite(z);
  }
  return absl::OkStatus();
}

void Sampler::Select(absl::Span<const float> logits, SamplerScratch* scratch) const {
  const LogitScan& scan = scratch->scan;
  Candidates& candidates = scratch->candidates;
  const bool top_p = params_.top_p < 1.0;
  if (top_k_ < logits.size()) {
    candidates.GatherTopK(logits, scan, top_k_);
    candidates.Weigh(scan.max, inv_temperature_);
    if (top_p) candidates.KeepTopMass(params_.top_p * candidates.TotalWeight());
  } else if (top_p) {
    GatherTopMass(logits, scratch);
  } else {
    candidates.Gather(logits, scan, params_.min_p > 0.0 ? MinPFrom(scan.max) : kMasked);
    candidates.Weigh(scan.max, inv_temperature_);
  }
  Narrow(scan.max, &candidates);
}

float Sampler::MinPFrom(float max) const {
  constexpr double kSlack = 1e-6;  // for the rounding of Log; KeepHeavy is exact
  return GatherFrom(max, exact::Log(params_.min_p) - kSlack, inv_temperature_);
}

void Sampler::Narrow(double max, Candidates* candidates) const {
  if (params_.min_p > 0.0) candidates->KeepHeavy(params_.min_p);
  if (params_.typical_p < 1.0) candidates->KeepTypical(params_.typical_p, max, inv_temperature_);
}

void Sampler::GatherTopMass(absl::Span<const float> logits, SamplerScratch* scratch) const {
  // e^-8 of the largest weight first: most often some hundred ids hold the mass.
  constexpr double kDepths[] = {-8, -16, -32, -std::numeric_limits<double>::infinity()};
  // The mass asked for is surely inside what was gathered, whatever the sums' rounding.
  constexpr double kSlack = 1 + 1e-9;
  const LogitScan& scan = scratch->scan;
  const double mass = params_.top_p * TotalWeight(logits, scan.max, inv_temperature_);
  for (double depth : kDepths) {
    scratch->candidates.Gather(logits, scan, GatherFrom(scan.max, depth, inv_temperature_));
    scratch->candidates.Weigh(scan.max, inv_temperature_);
    if (scratch->candidates.TotalWeight() >= mass * kSlack) break;
  }
  scratch->candidates.KeepTopMass(mass);
}

int32_t Sampler::PickFromAll(absl::Span<const float> logits, double share,
                             SamplerScratch* scratch) const {
  const double max = scratch->scan.max;
  std::vector<double>& blocks = scratch->blocks;
  double target = share * TotalWeight(logits, max, inv_temperature_, &blocks);
  // A block of no weight is never chosen, not even where rounding walks past the end.
  size_t block = 0;
  for (size_t b = 0; b < blocks.size(); ++b) {
    if (blocks[b] > 0) block = b;
    if (target < blocks[b]) break;
    target -= blocks[b];
  }
  double weights[kWeightBlock];
  WeighBlock(logits, block, max, inv_temperature_, weights);
  size_t last = 0;
  double reached = 0;
  for (size_t i = 0; i < kWeightBlock && reached <= target; ++i) {
    if (weights[i] > 0) last = i;
    reached += weights[i];
  }
  return static_cast<int32_t>(block * kWeightBlock + last);
}

}  // namespace catena
