#include "tests/gpu/emulate/runtime_api.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "tests/gpu/emulate/sanitizers.h"

namespace catena::emulate {

struct Graph {
  std::vector<std::function<void()>> work;
};

struct Stream {
  int device = 0;
  std::deque<std::function<void()>> work;
  int64_t issued = 0, done = 0;      // pieces
  std::unique_ptr<Graph> recording;  // while it is captured
};

// A place in a stream's work; one that was never recorded is done.
struct Event {
  Stream* stream = nullptr;
  int64_t pieces = 0;
  bool Reached() const { return stream == nullptr || stream->done >= pieces; }
};

namespace {

thread_local int current_device = 0;

constexpr size_t kDefaultShared = 48 << 10, kAlignment = 256;
constexpr size_t kFilledBytes = 1 << 20;  // of new memory, with NaN

// Behind every call.
struct Device {
  std::recursive_mutex mutex;
  cudaError_t state = cudaSuccess;
  size_t used = 0;
  std::map<const void*, size_t> memory, pinned;  // allocations
  std::map<const void*, size_t> shared_limits;
};

Device& TheDevice() {
  static auto* device = new Device;
  return *device;
}
std::lock_guard<std::recursive_mutex> Turn() {
  return std::lock_guard<std::recursive_mutex>(TheDevice().mutex);
}

void Issue(Stream* stream, std::function<void()> work) {
  if (stream->recording != nullptr) {
    stream->recording->work.push_back(std::move(work));
    return;
  }
  stream->work.push_back(std::move(work));
  ++stream->issued;
}

void Advance(Stream* stream) {
  const std::function<void()> work = std::move(stream->work.front());
  stream->work.pop_front();
  try {
    if (TheDevice().state == cudaSuccess) work();
  } catch (const Fault& fault) {
    std::fprintf(stderr, "emulated GPU: %s\n", fault.what());
    TheDevice().state = cudaErrorLaunchFailure;
  }
  ++stream->done;
}

void Finish(const Event& event) {
  while (!event.Reached()) Advance(event.stream);
}

bool IsPinned(const void* p) {
  const auto& pinned = TheDevice().pinned;
  const auto after = pinned.upper_bound(p);
  if (after == pinned.begin()) return false;
  const auto& [begin, bytes] = *std::prev(after);
  return static_cast<const char*>(p) < static_cast<const char*>(begin) + bytes;
}

cudaError_t Allocate(void** p, size_t bytes, std::map<const void*, size_t>* where) {
  if (posix_memalign(p, kAlignment, bytes) != 0) return cudaErrorMemoryAllocation;
  std::memset(*p, 0xff, std::min(bytes, kFilledBytes));
  (*where)[*p] = bytes;
  return TheDevice().state;
}

void CopyRows(char* to, size_t to_pitch, const char* from, size_t from_pitch, size_t width,
              size_t height) {
  for (size_t row = 0; row < height; ++row) {
    std::memcpy(to + row * to_pitch, from + row * from_pitch, width);
  }
}

}  // namespace

void Enqueue(Stream* stream, const LaunchShape& shape, std::function<void()> thread) {
  const auto turn = Turn();
  Issue(stream, [shape, thread = std::move(thread)] { RunKernel(shape, thread); });
}
cudaError_t State() { return TheDevice().state; }
bool IsOfCurrentDevice(const Stream* stream) { return stream->device == current_device; }
void LimitShared(const void* kernel, size_t bytes) {
  const auto turn = Turn();
  TheDevice().shared_limits[kernel] = bytes;
}
size_t SharedLimitOf(const void* kernel) {
  const auto turn = Turn();
  const auto found = TheDevice().shared_limits.find(kernel);
  return found == TheDevice().shared_limits.end() ? kDefaultShared : found->second;
}

}  // namespace catena::emulate

