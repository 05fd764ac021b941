#include "kernels/base/batch.h"

#include <algorithm>
#include <utility>

#include "kernels/base/status.h"

namespace catena {

Batch::Offsets::Offsets(const BatchLimits& limits) {
  size_t at = 0;
  const auto take = [&at](size_t bytes) {  // arrays start at lines of their own
    return std::exchange(at, (at + bytes + 63) / 64 * 64);
  };
  const auto rows = static_cast<size_t>(limits.rows) * sizeof(int32_t);
  take(sizeof(BatchCounts));
  wanted = take(static_cast<size_t>(limits.wanted) * sizeof(int32_t));
  ids = take(rows);
  positions = take(rows);
  row_span = take(rows);
  spans = take(static_cast<size_t>(limits.rows) * sizeof(BatchSpan));
  pages = take(static_cast<size_t>(limits.pages) * sizeof(int32_t));
  end = at;
}

size_t Batch::Bytes(const BatchLimits& limits) { return Offsets(limits).end; }

BatchView Batch::ViewOf(char* block) const {
  return {.counts = reinterpret_cast<BatchCounts*>(block),
          .wanted = reinterpret_cast<int32_t*>(block + offsets_.wanted),
          .ids = reinterpret_cast<int32_t*>(block + offsets_.ids),
          .positions = reinterpret_cast<int32_t*>(block + offsets_.positions),
          .row_span = reinterpret_cast<int32_t*>(block + offsets_.row_span),
          .spans = reinterpret_cast<BatchSpan*>(block + offsets_.spans),
          .pages = reinterpret_cast<int32_t*>(block + offsets_.pages)};
}

Batch::Batch(const BatchLimits& limits, HostBuffer host, DeviceBuffer device)
    : limits_(limits),
      offsets_(limits),
      host_buffer_(std::move(host)),
      device_buffer_(std::move(device)),
      host_(ViewOf(static_cast<char*>(host_buffer_.data))),
      device_(ViewOf(device_buffer_.address.As<char>())),
      counts_(const_cast<BatchCounts*>(host_.counts)),
      wanted_(const_cast<int32_t*>(host_.wanted)),
      ids_(const_cast<int32_t*>(host_.ids)),
      positions_(const_cast<int32_t*>(host_.positions)),
      row_span_(const_cast<int32_t*>(host_.row_span)),
      pages_(const_cast<int32_t*>(host_.pages)),
      spans_(const_cast<BatchSpan*>(host_.spans)) {
  CATENA_CHECK(host_buffer_.bytes >= offsets_.end && device_buffer_.bytes >= offsets_.end);
  Clear();
}

void Batch::Clear() {
  *counts_ = {};
  n_pages_ = 0;
  padded_rows_ = padded_wanted_ = 0;
}

void Batch::Add(absl::Span<const int32_t> ids, int first_position, absl::Span<const int32_t> pages,
                int rotary) {
  const int n = static_cast<int>(ids.size()), first_row = counts_->rows;
  CATENA_CHECK(n > 0 && first_position >= 0 && first_row + n <= limits_.rows);
  CATENA_CHECK((first_position + n - 1) / kPagePositions < static_cast<int>(pages.size()));
  const auto held =
      std::find_if(pages.begin(), pages.end(), [](int32_t page) { return page >= 0; });
  const auto before = static_cast<int32_t>(held - pages.begin());
  const int32_t offset = static_cast<int32_t>(n_pages_) - before;
  n_pages_ += pages.size() - static_cast<size_t>(before);
  CATENA_CHECK(static_cast<int64_t>(n_pages_) <= limits_.pages);
  std::copy(held, pages.end(), pages_ + offset + before);
  std::copy(ids.begin(), ids.end(), ids_ + first_row);
  for (int i = 0; i < n; ++i) {
    positions_[first_row + i] = first_position + i;
    row_span_[first_row + i] = counts_->spans;
  }
  spans_[counts_->spans++] = {first_row, n, first_position, offset, rotary};
  counts_->rows += n;
  padded_rows_ = counts_->rows;
}

void Batch::Want(absl::Span<const int32_t> rows) {
  CATENA_CHECK(counts_->wanted + static_cast<int64_t>(rows.size()) <= limits_.wanted);
  std::copy(rows.begin(), rows.end(), wanted_ + counts_->wanted);
  counts_->wanted += static_cast<int32_t>(rows.size());
  padded_wanted_ = counts_->wanted;
}

void Batch::Pad(int rows, int wanted) {
  padded_rows_ = std::max(padded_rows_, rows);
  padded_wanted_ = std::max(padded_wanted_, wanted);
  CATENA_CHECK(padded_rows_ <= limits_.rows && padded_wanted_ <= limits_.wanted);
  std::fill(wanted_ + counts_->wanted, wanted_ + padded_wanted_, 0);  // a row that there is
}

}  // namespace catena
