// Memory from the system, zeroed, aligned to 2 MiB where it is large, with transparent huge pages
// asked for: streaming weights through 4 KiB pages costs a tenth of the bandwidth.
#pragma once

#include <cstddef>
#include <cstdint>
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
  ~HugeBuffer();
  HugeBuffer(HugeBuffer&& other) noexcept { *this = std::move(other); }
  HugeBuffer& operator=(HugeBuffer&& other) noexcept;

  uint8_t* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  uint8_t* data_ = nullptr;
  size_t bytes_ = 0;  // as asked for
  void* mapping_ = nullptr;
  size_t mapping_bytes_ = 0;
};

}  // namespace catena
