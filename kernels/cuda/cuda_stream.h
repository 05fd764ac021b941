// Streams and events of CUDA, and the memory that the ops of a stream work in.
//
// Thread rules: those of kernels.h.
#pragma once

#include <map>
#include <memory>
#include <tuple>

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

// Steps of so many rows at most are recorded; the numbers of rows that they are padded to.
inline constexpr int kGraphRows = 64;
inline constexpr int kRowBuckets[] = {0, 1, 2, 4, 8, 12, 16, 24, 32, 48, kGraphRows};

class CudaStream : public Stream {
 public:
  static absl::StatusOr<std::unique_ptr<CudaStream>> New(const StepLimits& limits, int device,
                                                         int multiprocessors);
  ~CudaStream() override;

  void Record(Event* event) override;
  void Wait(const Event& event) override;

  // The ops of a step come between. The first time that a batch comes with so many rows they are
  // issued, which also loads their kernels; the second time recorded as a graph; from then on not
  // called but replayed (`replays`). Steps of more than kGraphRows rows are issued each time.
  void BeginStep(const Batch& batch);
  void EndStep();
  bool replays() const { return step_ == Step::kReplayed; }

  // To issue to, from this thread.
  cudaStream_t get() const {
    UseDevice(device_);
    return stream_;
  }
  // Room for the inputs of a linear layer. REQUIRES: within the limits.
  Inputs InputsFor(InputFormat format, int rows, int64_t cols) const;
  // Room for the outputs of attention.
  DeviceFloats AttentionRows(int rows, int64_t cols) const;
  AttentionScratch attention_scratch() const;
  LinearScratch linear_scratch() const;

 private:
  enum class Step { kNone, kIssued, kRecorded, kReplayed };
  // The batch object, its memory and what it has room for, and the padded numbers.
  using Shape = std::tuple<const Batch*, const void*, int, int64_t, int, int, int>;

  CudaStream() = default;

  cudaStream_t stream_ = nullptr;
  StepLimits limits_;
  int device_ = 0, multiprocessors_ = 0;
  DeviceBuffer values_, scales_, attention_, runs_, slabs_;
  Step step_ = Step::kNone;
  Shape shape_;
  std::map<Shape, cudaGraphExec_t> graphs_;  // null: came once
};

}  // namespace catena::cuda
