#include "kernels/cuda/cuda_backend.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "kernels/cuda/check.h"
#include "kernels/cuda/cuda_stream.h"
#include "kernels/cuda/cuda_weight.h"
#include "kernels/cuda/ops.h"
#include "kernels/host_backend.h"

namespace catena {
namespace {

using cuda::Check;
using cuda::CudaEvent;
using cuda::CudaStream;
using cuda::CudaWeight;
using cuda::DeviceFloats;
using cuda::Inputs;

struct Device {
  int number = 0;
  int multiprocessors = 0;
  int capability = 0;  // 10 * major + minor
  size_t shared_bytes = 0;
  bool multiplies_bf16() const { return capability >= 80; }
};

int Attribute(cudaDeviceAttr attribute, int device) {
  int value = 0;
  Check(cudaDeviceGetAttribute(&value, attribute, device), "cudaDeviceGetAttribute");
  return value;
}

CudaStream& Of(Stream& stream) { return static_cast<CudaStream&>(stream); }
const CudaWeight& Of(const Weight& weight) { return static_cast<const CudaWeight&>(weight); }

DeviceFloats Floats(const Rows& rows) {
  CATENA_CHECK(rows.dtype == DType::kF32);
  return {rows.data.As<float>(), rows.rows, rows.cols, rows.stride};
}

cuda::Heads HeadsOf(const AttentionShape& s) {
  return {s.heads, s.kv_heads, s.head_dim, s.rotary_dim, s.scale, s.window, s.softcap};
}

int64_t LayerBytes(const KvShape& s) {
  return int64_t{2} * s.kv_heads * kPagePositions * RowBytes(s.dtype, s.head_dim);
}

class CudaKvPool : public KvPool {
 public:
  CudaKvPool(const KvShape& shape, int pages, DeviceBuffer buffer)
      : shape_(shape), pages_(pages), buffer_(std::move(buffer)) {}
  int pages() const override { return pages_; }
  int64_t page_bytes() const override { return shape_.layers * LayerBytes(shape_); }
  void Zero(Stream& stream, absl::Span<const int32_t> ids) override {
    for (const int32_t id : ids) {
      const DeviceAddress page = buffer_.address + id * page_bytes();
      Check(
          cudaMemsetAsync(page.As<void>(), 0, static_cast<size_t>(page_bytes()), Of(stream).get()),
          "cudaMemsetAsync");
    }
  }
  cuda::DeviceCache cache() const {
    return {.data = buffer_.address.As<uint8_t>(),
            .dtype = shape_.dtype,
            .page_bytes = page_bytes(),
            .layer_bytes = LayerBytes(shape_)};
  }

 private:
  const KvShape shape_;
  const int pages_;
  const DeviceBuffer buffer_;
};

class CudaBackend : public Backend {
 public:
  CudaBackend(Activations activations, const Device& device, cuda::Uploader uploader)
      : activations_(activations), device_(device), uploader_(std::move(uploader)) {}

  Activations activations() const override { return activations_; }
  DType residual_dtype() const override { return DType::kF32; }
  // A tensor core's sums are those of its generation.
  std::string numerics_id() const override {
    if (activations_ == Activations::kF32) return "cuda-f32-v1";
    return fmt::format("cuda-sm{}-bf16-exact-v1", device_.capability);
  }

  int PaddedRows(int rows) const override {
    return rows > cuda::kGraphRows ? rows
                                   : *std::lower_bound(std::begin(cuda::kRowBuckets),
                                                       std::end(cuda::kRowBuckets), rows);
  }
  void BeginStep(Stream& stream, const Batch& batch) override { Of(stream).BeginStep(batch); }
  void EndStep(Stream& stream, bool) override { Of(stream).EndStep(); }

