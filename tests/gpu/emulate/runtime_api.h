// CUDA's runtime API, as far as kernels/cuda/ uses it, on machine.h: names and meanings are those
// of its reference. A stream's work is done when somebody waits for it, or piece by piece when
// somebody asks, so that who does not wait has what was there before: NaN where nothing was.
//
// A kernel's fault is printed, and then every call gives cudaErrorLaunchFailure, as on a GPU.
//
// Thread rules: any thread; calls take turns.
#pragma once

#include <cstddef>
#include <functional>
#include <tuple>
#include <type_traits>

#include "tests/gpu/emulate/machine.h"

struct dim3 {
  dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
  unsigned x, y, z;
};

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInsufficientDriver = 35,
  cudaErrorNoDevice = 100,
  cudaErrorInvalidDevice = 101,
  cudaErrorInvalidResourceHandle = 400,
  cudaErrorNotReady = 600,
  cudaErrorLaunchFailure = 719,
  cudaErrorStreamCaptureUnsupported = 900,
};
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice };
enum cudaDeviceAttr {
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrComputeCapabilityMinor = 76,
  cudaDevAttrMaxSharedMemoryPerBlockOptin = 97,
};
enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal = 1 };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
inline constexpr unsigned cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2;
inline constexpr unsigned cudaHostAllocDefault = 0;

namespace catena::emulate {
struct Stream;
struct Event;
struct Graph;
void Enqueue(Stream* stream, const LaunchShape& shape, std::function<void()> thread);
cudaError_t State();
bool IsOfCurrentDevice(const Stream* stream);
void LimitShared(const void* kernel, size_t bytes);
size_t SharedLimitOf(const void* kernel);
}  // namespace catena::emulate

using cudaStream_t = catena::emulate::Stream*;
using cudaEvent_t = catena::emulate::Event*;
using cudaGraph_t = catena::emulate::Graph*;
using cudaGraphExec_t = catena::emulate::Graph*;

const char* cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
cudaError_t cudaMemGetInfo(size_t* free, size_t* total);
cudaError_t cudaMalloc(void** p, size_t bytes);
cudaError_t cudaFree(void* p);
cudaError_t cudaHostAlloc(void** p, size_t bytes, unsigned flags);
cudaError_t cudaFreeHost(void* p);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventQuery(cudaEvent_t event);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream);
cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch,
                              size_t width, size_t height, cudaMemcpyKind kind,
                              cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* p, int value, size_t bytes, cudaStream_t stream);

// Between the two, launches go to a graph and not to the device; to wait is an error.
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph,
                                 unsigned long long flags);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable);
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream);

template <class... P>
cudaError_t cudaFuncSetAttribute(void (*kernel)(P...), cudaFuncAttribute, int bytes) {
  catena::emulate::LimitShared(reinterpret_cast<const void*>(kernel), static_cast<size_t>(bytes));
  return catena::emulate::State();
}

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
};

// Arguments are converted to the parameters' types and copied.
template <class... P, class... A>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(P...), A&&... a) {
  namespace emulate = catena::emulate;
  const auto index = [](const dim3& d) { return emulate::Index3{d.x, d.y, d.z}; };
  const size_t limit = emulate::SharedLimitOf(reinterpret_cast<const void*>(kernel));
  if (!emulate::IsOfCurrentDevice(config->stream)) return cudaErrorInvalidResourceHandle;
  // The default limit is a kernel's until it is raised.
  if (config->dynamicSmemBytes > limit) return cudaErrorLaunchFailure;
  std::tuple<std::remove_cv_t<P>...> arguments(std::forward<A>(a)...);
  emulate::Enqueue(config->stream,
                   {index(config->gridDim), index(config->blockDim), config->dynamicSmemBytes},
                   [kernel, arguments] { std::apply(kernel, arguments); });
  return emulate::State();
}
