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

class KvCache {
 public:
  // `pool` and `stream`, on which pages are zeroed, outlive this. `window`: of the model's
  // attention, 0 for none.
  KvCache(KvPool* pool, Stream* stream, int64_t window);

  // ALREADY_EXISTS where the id is open. `rotary`: see ChooseRotaryTable.
  absl::Status Open(SequenceId id, int rotary);
  // Frees the sequence's pages; an unknown id is fine.
  void Close(SequenceId id);

  // Makes sure that positions [0, length) have pages, all or nothing: RESOURCE_EXHAUSTED. NOT_FOUND
  // where the id is unknown.
  absl::Status Reserve(SequenceId id, int64_t length);

  struct Sequence {
    int64_t length = 0;  // positions whose keys and values are written
    int rotary = 0;
    std::vector<int32_t> pages;  // by position / kPagePositions; -1 where given back
  };
  // Null where unknown.
  const Sequence* Find(SequenceId id) const;

  // [0, length) is written now; gives back pages that no later position sees.
  void SetLength(SequenceId id, int64_t length);
  // Forgets positions from `length` on. FAILED_PRECONDITION where pages that position `length`
  // would see were given back: the sequence must then be computed again from an earlier position.
  absl::Status Truncate(SequenceId id, int64_t length);

  int64_t free_pages() const { return static_cast<int64_t>(free_.size()); }
  int64_t total_pages() const { return pool_->pages(); }

 private:
  // First position that a query at `position` sees.
  int64_t FirstVisible(int64_t position) const;

  KvPool* pool_;
  Stream* stream_;
  int64_t window_;
  std::vector<int32_t> free_;
  std::unordered_map<SequenceId, Sequence> sequences_;
};

// Pages that `positions` positions take.
constexpr int64_t PagesFor(int64_t positions) {
  return (positions + kPagePositions - 1) / kPagePositions;
}

}  // namespace catena