  absl::StatusOr<std::unique_ptr<Stream>> NewStream(const StepLimits& limits) override {
    return CudaStream::New(limits, device_.number, device_.multiprocessors);
  }
  std::unique_ptr<Event> NewEvent() override {
    cuda::UseDevice(device_.number);
    return std::make_unique<CudaEvent>();
  }
  absl::StatusOr<DeviceBuffer> AllocateDevice(size_t bytes) override {
    cuda::UseDevice(device_.number);
    return cuda::AllocateDevice(bytes);
  }
  absl::StatusOr<HostBuffer> AllocateHost(size_t bytes) override {
    cuda::UseDevice(device_.number);
    return cuda::AllocatePinned(bytes);
  }
  std::optional<int64_t> FreeBytes() const override {
    cuda::UseDevice(device_.number);
    size_t free = 0, total = 0;
    Check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
    return static_cast<int64_t>(free);
  }

  void Upload(Stream& stream, Batch* batch) override {
    batch->Pad(PaddedRows(batch->rows()), PaddedRows(batch->wanted()));
    Check(cudaMemcpyAsync(batch->device_address().As<void>(), batch->host_data(),
                          batch->used_bytes(), cudaMemcpyHostToDevice, Of(stream).get()),
          "cudaMemcpyAsync");
  }
  void Upload(Stream& stream, const HostRows& from, const Rows& to) override {
    CATENA_CHECK(from.rows == to.rows && from.cols == to.cols && from.dtype == to.dtype);
    CopyRows(stream, to, to.data.As<void>(), to.stride, from.data, from.stride,
             cudaMemcpyHostToDevice);
  }
  void Copy(Stream& stream, const Rows& from, const Rows& to) override {
    CATENA_CHECK(from.rows == to.rows && from.cols == to.cols && from.dtype == to.dtype);
    CopyRows(stream, to, to.data.As<void>(), to.stride, from.data.As<void>(), from.stride,
             cudaMemcpyDeviceToDevice);
  }
  HostRows Download(Stream& stream, const Rows& from, const HostBuffer& to) override {
    CATENA_CHECK(from.rows * RowBytes(from.dtype, from.cols) <= static_cast<int64_t>(to.bytes));
    CopyRows(stream, from, to.data, from.cols, from.data.As<void>(), from.stride,
             cudaMemcpyDeviceToHost);
    return {to.data, from.rows, from.cols, from.cols, from.dtype};
  }

  int64_t KvPageBytes(const KvShape& shape) const override {
    return shape.layers * LayerBytes(shape);
  }
  absl::StatusOr<std::unique_ptr<KvPool>> NewKvPool(const KvShape& shape, int pages) override;

  absl::StatusOr<std::unique_ptr<Weight>> Pack(absl::Span<const TensorView> tensors,
                                               WeightRole role) override {
    CATENA_RETURN_IF_ERROR(CheckPackable(tensors));
    cuda::UseDevice(device_.number);
    return CudaWeight::Make(tensors, role, FormatFor(tensors), &uploader_);
  }
  int64_t PackedBytes(absl::Span<const TensorView> tensors, WeightRole role) const override {
    return CudaWeight::Bytes(tensors, role);
  }

  void Embed(Stream& stream, const Weight& table, const Batch& batch, float scale,
             const Rows& out) override {
    if (Of(stream).replays()) return;
    cuda::Embed(Of(stream).get(), Of(table).table(), batch.device(), scale, Floats(out));
  }

  void RotaryFactors(Stream& stream, const Batch& batch, const Weight& frequencies, float scale,
                     const Rows& out) override {
    if (Of(stream).replays()) return;
    cuda::RotaryFactors(Of(stream).get(), batch.device(), Of(frequencies).values(),
                        static_cast<int>(frequencies.cols()), scale, Floats(out));
  }

  void NormLinear(Stream& stream, const Rows& x, const Batch* wanted, const Weight& gain, float eps,
                  const Weight& w, const Rows& out) override {
    if (Of(stream).replays()) return;
    const int rows = wanted == nullptr ? x.rows : wanted->padded_wanted();
    CATENA_CHECK(out.rows == rows);
    if (rows == 0) return;
    const Inputs inputs = Of(stream).InputsFor(Of(w).format(), rows, x.cols);
    cuda::NormInputs(Of(stream).get(), Floats(x),
                     wanted == nullptr ? nullptr : wanted->device().wanted, rows, Of(gain).values(),
                     eps, inputs);
    Linear(Of(stream), inputs, Of(w), LinearEnd::kSet, out);
  }

