// The receiving end of a hop, for one sequence: positions in order, each once. What comes twice is
// dropped (and compared with what came before), what is missing is asked for, one question at a
// time (DESIGN section 4, rules 1 and 3).
//
// Thread rules: plain state, one thread at a time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "absl/types/span.h"

#include "runtime/chain/instant.h"
#include "runtime/chain/messages.h"

namespace catena {

// Rows as they lie in the payload of a message.
struct RowRun {
  RowPayload payload;
  size_t offset = 0;  // bytes
  int64_t rows = 0;
};

// 64 bits of a row's bytes: equal rows have equal hashes on every machine (XXH3).
uint64_t HashRow(const void* row, int64_t row_bytes);

class Inbox {
 public:
  struct Options {
    int64_t rows_from = 0;  // positions from there on come with rows
    int64_t row_bytes = 0;
    int64_t max_length = 0;  // positions the sequence may have
    int64_t window = 0;      // positions that may be queued past those consumed
    int64_t begin = 0;       // the first position that is expected
  };
  explicit Inbox(const Options& options)
      : options_(options),
        begin_(options.begin),
        end_(options.begin),
        hashes_from_(std::max(options.rows_from, options.begin)) {}

  enum class Result {
    kQueued,
    kDuplicate,
    kGap,        // rows before it are missing: ask
    kDiverged,   // a duplicate with other bits
    kCorrupt,    // rows are not those whose hashes came with them: ask
    kMalformed,  // wrong shape, or past a bound: a hostile or broken peer
  };
  // `offset`: of the step's first row in `payload`, whose size the caller has checked.
  Result Take(const Step& step, const RowPayload& payload, size_t offset, uint64_t batch, Lane lane,
              Instant now);

  int64_t begin() const { return begin_; }  // first position not consumed
  int64_t end() const { return end_; }      // first position not received
  int64_t queued() const { return end_ - begin_; }
  bool empty() const { return begin_ == end_; }
  // Of the oldest queued piece. REQUIRES: !empty().
  uint64_t batch() const { return pieces_.front().batch; }
  Lane lane() const { return pieces_.front().lane; }
  Instant since() const { return pieces_.front().since; }

  // Consumes the next n positions: appends their ids, and the rows that came with them.
  // REQUIRES: n <= queued().
  void Consume(int64_t n, std::vector<int32_t>* ids, std::vector<RowRun>* rows);

  // Forgets positions from `position` on, received and consumed. REQUIRES: position <= begin().
  void Rewind(int64_t position);

  // Whether a question has no answer yet.
  bool asking() const { return asked_.has_value(); }
  // Asks for rows from end() on, unless the same question is younger than `retry`.
  std::optional<NeedFrom> Ask(const SequenceKey& sequence, const Life& life, Instant now,
                              Nanoseconds retry);

 private:
  struct Piece {
    int64_t position;
    std::vector<int32_t> ids;
    int64_t first_row;  // position of its first row
    RowPayload payload;
    size_t offset;
    uint64_t batch;
    Lane lane;
    Instant since;
  };

  bool WellFormed(const Step& step) const;
  // The rows of positions from `first_row` on are those that the sender hashed.
  bool IsWhole(const Step& step, const RowPayload& payload, size_t offset, int64_t first_row) const;
  // Where the step's rows overlap what came before, they are the same.
  bool Agrees(const Step& step) const;

  Options options_;
  int64_t begin_, end_;
  std::deque<Piece> pieces_;
  int64_t hashes_from_;
  std::vector<uint64_t> hashes_;  // of the rows of [hashes_from_, end_)
  uint64_t questions_ = 0;
  std::optional<Instant> asked_;
  int64_t asked_position_ = -1;
};

}  // namespace catena
