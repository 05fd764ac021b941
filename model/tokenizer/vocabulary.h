// The tokens of a model: text by id, and id by text. Ids may have holes (Phi-3's matrices are
// padded to 32064 rows, its tokens end at 32010). Immutable once made; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"

#include "kernels/base/status.h"

namespace catena {

struct VocabularyEntry {
  int32_t id;
  std::string_view text;  // need only live until Make returns
  bool added;             // known to the added tokens alone: BPE does not find it
};

class Vocabulary {
 public:
  Vocabulary() = default;
  Vocabulary(Vocabulary&&) = default;
  Vocabulary& operator=(Vocabulary&&) = default;

  // DATA_LOSS where an id is negative, far above the number of tokens (nothing is allocated for
  // it) or has two texts. Of several ids with one text, Find gives the largest, as llama.cpp does.
  static absl::StatusOr<Vocabulary> Make(std::vector<VocabularyEntry> entries,
                                         std::string_view source);

  // One more than the largest id.
  int32_t size() const { return static_cast<int32_t>(offsets_.size()) - 1; }
  bool Has(int32_t id) const { return id >= 0 && id < size() && present_[id]; }
  // "" where there is no such id.
  std::string_view Text(int32_t id) const {
    if (!Has(id)) return {};
    return std::string_view(arena_).substr(offsets_[id], offsets_[id + 1] - offsets_[id]);
  }
  // The id of a token that BPE knows, or -1.
  int32_t Find(std::string_view text) const { return Find(ids_, text); }
  // The id of any token, added ones first, or -1.
  int32_t FindAny(std::string_view text) const;

 private:
  using Index = absl::flat_hash_map<absl::string_view, int32_t>;
  static int32_t Find(const Index& index, std::string_view text);

  std::string arena_;  // all texts, by id; not short enough to live inside the object
  std::vector<uint32_t> offsets_{0};
  std::vector<bool> present_;
  Index ids_, added_ids_;  // keys point into arena_
};

}  // namespace catena
