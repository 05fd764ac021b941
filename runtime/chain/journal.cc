#include "runtime/chain/journal.h"

#include <algorithm>
#include <cstring>

#include "kernels/base/status.h"
#include "runtime/chain/inbox.h"

namespace catena {

Journal::Journal(int64_t begin, int64_t row_bytes, JournalBudget* budget)
    : row_bytes_(row_bytes), budget_(budget), begin_(begin), end_(begin) {}

Journal::~Journal() { PopBlocks(0); }

void Journal::PopBlocks(size_t keep) {
  const auto gone = static_cast<int64_t>(blocks_.size() - keep);
  blocks_.resize(keep);
  budget_->used_bytes -= gone * kBlockRows * row_bytes_;
}

void Journal::Append(const void* row) {
  const int64_t at = end_ - begin_;
  if (at == static_cast<int64_t>(blocks_.size()) * kBlockRows) {
    blocks_.emplace_back().rows.reset(new char[kBlockRows * row_bytes_]);
    budget_->used_bytes += kBlockRows * row_bytes_;
  }
  Block& block = blocks_[at / kBlockRows];
  std::memcpy(block.rows.get() + at % kBlockRows * row_bytes_, row,
              static_cast<size_t>(row_bytes_));
  block.hashes[at % kBlockRows] = HashRow(row, row_bytes_);
  ++end_;
}

void Journal::Read(int64_t from, int64_t to, std::string* bytes,
                   std::vector<uint64_t>* hashes) const {
  CATENA_CHECK(begin_ <= from && to <= end_);
  while (from < to) {
    const int64_t at = from - begin_;
    const int64_t n = std::min(to - from, kBlockRows - at % kBlockRows);
    const Block& block = blocks_[at / kBlockRows];
    bytes->append(block.rows.get() + at % kBlockRows * row_bytes_,
                  static_cast<size_t>(n * row_bytes_));
    const uint64_t* first = block.hashes + at % kBlockRows;
    hashes->insert(hashes->end(), first, first + n);
    from += n;
  }
}

std::optional<int64_t> Journal::FirstCorrupt(int64_t from, int64_t to) const {
  CATENA_CHECK(begin_ <= from && to <= end_);
  for (int64_t p = from; p < to; ++p) {
    const Block& block = blocks_[(p - begin_) / kBlockRows];
    const int64_t at = (p - begin_) % kBlockRows;
    if (HashRow(block.rows.get() + at * row_bytes_, row_bytes_) != block.hashes[at]) return p;
  }
  return std::nullopt;
}

void Journal::Restart(int64_t position) {
  PopBlocks(0);
  begin_ = end_ = position;
}

void Journal::Truncate(int64_t length) {
  CATENA_CHECK(length >= begin_);
  if (length >= end_) return;
  PopBlocks(static_cast<size_t>((length - begin_ + kBlockRows - 1) / kBlockRows));
  end_ = length;
}

bool Journal::DropOldest(int64_t position) {
  if (blocks_.empty() || begin_ + kBlockRows > std::min(position, end_)) return false;
  blocks_.pop_front();
  budget_->used_bytes -= kBlockRows * row_bytes_;
  begin_ += kBlockRows;
  return true;
}

}  // namespace catena
