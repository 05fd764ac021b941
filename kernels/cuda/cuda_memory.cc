#include "kernels/cuda/cuda_memory.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/cuda/check.h"

namespace catena::cuda {
namespace {

constexpr size_t kHalfBytes = size_t{4} << 20;

}  // namespace

absl::StatusOr<DeviceBuffer> AllocateDevice(size_t bytes) {
  void* p = nullptr;
  const cudaError_t error = cudaMalloc(&p, std::max<size_t>(bytes, 1));
  if (error == cudaErrorMemoryAllocation) {
    size_t free = 0, total = 0;
    Check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
    return absl::ResourceExhaustedError(
        fmt::format("the GPU lacks memory: {} MiB are needed, {} of its {} MiB are free; give it "
                    "fewer blocks (--layers) or a smaller cache",
                    (bytes >> 20) + 1, free >> 20, total >> 20));
  }
  Check(error, "cudaMalloc");
  return DeviceBuffer{
      .address = DeviceAddress(p), .bytes = bytes, .owner = {p, [](void* q) { cudaFree(q); }}};
}

absl::StatusOr<HostBuffer> AllocatePinned(size_t bytes) {
  void* p = nullptr;
  const cudaError_t error = cudaHostAlloc(&p, std::max<size_t>(bytes, 1), cudaHostAllocDefault);
  if (error != cudaSuccess) {
    return absl::ResourceExhaustedError(fmt::format("{} MiB of pinned host memory: {}",
                                                    (bytes >> 20) + 1, cudaGetErrorString(error)));
  }
  return HostBuffer{.data = p, .bytes = bytes, .owner = {p, [](void* q) { cudaFreeHost(q); }}};
}

absl::StatusOr<Uploader> Uploader::New() {
  Uploader uploader;
  for (Half& half : uploader.halves_) {
    CATENA_ASSIGN_OR_RETURN(half.buffer, AllocatePinned(kHalfBytes));
    Check(cudaEventCreateWithFlags(&half.copied, cudaEventDisableTiming), "cudaEventCreate");
  }
  Check(cudaStreamCreateWithFlags(&uploader.stream_, cudaStreamNonBlocking), "cudaStreamCreate");
  return uploader;
}

Uploader::Uploader(Uploader&& other) noexcept
    : halves_{std::exchange(other.halves_[0], {}), std::exchange(other.halves_[1], {})},
      stream_(std::exchange(other.stream_, nullptr)),
      half_(other.half_),
      filled_(other.filled_),
      to_(other.to_) {}

Uploader::~Uploader() {
  if (stream_ != nullptr) cudaStreamDestroy(stream_);
  for (const Half& half : halves_) {
    if (half.copied != nullptr) cudaEventDestroy(half.copied);
  }
}

void Uploader::Begin(DeviceAddress to) {
  Flush();
  to_ = to.As<char>();
}

char* Uploader::Room(size_t bytes, size_t* n) {
  if (filled_ == kHalfBytes) Flush();
  *n = std::min(bytes, kHalfBytes - filled_);
  return static_cast<char*>(halves_[half_].buffer.data) + std::exchange(filled_, filled_ + *n);
}

void Uploader::Append(const void* data, size_t bytes) {
  const auto* from = static_cast<const char*>(data);
  for (size_t n = 0; bytes > 0; from += n, bytes -= n) {
    char* room = Room(bytes, &n);
    std::memcpy(room, from, n);
  }
}

void Uploader::AppendZeros(size_t bytes) {
  for (size_t n = 0; bytes > 0; bytes -= n) {
    char* room = Room(bytes, &n);
    std::memset(room, 0, n);
  }
}

void Uploader::Flush() {
  if (filled_ == 0) return;
  Half& half = halves_[half_];
  Check(cudaMemcpyAsync(to_, half.buffer.data, filled_, cudaMemcpyHostToDevice, stream_),
        "cudaMemcpyAsync");
  Check(cudaEventRecord(half.copied, stream_), "cudaEventRecord");
  to_ += std::exchange(filled_, 0);
  half_ = 1 - half_;
  Check(cudaEventSynchronize(halves_[half_].copied), "cudaEventSynchronize");
}

void Uploader::Finish() {
  Flush();
  Check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
}

}  // namespace catena::cuda
