// A ragged batch: rows of many sequences, any mix of prefill chunks and single decodes, flat.
//
// Flat arrays, rebuilt every step in memory that grows to its high-water mark and stays.
// Thread rules: one thread builds it, ops read it.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

#include "kernels/base/status.h"

namespace catena {

inline constexpr int kPagePositions = 64;  // positions of a KV page: a constant of the format

// A run of consecutive positions of one sequence, in consecutive rows.
struct BatchSpan {
  int32_t first_row;
  int32_t rows;
  int32_t first_position;
  int32_t table_offset;  // page of position p: page_tables()[table_offset + p / kPagePositions]
  int32_t rotary;        // which rotary table the sequence uses (longrope: 0 short, 1 long)
};

class RaggedBatch {
 public:
  void Clear() {
    spans_.clear();
    tables_.clear();
    row_position_.clear();
    row_span_.clear();
  }

  // Appends rows [first_position, first_position + rows) of a sequence whose page table is `pages`.
  // Pages wholly before a sliding window may be -1: they are not read.
  void Add(int rows, int first_position, absl::Span<const int32_t> pages, int rotary) {
    CATENA_CHECK(rows > 0 && first_position >= 0);
    CATENA_CHECK((first_position + rows - 1) / kPagePositions < static_cast<int>(pages.size()));
    spans_.push_back(
        {this->rows(), rows, first_position, static_cast<int32_t>(tables_.size()), rotary});
    tables_.insert(tables_.end(), pages.begin(), pages.end());
    for (int i = 0; i < rows; ++i) {
      row_position_.push_back(first_position + i);
      row_span_.push_back(static_cast<int32_t>(spans_.size()) - 1);
    }
  }

  int rows() const { return static_cast<int>(row_position_.size()); }
  absl::Span<const BatchSpan> spans() const { return spans_; }
  absl::Span<const int32_t> row_position() const { return row_position_; }
  const BatchSpan& span_of(int row) const { return spans_[row_span_[row]]; }
  int32_t page(const BatchSpan& span, int position) const {
    return tables_[span.table_offset + position / kPagePositions];
  }

 private:
  std::vector<BatchSpan> spans_;
  std::vector<int32_t> tables_;
  std::vector<int32_t> row_position_;
  std::vector<int32_t> row_span_;
};

}  // namespace catena
