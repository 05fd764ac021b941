#include "model/sampler/candidates.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

namespace catena {
namespace {

// CutAtMass sorts up to this many entries and divides more by their keys into so many buckets.
constexpr size_t kSortAtMost = 256;
constexpr size_t kBuckets = 1024;

}  // namespace

template <typename Keep>
void Candidates::Filter(Keep keep) {
  size_t kept = 0;
  for (size_t i = 0; i < ids_.size(); ++i) {
    if (!keep(i)) continue;
    ids_[kept] = ids_[i];
    logits_[kept] = logits_[i];
    if (!weights_.empty()) weights_[kept] = weights_[i];
    ++kept;
  }
  ids_.resize(kept);
  logits_.resize(kept);
  if (!weights_.empty()) weights_.resize(kept);
}

void Candidates::Gather(absl::Span<const float> logits, const LogitScan& scan, float at_least) {
  at_least = std::max(at_least, std::numeric_limits<float>::lowest());
  ids_.clear();
  logits_.clear();
  weights_.clear();
  for (size_t g = 0; g < scan.group_max.size(); ++g) {
    if (scan.group_max[g] < at_least) continue;
    const size_t end = std::min(logits.size(), (g + 1) * kLogitGroup);
    for (size_t i = g * kLogitGroup; i < end; ++i) {
      if (logits[i] < at_least) continue;
      ids_.push_back(static_cast<int32_t>(i));
      logits_.push_back(logits[i]);
    }
  }
}

void Candidates::GatherTopK(absl::Span<const float> logits, const LogitScan& scan, size_t k) {
  // k groups have a logit of at least the k-th largest group maximum, so the k-th largest logit is
  // no smaller: nothing below it is in the top k.
  float at_least = -std::numeric_limits<float>::infinity();
  if (k <= scan.group_max.size()) {
    selection_ = scan.group_max;
    std::nth_element(selection_.begin(), selection_.begin() + (k - 1), selection_.end(),
                     std::greater<float>());
    at_least = selection_[k - 1];
  }
  Gather(logits, scan, at_least);
  if (k >= ids_.size()) return;
  selection_ = logits_;
  std::nth_element(selection_.begin(), selection_.begin() + (k - 1), selection_.end(),
                   std::greater<float>());
  const float kth = selection_[k - 1];
  // Those above the k-th are fewer than k; the lowest ids of those equal to it fill up.
  size_t room = k - std::count_if(logits_.begin(), logits_.end(), [&](float z) { return z > kth; });
  Filter(
      [&](size_t i) { return logits_[i] > kth || (logits_[i] == kth && room > 0 && room-- > 0); });
}

void Candidates::Take(const TopLogits& top, int k) {
  ranked_.clear();
  for (int i = 0; i < k; ++i)
    ranked_.push_back({.key = 0, .id = top.ids[i], .weight = top.logits[i]});
  std::sort(ranked_.begin(), ranked_.end());
  ids_.clear();
  logits_.clear();
  weights_.clear();
  for (const Ranked& r : ranked_) {
    ids_.push_back(r.id);
    logits_.push_back(static_cast<float>(r.weight));
  }
}

void Candidates::Weigh(double max, double inv_temperature) {
  weights_.resize(ids_.size());
  SoftmaxWeights(logits_, max, inv_temperature, weights_.data());
}

double Candidates::TotalWeight() const {
  double total = 0;
  for (double weight : weights_) total += weight;
  return total;
}

Candidates::Ranked Candidates::CutAtMass(double mass) {
  double before = 0;  // the weight of what comes before all of ranked_
  while (ranked_.size() > kSortAtMost) {
    const auto [low, high] =
        std::minmax_element(ranked_.begin(), ranked_.end(),
                            [](const Ranked& a, const Ranked& b) { return a.key < b.key; });
    if (low->key == high->key) break;
    const double origin = low->key;
    const double scale = kBuckets / (high->key - origin);
    auto bucket_of = [&](const Ranked& entry) {
      return std::min(static_cast<size_t>((entry.key - origin) * scale), kBuckets - 1);
    };
    double sums[kBuckets] = {};
    for (const Ranked& entry : ranked_) sums[bucket_of(entry)] += entry.weight;
    size_t cut = 0;
    while (cut + 1 < kBuckets && before + sums[cut] < mass) before += sums[cut++];
    // The lowest and the highest key are in different buckets, so that this always takes some out.
    std::erase_if(ranked_, [&](const Ranked& entry) { return bucket_of(entry) != cut; });
  }
  if (!std::is_sorted(ranked_.begin(), ranked_.end())) std::sort(ranked_.begin(), ranked_.end());
  for (const Ranked& entry : ranked_) {
    before += entry.weight;
    if (before >= mass) return entry;
  }
  return ranked_.back();
}

void Candidates::KeepTopMass(double mass) {
  ranked_.clear();
  for (size_t i = 0; i < ids_.size(); ++i) {
    ranked_.push_back({-double{logits_[i]}, ids_[i], weights_[i]});
  }
  const Ranked cut = CutAtMass(mass);
  Filter([&](size_t i) { return !(cut < Ranked{-double{logits_[i]}, ids_[i], weights_[i]}); });
}

void Candidates::KeepHeavy(double weight) {
  Filter([&](size_t i) { return weights_[i] >= weight; });
}

void Candidates::KeepTypical(double typical_p, double max, double inv_temperature) {
  // With d = (logit - max) / T and Z the total weight, log p = d - log Z and the entropy is
  // log Z - E[d], so |-log p - entropy| = |E[d] - d|: no logarithm is needed.
  const double total = TotalWeight();
  auto scaled = [&](size_t i) { return (double{logits_[i]} - max) * inv_temperature; };
  double mean = 0;
  for (size_t i = 0; i < ids_.size(); ++i) mean += weights_[i] * scaled(i);
  mean /= total;
  auto rank = [&](size_t i) { return Ranked{std::abs(mean - scaled(i)), ids_[i], weights_[i]}; };
  ranked_.clear();
  for (size_t i = 0; i < ids_.size(); ++i) ranked_.push_back(rank(i));
  const Ranked cut = CutAtMass(typical_p * total);
  Filter([&](size_t i) { return !(cut < rank(i)); });
}

int32_t Candidates::Pick(double share) const {
  const double target = share * TotalWeight();
  double reached = 0;
  size_t last = 0;
  for (size_t i = 0; i < ids_.size(); ++i) {
    if (weights_[i] > 0) last = i;
    reached += weights_[i];
    if (reached > target) return ids_[i];
  }
  return ids_[last];
}

}  // namespace catena
