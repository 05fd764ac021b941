// The paged KV cache of one stage: which pages of the pool belong to which sequence.
//
// A sequence reserves pages for positions before it writes them, grows a page at a time, gives back
// what lies wholly before its sliding window, and can be truncated. Pages are zeroed when they are
// handed out. Thread rules: one thread, the stage's.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "kernels/kernels.h"

namespace catena {

using SequenceId = uint64_t;

// What a sequence comes to need, in positions.
struct KvNeed {
  int64_t max_length = 0;
  int64_t reserve = 0;   // the first of them, that pages are set aside for
  int64_t max_rows = 0;  // written at a time
};

class KvCache {
 public:
  // So many of the last positions can always be forgotten, window or not (speculation).
  static constexpr int64_t kRollBack = 16;

  // `pool` and `stream`, on which pages are zeroed, outlive this. `window`: of the model's
  // attention, 0 for none.
  KvCache(KvPool* pool, Stream* stream, int64_t window);

  // ALREADY_EXISTS where the id is open. `rotary`: see ChooseRotaryTable. Within what is set aside
  // Reserve does not fail. RESOURCE_EXHAUSTED where that is not free now, INVALID_ARGUMENT where
  // the pool is too small for all positions.
  absl::Status Open(SequenceId id, int rotary, const KvNeed& need = {});
  // Whether Open would find pages if those were closed.
  bool Fits(const KvNeed& need, absl::Span<const SequenceId> without) const;
  // From here on the sequence's rows are rotated by `rotary`. REQUIRES: the id is open, and has no
  // positions: no row may be rotated by another table than those before it.
  void SetRotary(SequenceId id, int rotary);
  // Frees the sequence's pages; an unknown id is fine.
  void Close(SequenceId id);

  // Makes sure that positions [0, length) have pages, all or nothing: RESOURCE_EXHAUSTED. NOT_FOUND
  // where the id is unknown.
  absl::Status Reserve(SequenceId id, int64_t length);

  struct Sequence {
    int64_t length = 0;  // positions whose keys and values are written
    int rotary = 0;
    std::vector<int32_t> pages;  // by position / kPagePositions; -1 where given back
    int64_t held = 0;            // pages of it
    int64_t promised = 0;        // pages that are set aside for it, held or not
  };
  // Null where unknown.
  const Sequence* Find(SequenceId id) const;

  // [0, length) is written now; gives back pages that no later position sees, nor those before it
  // after a Truncate by kRollBack.
  void SetLength(SequenceId id, int64_t length);
  // Forgets positions from `length` on. FAILED_PRECONDITION where pages that position `length`
  // would see were given back: the sequence must then be computed again from an earlier position.
  absl::Status Truncate(SequenceId id, int64_t length);

  // Neither held nor promised.
  int64_t free_pages() const { return static_cast<int64_t>(free_.size()) - set_aside_; }
  int64_t total_pages() const { return pool_->pages(); }

 private:
  // Pages go to or come from a sequence, out of what it was promised while that lasts.
  void Hold(Sequence* s, int64_t pages);
  void GiveBack(Sequence* s, int32_t page);
  // That so many positions of a sequence take at a time.
  int64_t PagesHeldFor(int64_t positions, int64_t max_rows) const;
  // First position that a query at `position` sees.
  int64_t FirstVisible(int64_t position) const;

  KvPool* pool_;
  Stream* stream_;
  int64_t window_;
  std::vector<int32_t> free_;
  int64_t set_aside_ = 0;  // of the free pages, those promised
  std::unordered_map<SequenceId, Sequence> sequences_;
};

// Pages that `positions` positions take.
constexpr int64_t PagesFor(int64_t positions) {
  return (positions + kPagePositions - 1) / kPagePositions;
}

}  // namespace catena
