// The backend's memory: of the device, of the host where the device copies without staging, and the
// way of weights from files to the device.
//
// Thread rules: one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>

#include <cuda_runtime.h>

#include "kernels/base/memory.h"
#include "kernels/base/status.h"

namespace catena::cuda {

// RESOURCE_EXHAUSTED, with what is needed and what is free.
absl::StatusOr<DeviceBuffer> AllocateDevice(size_t bytes);
absl::StatusOr<HostBuffer> AllocatePinned(size_t bytes);

// Writes to the device's memory piece by piece, through two pinned buffers that take turns: one is
// filled while the other is copied.
class Uploader {
 public:
  static absl::StatusOr<Uploader> New();
  Uploader(Uploader&& other) noexcept;
  Uploader& operator=(Uploader&&) = delete;
  ~Uploader();

  // What follows goes to `to`, in one piece.
  void Begin(DeviceAddress to);
  void Append(const void* data, size_t bytes);
  void AppendZeros(size_t bytes);
  // Until all is there.
  void Finish();

 private:
  struct Half {
    HostBuffer buffer;
    cudaEvent_t copied = nullptr;
  };
  Uploader() = default;
  // Room for some of `bytes`, and how many.
  char* Room(size_t bytes, size_t* n);
  void Flush();

  Half halves_[2];
  cudaStream_t stream_ = nullptr;
  int half_ = 0;
  size_t filled_ = 0;  // of the half
  char* to_ = nullptr;
};

}  // namespace catena::cuda
