// The arrays of a batch (batch.h), in host memory or as ops find them on the device: for host and
// device code.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace catena {

inline constexpr int kPagePositions = 64;  // positions of a KV page: a constant of the format

// A run of consecutive positions of one sequence, in consecutive rows.
struct BatchSpan {
  int32_t first_row;
  int32_t rows;
  int32_t first_position;
  int32_t table_offset;  // page of position p: pages[table_offset + p / kPagePositions]
  int32_t rotary;        // which rotary table the sequence uses (longrope: 0 short, 1 long)
};

// How much there is, padding not counted.
struct BatchCounts {
  int32_t rows, spans, wanted;
};

// The arrays of a batch, in host memory or as ops find them on the device.
struct BatchView {
  const BatchCounts* counts = nullptr;
  const int32_t* wanted = nullptr;     // (wanted): rows, ascending or not
  const int32_t* ids = nullptr;        // (rows)
  const int32_t* positions = nullptr;  // (rows)
  const int32_t* row_span = nullptr;   // (rows): index of the row's span
  const BatchSpan* spans = nullptr;    // (spans)
  const int32_t* pages = nullptr;      // page tables, one span's after the other

  // For who can read them.
  constexpr int rows() const { return counts->rows; }
  std::span<const BatchSpan> all_spans() const {
    return {spans, static_cast<size_t>(counts->spans)};
  }
  constexpr const BatchSpan& span_of(int row) const { return spans[row_span[row]]; }
  constexpr int32_t page(const BatchSpan& span, int position) const {
    return pages[span.table_offset + position / kPagePositions];
  }
};

}  // namespace catena