  void AdjustQkv(Stream& stream, const Rows& qkv, const AttentionShape& shape,
                 const QkvTerms& terms) override {
    if (Of(stream).replays()) return;
    cuda::AdjustQkv(Of(stream).get(), Floats(qkv), HeadsOf(shape), CudaWeight::Values(terms.bias),
                    CudaWeight::Values(terms.q_norm), CudaWeight::Values(terms.k_norm), terms.eps);
  }

  void RotaryAppend(Stream& stream, const Rows& qkv, const AttentionShape& shape,
                    const Rows& factors, const Batch& batch, int layer, KvPool* cache) override {
    if (Of(stream).replays()) return;
    cuda::RotaryAppend(Of(stream).get(), Floats(qkv), HeadsOf(shape), Floats(factors),
                       batch.device(), layer, static_cast<CudaKvPool*>(cache)->cache());
  }

  void AttentionLinear(Stream& stream, const Rows& qkv, const AttentionShape& shape,
                       const Batch& batch, int layer, const KvPool& cache, const Weight& w,
                       LinearEnd end, const Rows& out) override {
    if (Of(stream).replays()) return;
    const DeviceFloats y =
        Of(stream).AttentionRows(qkv.rows, int64_t{shape.heads} * shape.head_dim);
    const int64_t max_positions = batch.limits().pages * kPagePositions;
    cuda::Attention(Of(stream).get(), Floats(qkv), HeadsOf(shape), batch.device(), max_positions,
                    layer, static_cast<const CudaKvPool&>(cache).cache(),
                    Of(stream).attention_scratch(), y);
    Inputs inputs = {.values = y.data, .stride = y.stride};
    if (Of(w).format() != InputFormat::kF32) {
      inputs = Of(stream).InputsFor(Of(w).format(), y.rows, y.cols);
      cuda::RowInputs(Of(stream).get(), y, inputs);
    }
    Linear(Of(stream), inputs, Of(w), end, out);
  }

  void GateLinear(Stream& stream, const Rows& gate_up, Gate gate, const Weight& w, LinearEnd end,
                  const Rows& out) override {
    if (Of(stream).replays()) return;
    const Inputs inputs = Of(stream).InputsFor(Of(w).format(), gate_up.rows, gate_up.cols / 2);
    cuda::GateInputs(Of(stream).get(), gate, Floats(gate_up), inputs);
    Linear(Of(stream), inputs, Of(w), end, out);
  }

  void AddNorm(Stream& stream, const Rows& y, const Weight& gain, float eps,
               const Rows& x) override {
    if (Of(stream).replays()) return;
    CATENA_CHECK(y.rows == x.rows && y.cols == x.cols);
    cuda::AddNorm(Of(stream).get(), Floats(y), Of(gain).values(), eps, Floats(x));
  }

  void SoftCap(Stream& stream, float cap, const Rows& x) override {
    if (Of(stream).replays()) return;
    cuda::SoftCap(Of(stream).get(), cap, Floats(x));
  }

  void TopLogitsOf(Stream& stream, const Rows& logits, const Rows& out) override {
    if (Of(stream).replays()) return;
    CATENA_CHECK(out.rows == logits.rows && out.stride == kTopLogitsWords);
    cuda::TopOfRows(Of(stream).get(), Floats(logits), out.data.As<TopLogits>());
  }

 private:
  InputFormat FormatFor(absl::Span<const TensorView> tensors) const {
    std::vector<DType> dtypes;
    for (const TensorView& t : tensors) dtypes.push_back(t.dtype);
    const InputFormat format = InputFormatOf(activations_, dtypes);
    const bool beyond = format == InputFormat::kBf16 && !device_.multiplies_bf16();
    return beyond ? InputFormat::kF32 : format;
  }

