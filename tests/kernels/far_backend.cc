#include "tests/kernels/far_backend.h"

#include <cstring>
#include <utility>

#include <sys/mman.h>

namespace catena::testing_kernels {
namespace {

// The device's memory, open only while something of the device runs.
class FarMemory {
 public:
  FarMemory() {
    void* p = mmap(nullptr, kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CATENA_CHECK(p != MAP_FAILED);
    begin_ = static_cast<char*>(p);
  }
  ~FarMemory() { munmap(begin_, kBytes); }

  void* Allocate(size_t bytes) {
    void* p = begin_ + used_;
    used_ += (bytes + kPage - 1) / kPage * kPage;
    CATENA_CHECK(used_ <= kBytes);
    Open();
    std::memset(p, 0xff, bytes);  // NaN: what is not written shows
    Close();
    return p;
  }
  void Open() { Protect(PROT_READ | PROT_WRITE); }
  void Close() { Protect(PROT_NONE); }

  bool Holds(const void* p, int64_t bytes) const {
    const auto* first = static_cast<const char*>(p);
    return begin_ <= first && first + bytes <= begin_ + used_;
  }
  bool Meets(const void* p, int64_t bytes) const {
    const auto* first = static_cast<const char*>(p);
    return first < begin_ + kBytes && begin_ < first + bytes;
  }

 private:
  static constexpr size_t kPage = 4096, kBytes = size_t{1} << 30;
  void Protect(int protection) {
    if (used_ > 0) CATENA_CHECK(mprotect(begin_, used_, protection) == 0);
  }
  char* begin_;
  size_t used_ = 0;
};

int64_t SpannedBytes(const Rows& rows) {
  return (rows.rows - 1) * RowBytes(rows.dtype, rows.stride) + RowBytes(rows.dtype, rows.cols);
}

class FarBackend : public Backend {
 public:
  explicit FarBackend(std::unique_ptr<Backend> near) : near_(std::move(near)) {}

  Activations activations() const override { return near_->activations(); }
  DType residual_dtype() const override { return near_->residual_dtype(); }
  std::string numerics_id() const override { return near_->numerics_id(); }

  std::unique_ptr<Stream> NewStream() override { return near_->NewStream(); }
  absl::StatusOr<DeviceBuffer> AllocateDevice(size_t bytes) override {
    return DeviceBuffer{
        .address = DeviceAddress(memory_->Allocate(bytes)), .bytes = bytes, .owner = memory_};
  }
  absl::StatusOr<HostBuffer> AllocateHost(size_t bytes) override {
    return near_->AllocateHost(bytes);
  }
  void Upload(Stream& stream, const HostRows& from, const Rows& to) override {
    CATENA_CHECK(!memory_->Meets(from.data, from.rows * RowBytes(from.dtype, from.stride)));
    Run({to}, [&] { near_->Upload(stream, from, to); });
  }
  int PaddedRows(int rows) const override { return rows == 0 ? 0 : (rows + 10) / 8 * 8; }
  void Upload(Stream&, Batch* batch) override {
    batch->Pad(PaddedRows(batch->rows()), PaddedRows(batch->wanted()));
    Run({}, [&] {
      std::memcpy(batch->device_address().As<void>(), batch->host_data(), batch->used_bytes());
    });
  }
  void Copy(Stream& stream, const Rows& from, const Rows& to) override {
    Run({from, to}, [&] { near_->Copy(stream, from, to); });
  }
  HostRows Download(Stream& stream, const Rows& from, const HostBuffer& to) override {
    const Rows host{DeviceAddress(to.data), from.rows, from.cols, from.cols, from.dtype};
    CATENA_CHECK(host.bytes() <= static_cast<int64_t>(to.bytes));
    Run({from}, [&] { near_->Copy(stream, from, host); });
    return {to.data, from.rows, from.cols, from.cols, from.dtype};
  }

  absl::StatusOr<std::unique_ptr<PackedRows>> NewPackedRows(int max_rows,
                                                            int64_t max_cols) override {
    return near_->NewPackedRows(max_rows, max_cols);
  }
  int64_t KvPageBytes(const KvShape& shape) const override { return near_->KvPageBytes(shape); }
  absl::StatusOr<std::unique_ptr<KvPool>> NewKvPool(const KvShape& shape, int pages) override {
    return near_->NewKvPool(shape, pages);
  }
  absl::StatusOr<std::unique_ptr<Weight>> Pack(absl::Span<const TensorView> tensors,
                                               WeightRole role) override {
    return near_->Pack(tensors, role);
  }
  int64_t PackedBytes(absl::Span<const TensorView> tensors, WeightRole role) const override {
    return near_->PackedBytes(tensors, role);
  }

  void Embed(Stream& s, const Weight& table, const Batch& batch, const Rows& out) override {
    Run({out}, [&] { near_->Embed(s, table, batch, out); });
  }
  void RotaryFactors(Stream& s, const Batch& batch, const Weight& frequencies, float scale,
                     const Rows& out) override {
    Run({out}, [&] { near_->RotaryFactors(s, batch, frequencies, scale, out); });
  }
  void Norm(Stream& s, const Rows& x, const Batch* wanted, const Weight& gain, float eps,
            const Weight& reader, PackedRows* out) override {
    Run({x}, [&] { near_->Norm(s, x, wanted, gain, eps, reader, out); });
  }
  void Linear(Stream& s, const Weight& w, const PackedRows& in, LinearMode mode,
              const Rows& out) override {
    Run({out}, [&] { near_->Linear(s, w, in, mode, out); });
  }
  void RotaryAppend(Stream& s, const Rows& qkv, const AttentionShape& shape, const Rows& factors,
                    const Batch& batch, int layer, KvPool* cache) override {
    Run({qkv, factors}, [&] { near_->RotaryAppend(s, qkv, shape, factors, batch, layer, cache); });
  }
  void Attention(Stream& s, const Rows& qkv, const AttentionShape& shape, const Batch& batch,
                 int layer, const KvPool& cache, const Weight& reader, PackedRows* out) override {
    Run({qkv}, [&] { near_->Attention(s, qkv, shape, batch, layer, cache, reader, out); });
  }
  void Gate(Stream& s, const Rows& gate_up, const Weight& reader, PackedRows* out) override {
    Run({gate_up}, [&] { near_->Gate(s, gate_up, reader, out); });
  }

 private:
  template <class Op>
  void Run(std::initializer_list<Rows> rows, const Op& op) {
    for (const Rows& r : rows) CATENA_CHECK(memory_->Holds(r.data.As<char>(), SpannedBytes(r)));
    memory_->Open();
    op();
    memory_->Close();
  }

  const std::unique_ptr<Backend> near_;
  const std::shared_ptr<FarMemory> memory_ = std::make_shared<FarMemory>();
};

}  // namespace

std::unique_ptr<Backend> NewFarBackend(std::unique_ptr<Backend> near) {
  return std::make_unique<FarBackend>(std::move(near));
}

}  // namespace catena::testing_kernels
