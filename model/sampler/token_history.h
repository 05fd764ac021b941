// The ids of one sequence in order, and how often each was seen: what penalties need, kept up to
// date a token at a time. Everything follows from (prompt length, ids): a history appended to,
// truncated (a roll-back) or rebuilt from the same ids gives the same samples.
//
// Thread rules: one thread at a time.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"

namespace catena {

class TokenHistory {
 public:
  struct Counts {
    uint32_t prompt = 0, output = 0;
  };

  // Ids at positions below `prompt_length` are the prompt, the others output.
  explicit TokenHistory(int64_t prompt_length) : prompt_length_(prompt_length) {}

  void Append(int32_t id);
  void Append(absl::Span<const int32_t> ids);

  // Forgets the ids at positions from `length` on. REQUIRES: 0 <= length <= size().
  void Truncate(int64_t length);

  // The length, which is also the position of the next token.
  int64_t size() const { return static_cast<int64_t>(ids_.size()); }
  int64_t prompt_length() const { return prompt_length_; }
  int64_t n_output() const { return size() > prompt_length_ ? size() - prompt_length_ : 0; }
  const std::vector<int32_t>& ids() const { return ids_; }

  // Only ids that occur, in no particular order.
  const absl::flat_hash_map<int32_t, Counts>& counts() const { return counts_; }

 private:
  int64_t prompt_length_;
  std::vector<int32_t> ids_;
  absl::flat_hash_map<int32_t, Counts> counts_;
};

}  // namespace catena