  static void CopyRows(Stream& stream, const Rows& shape, void* to, int64_t to_stride,
                       const void* from, int64_t from_stride, cudaMemcpyKind kind) {
    const auto bytes = [&](int64_t cols) {
      return static_cast<size_t>(RowBytes(shape.dtype, cols));
    };
    if (shape.cols == to_stride && shape.cols == from_stride) {
      Check(cudaMemcpyAsync(to, from, static_cast<size_t>(shape.rows) * bytes(shape.cols), kind,
                            Of(stream).get()),
            "cudaMemcpyAsync");
      return;
    }
    Check(cudaMemcpy2DAsync(to, bytes(to_stride), from, bytes(from_stride), bytes(shape.cols),
                            static_cast<size_t>(shape.rows), kind, Of(stream).get()),
          "cudaMemcpy2DAsync");
  }

  static void Linear(const CudaStream& stream, const Inputs& inputs, const CudaWeight& w,
                     LinearEnd end, const Rows& out) {
    CATENA_CHECK(out.cols == w.rows());
    const bool add = end == LinearEnd::kAdd;
    for (const cuda::DeviceSegment& segment : w.segments()) {
      const cuda::LinearLayer layer = {inputs, segment, add, Floats(out)};
      switch (w.format()) {
        case InputFormat::kF32:
          cuda::LinearFloat(stream.get(), layer);
          break;
        case InputFormat::kBf16:
          cuda::LinearBf16(stream.get(), layer, stream.linear_scratch());
          break;
        case InputFormat::kInt8:
          cuda::LinearInt8(stream.get(), layer);
          break;
      }
    }
  }

  const Activations activations_;
  const Device device_;
  cuda::Uploader uploader_;
};

absl::StatusOr<std::unique_ptr<KvPool>> CudaBackend::NewKvPool(const KvShape& shape, int pages) {
  const bool fits = shape.head_dim <= cuda::kMaxHeadDim &&
                    shape.head_dim % cuda::kHeadDimMultiple == 0 &&
                    cuda::AttentionSharedBytes(shape.head_dim, shape.dtype) <= device_.shared_bytes;
  if (!fits) {
    return absl::InvalidArgumentError(
        fmt::format("the backend cuda takes no heads of {} values with a cache of {} on this GPU; "
                    "--backend cpu does",
                    shape.head_dim, Name(shape.dtype)));
  }
  CATENA_ASSIGN_OR_RETURN(DeviceBuffer buffer,
                          AllocateDevice(static_cast<size_t>(pages * KvPageBytes(shape))));
  return std::make_unique<CudaKvPool>(shape, pages, std::move(buffer));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Backend>> NewCudaBackend(const CudaOptions& options) {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess || count == 0) {
    return absl::UnimplementedError(fmt::format(
        "the backend cuda found no NVIDIA GPU, or no driver for it ({}); use another --backend",
        cudaGetErrorString(error)));
  }
  if (options.device < 0 || options.device >= count) {
    return absl::InvalidArgumentError(
        fmt::format("--device {}: this machine has {} GPU{}, counted from 0", options.device, count,
                    count == 1 ? "" : "s"));
  }
  cuda::UseDevice(options.device);
  const auto attribute = [&](cudaDeviceAttr name) { return Attribute(name, options.device); };
  const Device device{
      .number = options.device,
      .multiprocessors = attribute(cudaDevAttrMultiProcessorCount),
      .capability = 10 * attribute(cudaDevAttrComputeCapabilityMajor) +
                    attribute(cudaDevAttrComputeCapabilityMinor),
      .shared_bytes = static_cast<size_t>(attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin))};
  constexpr int kLeast = 75;
  if (device.capability < kLeast) {
    return absl::UnimplementedError(
        fmt::format("the backend cuda needs a GPU of compute capability 7.5, this one has {}.{}; "
                    "use another --backend",
                    device.capability / 10, device.capability % 10));
  }
  CATENA_ASSIGN_OR_RETURN(cuda::Uploader uploader, cuda::Uploader::New());
  const Activations activations =
      options.activations == Activations::kF32 ? Activations::kF32 : Activations::kBf16;
  return std::make_unique<CudaBackend>(activations, device, std::move(uploader));
}

}  // namespace catena
