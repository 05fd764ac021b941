// The tokens that are still in the draw, and the filters that take some out. Ids are always in
// ascending order, sums over them run in that order, and each filter's own order breaks ties by the
// lowest id: what is kept is a function of the logits alone.
//
// Thread rules: one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"

#include "kernels/base/top_logits.h"
#include "model/sampler/vocab_ops.h"

namespace catena {

class Candidates {
 public:
  // Takes the ids whose logit is at least `at_least` (-infinity: all, but masked ones). `scan` is
  // of these logits. The weights are unset.
  void Gather(absl::Span<const float> logits, const LogitScan& scan, float at_least);

  // Takes the k ids of the largest logits; of equal ones the lowest ids. REQUIRES: k >= 1.
  void GatherTopK(absl::Span<const float> logits, const LogitScan& scan, size_t k);

  // Takes the first k of these. REQUIRES: k <= top.count.
  void Take(const TopLogits& top, int k);

  // Sets every weight to e^((logit - max) * inv_temperature).
  void Weigh(double max, double inv_temperature);

  // Keeps the fewest of the most probable whose weights sum to at least `mass`; at least one.
  void KeepTopMass(double mass);

  // Keeps those that weigh at least `weight`.
  void KeepHeavy(double weight);

  // Keeps the fewest of the most typical that hold the share `typical_p` of the weight; at least
  // one. Typical: -log p is near the entropy. REQUIRES: Weigh was called with the same arguments.
  void KeepTypical(double typical_p, double max, double inv_temperature);

  double TotalWeight() const;

  // The id under the point `share` of the way, in [0, 1), through the weights in id order.
  int32_t Pick(double share) const;

  size_t size() const { return ids_.size(); }
  const std::vector<int32_t>& ids() const { return ids_; }
  const std::vector<float>& logits() const { return logits_; }
  const std::vector<double>& weights() const { return weights_; }

 private:
  // An entry in a filter's order: ascending by (key, id).
  struct Ranked {
    double key;
    int32_t id;
    double weight;
    bool operator<(const Ranked& other) const {
      return key != other.key ? key < other.key : id < other.id;
    }
  };

  // Of ranked_, in id order before, the entry at which the running sum of weights in ranked order
  // reaches `mass`; if none, the last one. Linear: a flat distribution keeps nearly the whole
  // vocabulary, which would take milliseconds to sort. Changes ranked_.
  Ranked CutAtMass(double mass);

  // Drops candidate i unless keep(i).
  template <typename Keep>
  void Filter(Keep keep);

  std::vector<int32_t> ids_;      // ascending
  std::vector<float> logits_;     // (ids)
  std::vector<double> weights_;   // (ids) once weighed
  std::vector<Ranked> ranked_;    // scratch
  std::vector<float> selection_;  // scratch
};

}  // namespace catena
