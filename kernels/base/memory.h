// Memory of a device and of the host, told apart by type: what lies on a device is only named by
// the host, and comes and goes by Upload and Download of kernels.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "kernels/base/dtype.h"

namespace catena {

// An address in the device's memory. Ops and copies follow it; to the host it is a number.
class DeviceAddress {
 public:
  DeviceAddress() = default;
  explicit DeviceAddress(void* p) : p_(p) {}

  // For the backend whose memory it is.
  template <class T>
  T* As() const {
    return static_cast<T*>(p_);
  }
  DeviceAddress operator+(int64_t bytes) const {
    return DeviceAddress(static_cast<char*>(p_) + bytes);
  }

 private:
  void* p_ = nullptr;
};

// Rows in the device's memory: (rows, cols), row r at element r * stride. Between ops, and across
// hops, they have the backend's residual_dtype.
struct Rows {
  DeviceAddress data;
  int rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;  // elements
  DType dtype = DType::kF32;

  int64_t bytes() const { return rows * RowBytes(dtype, stride); }
  Rows Slice(int first, int n) const {
    return {data + first * RowBytes(dtype, stride), n, cols, stride, dtype};
  }
};

// Rows in host memory, to be read: what comes from a peer or goes to one, and logits.
struct HostRows {
  const void* data = nullptr;
  int rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;  // elements
  DType dtype = DType::kF32;

  // REQUIRES: dtype is kF32.
  const float* row(int64_t r) const { return static_cast<const float*>(data) + r * stride; }
};

// Memory of the device.
struct DeviceBuffer {
  DeviceAddress address;
  size_t bytes = 0;
  std::shared_ptr<void> owner;  // frees it

  // Dense rows from its beginning on.
  Rows As(int rows, int64_t cols, DType dtype) const { return {address, rows, cols, cols, dtype}; }
};
// Memory of the host that the device copies from and to without staging.
struct HostBuffer {
  void* data = nullptr;
  size_t bytes = 0;
  std::shared_ptr<void> owner;  // frees it
};

}  // namespace catena
