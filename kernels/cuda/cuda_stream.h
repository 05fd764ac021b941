// Streams and events of CUDA, and the memory that the ops of a stream work in.
//
// Thread rules: those of kernels.h.
#pragma once

#include <memory>

#include "kernels/cuda/check.h"
#include "kernels/cuda/cuda_memory.h"
#include "kernels/cuda/ops.h"
#include "kernels/kernels.h"

namespace catena::cuda {

class CudaEvent : public Event {
 public:
  CudaEvent() {
    Check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "cudaEventCreate");
  }
  ~CudaEvent() override { cudaEventDestroy(event_); }
  bool Ready() override;
  void Wait() override { Check(cudaEventSynchronize(event_), "cudaEventSynchronize"); }
  cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

class CudaStream : public Stream {
 public:
  static absl::StatusOr<std::unique_ptr<CudaStream>> New(const StepLimits& limits,
                                                         int multiprocessors);
  ~CudaStream() override { cudaStreamDestroy(stream_); }

  void Record(Event* event) override;
  void Wait(const Event& event) override;

  cudaStream_t get() const { return stream_; }
  // Room for the inputs of a linear layer. REQUIRES: within the limits.
  Inputs InputsFor(InputFormat format, int rows, int64_t cols) const;
  // Room for the outputs of attention.
  DeviceFloats AttentionRows(int rows, int64_t cols) const;
  AttentionScratch attention_scratch() const;
  LinearScratch linear_scratch() const;

 private:
  CudaStream() = default;

  cudaStream_t stream_ = nullptr;
  StepLimits limits_;
  int multiprocessors_ = 0;
  DeviceBuffer values_, scales_, attention_, runs_, slabs_;
};

}  // namespace catena::cuda
