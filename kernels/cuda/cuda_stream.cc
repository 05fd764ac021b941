#include "kernels/cuda/cuda_stream.h"

#include <algorithm>

namespace catena::cuda {
namespace {

// Softmax runs that a batch of few rows has room for, each row; one of fewer has room for more.
constexpr int64_t kRunsOfFewRows = 16;

int64_t Stride(int64_t cols) { return (cols + kInputBlock - 1) / kInputBlock * kInputBlock; }

}  // namespace

bool CudaEvent::Ready() {
  const cudaError_t error = cudaEventQuery(event_);
  if (error == cudaErrorNotReady) return false;
  Check(error, "cudaEventQuery");
  return true;
}

absl::StatusOr<std::unique_ptr<CudaStream>> CudaStream::New(const StepLimits& limits, int device,
                                                            int multiprocessors) {
  constexpr int kMostRows = 65535;  // of a grid
  if (limits.rows > kMostRows) {
    return absl::InvalidArgumentError(fmt::format(
        "the backend cuda takes batches of {} rows at most, not of {}", kMostRows, limits.rows));
  }
  std::unique_ptr<CudaStream> stream(new CudaStream);
  UseDevice(device);
  stream->limits_ = limits;
  stream->device_ = device;
  stream->multiprocessors_ = multiprocessors;
  const AttentionShape& a = limits.attention;
  const auto floats = [](int64_t n) {
    return AllocateDevice(static_cast<size_t>(n) * sizeof(float));
  };
  const int64_t inputs = limits.rows * Stride(limits.inputs);
  CATENA_ASSIGN_OR_RETURN(stream->values_, floats(inputs));
  CATENA_ASSIGN_OR_RETURN(stream->scales_, floats(inputs / kInputBlock));
  CATENA_ASSIGN_OR_RETURN(stream->attention_,
                          floats(limits.rows * Stride(int64_t{a.heads} * a.head_dim)));
  CATENA_ASSIGN_OR_RETURN(stream->runs_, floats(std::min<int64_t>(limits.rows, kFewRows) * a.heads *
                                                kRunsOfFewRows * (a.head_dim + 2)));
  CATENA_ASSIGN_OR_RETURN(stream->slabs_,
                          floats(int64_t{kSlabs} * kSplitRows * kTileOutputs * multiprocessors));
  Check(cudaStreamCreateWithFlags(&stream->stream_, cudaStreamNonBlocking), "cudaStreamCreate");
  return stream;
}

CudaStream::~CudaStream() {
  for (const auto& [shape, graph] : graphs_) {
    if (graph != nullptr) cudaGraphExecDestroy(graph);
  }
  if (stream_ != nullptr) cudaStreamDestroy(stream_);  // none where memory lacked
}

void CudaStream::BeginStep(const Batch& batch) {
  CATENA_CHECK(step_ == Step::kNone);
  const BatchLimits& l = batch.limits();
  shape_ = {&batch,
            batch.device_address().As<void>(),
            l.rows,
            l.pages,
            l.wanted,
            batch.padded_rows(),
            batch.padded_wanted()};
  const bool few = std::max(batch.padded_rows(), batch.padded_wanted()) <= kGraphRows;
  if (!few || graphs_.emplace(shape_, nullptr).second) {
    step_ = Step::kIssued;
  } else if (graphs_.at(shape_) != nullptr) {
    step_ = Step::kReplayed;
  } else {
    step_ = Step::kRecorded;
    Check(cudaStreamBeginCapture(get(), cudaStreamCaptureModeThreadLocal),
          "cudaStreamBeginCapture");
  }
}

void CudaStream::EndStep() {
  CATENA_CHECK(step_ != Step::kNone);
  if (step_ == Step::kRecorded) {
    cudaGraph_t graph = nullptr;
    Check(cudaStreamEndCapture(get(), &graph), "cudaStreamEndCapture");
    Check(cudaGraphInstantiate(&graphs_[shape_], graph, 0), "cudaGraphInstantiate");
    Check(cudaGraphDestroy(graph), "cudaGraphDestroy");
  }
  if (step_ != Step::kIssued) {
    Check(cudaGraphLaunch(graphs_.at(shape_), get()), "cudaGraphLaunch");
  }
  step_ = Step::kNone;
}

void CudaStream::Record(Event* event) {
  Check(cudaEventRecord(static_cast<CudaEvent*>(event)->get(), get()), "cudaEventRecord");
}

void CudaStream::Wait(const Event& event) {
  Check(cudaStreamWaitEvent(get(), static_cast<const CudaEvent&>(event).get(), 0),
        "cudaStreamWaitEvent");
}

Inputs CudaStream::InputsFor(InputFormat format, int rows, int64_t cols) const {
  CATENA_CHECK(rows <= limits_.rows && cols <= limits_.inputs);
  return {.values = values_.address.As<void>(),
          .scales = scales_.address.As<float>(),
          .stride = Stride(cols),
          .format = format};
}

DeviceFloats CudaStream::AttentionRows(int rows, int64_t cols) const {
  const AttentionShape& a = limits_.attention;
  CATENA_CHECK(rows <= limits_.rows && cols <= int64_t{a.heads} * a.head_dim);
  return {
      .data = attention_.address.As<float>(), .rows = rows, .cols = cols, .stride = Stride(cols)};
}

AttentionScratch CudaStream::attention_scratch() const {
  return {.data = runs_.address.As<float>(),
          .floats = static_cast<int64_t>(runs_.bytes / sizeof(float))};
}

LinearScratch CudaStream::linear_scratch() const {
  return {.data = slabs_.address.As<float>(), .multiprocessors = multiprocessors_};
}

}  // namespace catena::cuda
