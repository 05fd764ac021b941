// The rows that a stage has made of one sequence, kept so that they can be sent (again): a stage's
// inputs are the truth, its KV cache is only a cache.
//
// Rows are a suffix [begin, end) of the sequence's positions; older ones may be dropped, and are
// then made again when somebody asks. Memory is taken in blocks and counted in a JournalBudget that
// all journals of a stage share. Thread rules: plain state, one thread at a time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace catena {

// Bytes that the journals of one stage hold.
struct JournalBudget {
  int64_t limit_bytes = 0;
  int64_t used_bytes = 0;
  bool exceeded() const { return used_bytes > limit_bytes; }
};

// What the journals of a stage may take where nobody says: a row for each position that its KV
// cache has, so that rows are dropped only where rows take more memory than the cache itself, which
// they never get. `positions`: of that cache.
inline int64_t DefaultJournalBytes(int64_t kv_bytes, int64_t positions, int64_t row_bytes) {
  return std::min(kv_bytes, positions * row_bytes);
}

class Journal {
 public:
  // `begin`: the first position that has a row. `budget` outlives this.
  Journal(int64_t begin, int64_t row_bytes, JournalBudget* budget);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  int64_t begin() const { return begin_; }
  int64_t end() const { return end_; }
  int64_t bytes() const { return static_cast<int64_t>(blocks_.size()) * kBlockRows * row_bytes_; }

  // The row of position end(). Hashed here.
  void Append(const void* row);

  // Appends the rows of [from, to) to `bytes` and their hashes. REQUIRES: begin <= from, to <= end.
  void Read(int64_t from, int64_t to, std::string* bytes, std::vector<uint64_t>* hashes) const;

  // The first of the rows of [from, to) that is not what was appended: memory that failed.
  // REQUIRES: as Read.
  std::optional<int64_t> FirstCorrupt(int64_t from, int64_t to) const;

  // Forgets all, and goes on at `position`.
  void Restart(int64_t position);
  // Forgets rows of positions from `length` on. REQUIRES: length >= begin().
  void Truncate(int64_t length);

  // Forgets the oldest block if all its rows are below `position`; false where it is not.
  bool DropOldest(int64_t position);

 private:
  static constexpr int64_t kBlockRows = 16;
  struct Block {
    std::unique_ptr<char[]> rows;  // (kBlockRows, row_bytes)
    uint64_t hashes[kBlockRows];
  };
  void PopBlocks(size_t keep);

  int64_t row_bytes_;
  JournalBudget* budget_;
  int64_t begin_, end_;  // begin_: the first row of the first block
  std::deque<Block> blocks_;
};

}  // namespace catena
