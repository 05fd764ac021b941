#include "runtime/chain/inbox.h"

#include <algorithm>

#include <xxhash.h>

#include "runtime/chain/planted.h"
#include "runtime/chain/reached.h"

namespace catena {

uint64_t HashRow(const void* row, int64_t row_bytes) {
  return XXH3_64bits(row, static_cast<size_t>(row_bytes));
}

bool Inbox::WellFormed(const Step& step) const {
  if (step.ids.empty() || step.position < 0 || step.position > options_.max_length) return false;
  if (step.end() > options_.max_length) return false;
  const int64_t first = std::clamp(options_.rows_from, step.position, step.end());
  return step.first_row() == first;
}

bool Inbox::Agrees(const Step& step) const {
  for (int64_t p = std::max(step.first_row(), hashes_from_); p < std::min(step.end(), end_); ++p) {
    if (step.row_hashes[p - step.first_row()] != hashes_[p - hashes_from_]) return false;
  }
  return true;
}

bool Inbox::IsWhole(const Step& step, const RowPayload& payload, size_t offset,
                    int64_t first_row) const {
  for (int64_t p = first_row; p < step.end() && !CATENA_PLANTED(kHashesAreNotCompared); ++p) {
    const size_t i = static_cast<size_t>(p - step.first_row());
    const char* row = payload->data() + offset + i * static_cast<size_t>(options_.row_bytes);
    if (HashRow(row, options_.row_bytes) != step.row_hashes[i]) return false;
  }
  return true;
}

Inbox::Result Inbox::Take(const Step& step, const RowPayload& payload, size_t offset,
                          uint64_t batch, Lane lane, Instant now) {
  if (!WellFormed(step)) return Result::kMalformed;
  if (step.position > end_) return Result::kGap;
  if (!Agrees(step)) return Result::kDiverged;
  if (step.end() <= end_) return Result::kDuplicate;
  if (step.position < end_) CATENA_REACHED(kStepOverlaps);
  if (step.end() > begin_ + options_.window) return Result::kMalformed;
  const int64_t first_row = std::max(step.first_row(), end_);
  if (!IsWhole(step, payload, offset, first_row)) return Result::kCorrupt;
  pieces_.push_back(
      {.position = end_,
       .ids = {step.ids.begin() + (CATENA_PLANTED(kOverlapCountsTwice) ? 0 : end_ - step.position),
               step.ids.end()},
       .first_row = first_row,
       .payload = first_row < step.end() ? payload : nullptr,
       .offset = offset + static_cast<size_t>((first_row - step.first_row()) * options_.row_bytes),
       .batch = batch,
       .lane = lane,
       .since = now});
  hashes_.insert(hashes_.end(), step.row_hashes.begin() + (first_row - step.first_row()),
                 step.row_hashes.end());
  end_ = step.end();
  asked_.reset();
  return Result::kQueued;
}

void Inbox::Consume(int64_t n, std::vector<int32_t>* ids, std::vector<RowRun>* rows) {
  CATENA_CHECK(n <= queued());
  while (n > 0) {
    Piece& piece = pieces_.front();
    const auto take = std::min<int64_t>(n, static_cast<int64_t>(piece.ids.size()));
    const int64_t end = piece.position + take;
    ids->insert(ids->end(), piece.ids.begin(), piece.ids.begin() + take);
    if (const int64_t count = end - piece.first_row; count > 0) {
      rows->push_back({.payload = piece.payload, .offset = piece.offset, .rows = count});
      piece.offset += static_cast<size_t>(count * options_.row_bytes);
      piece.first_row = end;
    }
    piece.position = begin_ = end;
    piece.ids.erase(piece.ids.begin(), piece.ids.begin() + take);
    if (piece.ids.empty()) pieces_.pop_front();
    n -= take;
  }
}

void Inbox::Rewind(int64_t position) {
  CATENA_CHECK(position <= begin_);
  pieces_.clear();
  begin_ = end_ = position;
  hashes_from_ = std::min(hashes_from_, std::max(position, options_.rows_from));
  const int64_t rows = std::max<int64_t>(0, position - hashes_from_);
  if (static_cast<int64_t>(hashes_.size()) > rows) hashes_.resize(static_cast<size_t>(rows));
  asked_.reset();
}

std::optional<NeedFrom> Inbox::Ask(const SequenceKey& sequence, const Life& life, Instant now,
                                   Nanoseconds retry) {
  if (asked_ && asked_position_ == end_ && now - *asked_ < retry) return std::nullopt;
  asked_ = now;
  asked_position_ = end_;
  return NeedFrom{.sequence = sequence, .life = life, .number = ++questions_, .position = end_};
}

}  // namespace catena