using namespace catena::emulate;

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    case cudaErrorInvalidResourceHandle:
      return "invalid resource handle";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    case cudaErrorLaunchFailure:
      return "unspecified launch failure";
    default:
      return "an error of the emulation";
  }
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = GlobalOptions().devices;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= GlobalOptions().devices) return cudaErrorInvalidDevice;
  current_device = device;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  const Options& options = GlobalOptions();
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = options.multiprocessors;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = options.capability / 10;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = options.capability % 10;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(options.shared_limit);
      break;
  }
  return State();
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  const auto turn = Turn();
  *total = GlobalOptions().memory;
  *free = *total - TheDevice().used;
  return State();
}

cudaError_t cudaMalloc(void** p, size_t bytes) {
  const auto turn = Turn();
  if (TheDevice().used + bytes > GlobalOptions().memory) return cudaErrorMemoryAllocation;
  TheDevice().used += bytes;
  return Allocate(p, bytes, &TheDevice().memory);
}
cudaError_t cudaFree(void* p) {
  const auto turn = Turn();
  TheDevice().used -= TheDevice().memory.at(p);
  TheDevice().memory.erase(p);
  std::free(p);
  return State();
}
cudaError_t cudaHostAlloc(void** p, size_t bytes, unsigned) {
  const auto turn = Turn();
  return Allocate(p, bytes, &TheDevice().pinned);
}
cudaError_t cudaFreeHost(void* p) {
  const auto turn = Turn();
  TheDevice().pinned.erase(p);
  std::free(p);
  return State();
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new Stream;
  (*stream)->device = current_device;
  return State();
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const cudaError_t state = cudaStreamSynchronize(stream);
  delete stream;
  return state;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const auto turn = Turn();
  if (stream->recording != nullptr) return cudaErrorStreamCaptureUnsupported;
  while (!stream->work.empty()) Advance(stream);
  return State();
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const auto turn = Turn();
  Issue(stream, [recorded = *event] { Finish(recorded); });
  return State();
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new Event;
  return State();
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return State();
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const auto turn = Turn();
  if (stream->recording != nullptr) return cudaErrorStreamCaptureUnsupported;
  *event = {stream, stream->issued};
  return State();
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  const auto turn = Turn();
  if (!event->Reached()) Advance(event->stream);  // each look lets the device do a piece of work
  return State() != cudaSuccess ? State() : event->Reached() ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const auto turn = Turn();
  Finish(*event);
  return State();
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  return cudaMemcpy2DAsync(to, bytes, from, bytes, bytes, 1, kind, stream);
}
// Memory of the host that is not pinned is copied before the call returns.
cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch,
                              size_t width, size_t height, cudaMemcpyKind kind,
                              cudaStream_t stream) {
  const auto turn = Turn();
  Issue(stream, [=] {
    CopyRows(static_cast<char*>(to), to_pitch, static_cast<const char*>(from), from_pitch, width,
             height);
  });
  const bool pageable = (kind == cudaMemcpyHostToDevice && !IsPinned(from)) ||
                        (kind == cudaMemcpyDeviceToHost && !IsPinned(to));
  return pageable ? cudaStreamSynchronize(stream) : State();
}
cudaError_t cudaMemsetAsync(void* p, int value, size_t bytes, cudaStream_t stream) {
  const auto turn = Turn();
  Issue(stream, [=] { std::memset(p, value, bytes); });
  return State();
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  const auto turn = Turn();
  if (stream->recording != nullptr) return cudaErrorStreamCaptureUnsupported;
  stream->recording = std::make_unique<Graph>();
  return State();
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const auto turn = Turn();
  if (stream->recording == nullptr) return cudaErrorStreamCaptureUnsupported;
  *graph = stream->recording.release();
  return State();
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph,
                                 unsigned long long) {
  *executable = new Graph(*graph);
  return State();
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return State();
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return State();
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  const auto turn = Turn();
  for (const auto& work : executable->work) Issue(stream, work);
  return State();
}
