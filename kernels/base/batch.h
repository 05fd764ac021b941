// A ragged batch: rows of many sequences, any mix of prefill chunks and single decodes, flat.
//
// All that a step needs to know of its rows lies in one block of memory, at offsets that depend on
// the limits alone: written in host memory once a step, uploaded in one copy (Backend::Upload), and
// read by the ops at device addresses that never change, so that what a device has recorded can run
// again.
//
// Thread rules: one thread fills it; what an Upload reads stays as it is until the copy is done.
#pragma once

#include <cstdint>

#include "absl/types/span.h"

#include "kernels/base/batch_view.h"
#include "kernels/base/memory.h"

namespace catena {

// What a batch has room for.
struct BatchLimits {
  int rows = 0;       // and spans; with the padding
  int64_t pages = 0;  // in the tables of all spans together, leading -1 not counted
  int wanted = 0;     // with the padding
};

class Batch {
 public:
  // Of either buffer.
  static size_t Bytes(const BatchLimits& limits);
  // REQUIRES: buffers of Bytes(limits).
  Batch(const BatchLimits& limits, HostBuffer host, DeviceBuffer device);

  void Clear();
  // Appends rows of a sequence from `first_position` on, one an id, whose page table is `pages`.
  // Pages wholly before a sliding window may be -1: they are not read.
  // REQUIRES: within the limits; the pages of all its positions are there.
  void Add(absl::Span<const int32_t> ids, int first_position, absl::Span<const int32_t> pages,
           int rotary);
  // These rows want logits. REQUIRES: within the limits.
  void Want(absl::Span<const int32_t> rows);
  // At least so many rows, and rows that want logits, are computed. Those past what was added are
  // padding: see kernels.h. REQUIRES: within the limits; all were added.
  void Pad(int rows, int wanted);

  const BatchLimits& limits() const { return limits_; }
  int rows() const { return counts_->rows; }
  int wanted() const { return counts_->wanted; }
  int padded_rows() const { return padded_rows_; }
  int padded_wanted() const { return padded_wanted_; }

  // For the backend's ops.
  const BatchView& device() const { return device_; }
  // Where ops read the ids of the rows. A device may put ids there itself after an Upload.
  DeviceAddress ids() const { return device_buffer_.address + offsets_.ids; }

  // What is to be copied, from the beginning of one buffer to that of the other.
  size_t used_bytes() const { return offsets_.pages + n_pages_ * sizeof(int32_t); }
  const void* host_data() const { return host_buffer_.data; }
  DeviceAddress device_address() const { return device_buffer_.address; }

 private:
  // Bytes from the beginning. The page tables come last, so that what is used is a prefix.
  struct Offsets {
    explicit Offsets(const BatchLimits& limits);
    size_t wanted, ids, positions, row_span, spans, pages, end;
  };
  BatchView ViewOf(char* block) const;

  const BatchLimits limits_;
  const Offsets offsets_;
  HostBuffer host_buffer_;
  DeviceBuffer device_buffer_;
  BatchView host_, device_;
  // The arrays of the host.
  BatchCounts* counts_;
  int32_t *wanted_, *ids_, *positions_, *row_span_, *pages_;
  BatchSpan* spans_;
  size_t n_pages_ = 0;
  int padded_rows_ = 0, padded_wanted_ = 0;
};

}  // namespace catena
