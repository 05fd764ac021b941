// Memory from the system, zeroed, aligned to 2 MiB where it is large, with transparent huge pages
// asked for: streaming weights through 4 KiB pages costs a tenth of the bandwidth.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "kernels/base/status.h"

namespace catena {

class HugeBuffer {
 public:
  HugeBuffer() = default;
  // RESOURCE_EXHAUSTED where the system has no such address range; memory itself is taken when it
  // is touched.
  static absl::StatusOr<HugeBuffer> Allocate(size_t bytes) { return Allocate(bytes, 1); }
  static absl::StatusOr<HugeBuffer> Allocate(size_t bytes, size_t count);  // bytes * count
  HugeBuffer(HugeBuffer&& other) noexcept { *this = std::move(other); }
  HugeBuffer& operator=(HugeBuffer&& other) noexcept;

  uint8_t* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  friend class HugeArena;
  uint8_t* data_ = nullptr;
  size_t bytes_ = 0;               // as asked for
  std::shared_ptr<void> mapping_;  // returned to the system with the last buffer in it
};

// Many small buffers side by side in large ones: a model whose tensors are smaller than a huge page
// is read through huge pages all the same.
//
// Thread rules: one thread at a time; the buffers may outlive it.
class HugeArena {
 public:
  // As HugeBuffer::Allocate.
  absl::StatusOr<HugeBuffer> Allocate(size_t bytes);

 private:
  HugeBuffer chunk_;  // the one being filled
  size_t used_ = 0;   // of it
};

}  // namespace catena
