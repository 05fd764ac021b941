#include "model/sampler/vocab_ops.h"

#include <algorithm>

#include "model/sampler/exact_math.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/sampler/vocab_ops.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace catena {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// The maximum of each whole group; returns whether all logits in them are finite.
bool ScanGroups(const float* HWY_RESTRICT logits, size_t n_groups, float* HWY_RESTRICT group_max) {
  const hn::CappedTag<float, 16> d;
  static_assert(kLogitGroup % 16 == 0);
  const size_t lanes = hn::Lanes(d);
  auto differences = hn::Zero(d);
  for (size_t g = 0; g < n_groups; ++g) {
    const float* HWY_RESTRICT group = logits + g * kLogitGroup;
    auto max = hn::LoadU(d, group);
    for (size_t i = 0; i < kLogitGroup; i += lanes) {
      const auto x = hn::LoadU(d, group + i);
      max = hn::Max(max, x);
      // +0 for a finite x, NaN for any other.
      differences = hn::Or(differences, hn::Sub(x, x));
    }
    group_max[g] = hn::GetLane(hn::MaxOfLanes(d, max));
  }
  return hn::AllTrue(d, hn::Eq(differences, hn::Zero(d)));
}

template <class D, class V>
HWY_INLINE V Exp(D d, V x) {
  const hn::RebindToUnsigned<D> du;
  const auto round = hn::Set(d, exact::kRoundToInt);
  const auto shifted = hn::Add(hn::Mul(x, hn::Set(d, exact::kLog2E)), round);
  const auto n = hn::Sub(shifted, round);
  const auto r = hn::Sub(hn::Sub(x, hn::Mul(n, hn::Set(d, exact::kLn2Hi))),
                         hn::Mul(n, hn::Set(d, exact::kLn2Lo)));
  auto sum = hn::Set(d, exact::kExpTaylor[0]);
  for (int k = 1; k < exact::kExpTerms; ++k) {
    sum = hn::Add(hn::Mul(sum, r), hn::Set(d, exact::kExpTaylor[k]));
  }
  const auto exponent = hn::ShiftLeft<52>(hn::Add(hn::BitCast(du, shifted), hn::Set(du, 1023)));
  const auto result = hn::Mul(sum, hn::BitCast(d, exponent));
  return hn::IfThenElseZero(hn::Ge(x, hn::Set(d, exact::kExpLowest)), result);
}

void Weights(const float* HWY_RESTRICT logits, size_t n, double max, double inv_temperature,
             double* HWY_RESTRICT weights) {
  const hn::CappedTag<double, 8> d;
  const hn::Rebind<float, decltype(d)> df;
  const size_t lanes = hn::Lanes(d);
  const auto v_max = hn::Set(d, max);
  const auto v_inv = hn::Set(d, inv_temperature);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto z = hn::PromoteTo(d, hn::LoadU(df, logits + i));
    hn::StoreU(Exp(d, hn::Mul(hn::Sub(z, v_max), v_inv)), d, weights + i);
  }
  for (; i < n; ++i) weights[i] = exact::Exp((double{logits[i]} - max) * inv_temperature);
}

}  // namespace HWY_NAMESPACE
}  // namespace catena
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace catena {

HWY_EXPORT(ScanGroups);
HWY_EXPORT(Weights);

void ScanLogits(absl::Span<const float> logits, LogitScan* scan) {
  const size_t n_groups = logits.size() / kLogitGroup;
  scan->group_max.resize((logits.size() + kLogitGroup - 1) / kLogitGroup);
  scan->finite = HWY_DYNAMIC_DISPATCH(ScanGroups)(logits.data(), n_groups, scan->group_max.data());
  const size_t rest = n_groups * kLogitGroup;
  if (rest < logits.size()) {
    float max = logits[rest];
    for (size_t i = rest; i < logits.size(); ++i) {
      max = std::max(max, logits[i]);
      scan->finite = scan->finite && logits[i] - logits[i] == 0;
    }
    scan->group_max[n_groups] = max;
  }
  const auto best = std::max_element(scan->group_max.begin(), scan->group_max.end());
  scan->max = *best;
  const auto first = logits.begin() + (best - scan->group_max.begin()) * kLogitGroup;
  scan->argmax = static_cast<int32_t>(std::find(first, logits.end(), *best) - logits.begin());
}

void SoftmaxWeights(absl::Span<const float> logits, double max, double inv_temperature,
                    double* weights) {
  HWY_DYNAMIC_DISPATCH(Weights)(logits.data(), logits.size(), max, inv_temperature, weights);
}

double WeighBlock(absl::Span<const float> logits, size_t block, double max, double inv_temperature,
                  double* weights) {
  const auto part = logits.subspan(block * kWeightBlock, kWeightBlock);
  SoftmaxWeights(part, max, inv_temperature, weights);
  std::fill(weights + part.size(), weights + kWeightBlock, 0.0);
  // Eight sums of every eighth weight: a fixed order that vector units can follow.
  double lanes[8] = {};
  for (size_t i = 0; i < kWeightBlock; i += 8) {
    for (size_t j = 0; j < 8; ++j) lanes[j] += weights[i + j];
  }
  return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) +
         ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
}

double TotalWeight(absl::Span<const float> logits, double max, double inv_temperature,
                   std::vector<double>* blocks) {
  double weights[kWeightBlock];
  const size_t n_blocks = (logits.size() + kWeightBlock - 1) / kWeightBlock;
  if (blocks != nullptr) blocks->resize(n_blocks);
  double total = 0;
  for (size_t b = 0; b < n_blocks; ++b) {
    const double sum = WeighBlock(logits, b, max, inv_temperature, weights);
    if (blocks != nullptr) (*blocks)[b] = sum;
    total += sum;
  }
  return total;
}

}  // namespace catena
#endif  // HWY_ONCE
