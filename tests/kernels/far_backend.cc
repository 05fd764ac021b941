#include "tests/kernels/far_backend.h"

#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <tuple>
#include <utility>
#include <vector>

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

// An op and what it was called with, as far as a recording keeps it.
struct FarCall {
  const char* op;
  std::vector<const void*> addresses;
  std::vector<int64_t> numbers;
  bool operator==(const FarCall&) const = default;
};

class FarStream;

// So many pieces of a stream's work.
struct FarPlace {
  FarStream* stream = nullptr;
  int64_t pieces = 0;

  bool Reached() const;
  void Advance() const;  // by one piece of work
};

class FarEvent : public Event {
 public:
  // Each look lets the device do one more piece of work.
  bool Ready() override {
    if (!place.Reached()) place.Advance();
    return place.Reached();
  }
  void Wait() override {
    while (!place.Reached()) place.Advance();
  }
  FarPlace place;
};

// Work that waits until somebody waits for it. Remembers what the steps of each batch are made of:
// a device that has recorded one may run it in another's place.
class FarStream : public Stream {
 public:
  FarStream(std::unique_ptr<Stream> near, std::shared_ptr<FarMemory> memory)
      : near_(std::move(near)), memory_(std::move(memory)) {}
  ~FarStream() override { CATENA_CHECK(work_.empty()); }

  void Record(Event* event) override {
    static_cast<FarEvent*>(event)->place = {this, done_ + static_cast<int64_t>(work_.size())};
  }
  void Wait(const Event& event) override {
    const FarPlace place = static_cast<const FarEvent&>(event).place;
    work_.push_back([place](Stream&) {
      while (!place.Reached()) place.Advance();
    });
  }
  // The work of an op or a copy.
  void Issue(std::function<void(Stream&)> work) {
    work_.push_back([this, work = std::move(work)](Stream& near) {
      memory_->Open();
      work(near);
      memory_->Close();
    });
  }
  Stream& near() { return *near_; }
  int64_t done() const { return done_; }
  void Advance() {
    CATENA_CHECK(!work_.empty());
    const std::function<void(Stream&)> work = std::move(work_.front());
    work_.pop_front();
    work(*near_);
    ++done_;
  }

  // The batch as it was when it was uploaded: ops are issued with its counts of then.
  void Remember(const Batch& batch, std::shared_ptr<const Batch> copy) {
    batches_[&batch] = std::move(copy);
  }
  std::shared_ptr<const Batch> AsUploaded(const Batch& batch) const { return batches_.at(&batch); }

  void Begin(const Batch& batch) {
    CATENA_CHECK(!in_step_);
    in_step_ = true;
    step_ = {&batch, batch.padded_rows(), batch.padded_wanted()};
    calls_.clear();
  }
  void Add(FarCall call) {
    if (in_step_) calls_.push_back(std::move(call));
  }
  void End() {
    CATENA_CHECK(in_step_);
    in_step_ = false;
    const auto [recorded, fresh] = recorded_.emplace(step_, calls_);
    CATENA_CHECK(fresh || recorded->second == calls_);
  }
  bool in_step() const { return in_step_; }

 private:
  using Step = std::tuple<const Batch*, int, int>;
  const std::unique_ptr<Stream> near_;
  const std::shared_ptr<FarMemory> memory_;
  std::deque<std::function<void(Stream&)>> work_;
  int64_t done_ = 0;
  std::map<const Batch*, std::shared_ptr<const Batch>> batches_;
  bool in_step_ = false;
  Step step_;
  std::vector<FarCall> calls_;
  std::map<Step, std::vector<FarCall>> recorded_;
};

bool FarPlace::Reached() const { return stream == nullptr || stream->done() >= pieces; }
void FarPlace::Advance() const { stream->Advance(); }

// Its pages are zeroed in stream order.
class FarKvPool : public KvPool {
 public:
  explicit FarKvPool(std::unique_ptr<KvPool> near) : near_(std::move(near)) {}
  int pages() const override { return near_->pages(); }
  int64_t page_bytes() const override { return near_->page_bytes(); }
  void Zero(Stream& stream, absl::Span<const int32_t> ids) override {
    static_cast<FarStream&>(stream).Issue(
        [near = near_.get(), ids = std::vector<int32_t>(ids.begin(), ids.end())](Stream& s) {
          near->Zero(s, ids);
        });
  }
  KvPool* near() const { return near_.get(); }

 private:
  const std::unique_ptr<KvPool> near_;
};

class FarBackend : public Backend {
 public:
  explicit FarBackend(std::unique_ptr<Backend> near) : near_(std::move(near)) {}

  Activations activations() const override { return near_->activations(); }
  DType residual_dtype() const override { return near_->residual_dtype(); }
  std::string numerics_id() const override { return near_->numerics_id(); }

  void BeginStep(Stream& stream, const Batch& batch) override {
    Of(stream).Begin(batch);
    near_->BeginStep(Of(stream).near(), batch);
  }
  void EndStep(Stream& stream, bool another_soon) override {
    near_->EndStep(Of(stream).near(), another_soon);
    Of(stream).End();
  }
  absl::StatusOr<std::unique_ptr<Stream>> NewStream(const StepLimits& limits) override {
    CATENA_ASSIGN_OR_RETURN(auto near, near_->NewStream(limits));
    return std::make_unique<FarStream>(std::move(near), memory_);
  }
  std::unique_ptr<Event> NewEvent() override { return std::make_unique<FarEvent>(); }
  absl::StatusOr<DeviceBuffer> AllocateDevice(size_t bytes) override {
    return DeviceBuffer{
        .address = DeviceAddress(memory_->Allocate(bytes)), .bytes = bytes, .owner = memory_};
  }
  absl::StatusOr<HostBuffer> AllocateHost(size_t bytes) override {
    return near_->AllocateHost(bytes);
  }
  std::optional<int64_t> FreeBytes() const override { return near_->FreeBytes(); }
  int PaddedRows(int rows) const override { return rows == 0 ? 0 : (rows + 10) / 8 * 8; }
  void Upload(Stream& stream, Batch* batch) override {
    batch->Pad(PaddedRows(batch->rows()), PaddedRows(batch->wanted()));
    Of(stream).Remember(*batch, CopyOf(*batch));
    const size_t bytes = batch->used_bytes();
    Transfer(stream, {}, [=](Stream&) {
      std::memcpy(batch->device_address().As<void>(), batch->host_data(), bytes);
    });
  }
  void Upload(Stream& stream, const HostRows& from, const Rows& to) override {
    CATENA_CHECK(!memory_->Meets(from.data, from.rows * RowBytes(from.dtype, from.stride)));
    Transfer(stream, {to}, [=, this](Stream& s) { near_->Upload(s, from, to); });
  }
  void Copy(Stream& stream, const Rows& from, const Rows& to) override {
    Transfer(stream, {from, to}, [=, this](Stream& s) { near_->Copy(s, from, to); });
  }
  HostRows Download(Stream& stream, const Rows& from, const HostBuffer& to) override {
    const Rows host{DeviceAddress(to.data), from.rows, from.cols, from.cols, from.dtype};
    CATENA_CHECK(host.bytes() <= static_cast<int64_t>(to.bytes));
    std::memset(to.data, 0xff, host.bytes());  // who reads it too early has NaN
    Transfer(stream, {from}, [=, this](Stream& s) { near_->Copy(s, from, host); });
    return {to.data, from.rows, from.cols, from.cols, from.dtype};
  }

  int64_t KvPageBytes(const KvShape& shape) const override { return near_->KvPageBytes(shape); }
  absl::StatusOr<std::unique_ptr<KvPool>> NewKvPool(const KvShape& shape, int pages) override {
    CATENA_ASSIGN_OR_RETURN(auto near, near_->NewKvPool(shape, pages));
    return std::make_unique<FarKvPool>(std::move(near));
  }
  absl::StatusOr<std::unique_ptr<Weight>> Pack(absl::Span<const TensorView> tensors,
                                               WeightRole role) override {
    return near_->Pack(tensors, role);
  }
  int64_t PackedBytes(absl::Span<const TensorView> tensors, WeightRole role) const override {
    return near_->PackedBytes(tensors, role);
  }

  void Embed(Stream& stream, const Weight& table, const Batch& batch, float scale,
             const Rows& out) override {
    const auto copy = Of(stream).AsUploaded(batch);
    Op(stream, "Embed", {out}, {&table, &batch}, {},
       [=, this, &table](Stream& s) { near_->Embed(s, table, *copy, scale, out); });
  }
  void RotaryFactors(Stream& stream, const Batch& batch, const Weight& frequencies, float scale,
                     const Rows& out) override {
    const auto copy = Of(stream).AsUploaded(batch);
    Op(stream, "RotaryFactors", {out}, {&batch, &frequencies}, {},
       [=, this, &frequencies](Stream& s) {
         near_->RotaryFactors(s, *copy, frequencies, scale, out);
       });
  }
  void NormLinear(Stream& stream, const Rows& x, const Batch* wanted, const Weight& gain, float eps,
                  const Weight& w, const Rows& out) override {
    const auto copy = wanted == nullptr ? nullptr : Of(stream).AsUploaded(*wanted);
    Op(stream, "NormLinear", {x, out}, {wanted, &gain, &w}, {},
       [=, this, &gain, &w](Stream& s) { near_->NormLinear(s, x, copy.get(), gain, eps, w, out); });
  }
  void AdjustQkv(Stream& stream, const Rows& qkv, const AttentionShape& shape,
                 const QkvTerms& terms) override {
    Op(stream, "AdjustQkv", {qkv}, {terms.bias, terms.q_norm, terms.k_norm}, {},
       [=, this](Stream& s) { near_->AdjustQkv(s, qkv, shape, terms); });
  }
  void RotaryAppend(Stream& stream, const Rows& qkv, const AttentionShape& shape,
                    const Rows& factors, const Batch& batch, int layer, KvPool* cache) override {
    const auto copy = Of(stream).AsUploaded(batch);
    KvPool* near_cache = static_cast<FarKvPool*>(cache)->near();
    Op(stream, "RotaryAppend", {qkv, factors}, {&batch, cache}, {layer}, [=, this](Stream& s) {
      near_->RotaryAppend(s, qkv, shape, factors, *copy, layer, near_cache);
    });
  }
  void AttentionLinear(Stream& stream, const Rows& qkv, const AttentionShape& shape,
                       const Batch& batch, int layer, const KvPool& cache, const Weight& w,
                       LinearEnd end, const Rows& out) override {
    const auto copy = Of(stream).AsUploaded(batch);
    const KvPool* near_cache = static_cast<const FarKvPool&>(cache).near();
    Op(stream, "AttentionLinear", {qkv, out}, {&batch, &cache, &w}, {layer},
       [=, this, &w](Stream& s) {
         near_->AttentionLinear(s, qkv, shape, *copy, layer, *near_cache, w, end, out);
       });
  }
  void GateLinear(Stream& stream, const Rows& gate_up, Gate gate, const Weight& w, LinearEnd end,
                  const Rows& out) override {
    Op(stream, "GateLinear", {gate_up, out}, {&w}, {},
       [=, this, &w](Stream& s) { near_->GateLinear(s, gate_up, gate, w, end, out); });
  }
  void AddNorm(Stream& stream, const Rows& y, const Weight& gain, float eps,
               const Rows& x) override {
    Op(stream, "AddNorm", {y, x}, {&gain}, {},
       [=, this, &gain](Stream& s) { near_->AddNorm(s, y, gain, eps, x); });
  }
  void SoftCap(Stream& stream, float cap, const Rows& x) override {
    Op(stream, "SoftCap", {x}, {}, {}, [=, this](Stream& s) { near_->SoftCap(s, cap, x); });
  }
  void TopLogitsOf(Stream& stream, const Rows& logits, const Rows& out) override {
    Op(stream, "TopLogitsOf", {logits, out}, {}, {},
       [=, this](Stream& s) { near_->TopLogitsOf(s, logits, out); });
  }

 private:
  static FarStream& Of(Stream& stream) { return static_cast<FarStream&>(stream); }

  void CheckHeld(const std::vector<Rows>& rows) const {
    for (const Rows& r : rows) CATENA_CHECK(memory_->Holds(r.data.As<char>(), SpannedBytes(r)));
  }
  // With the same memory of the device, and host memory of its own.
  std::shared_ptr<const Batch> CopyOf(const Batch& batch) {
    const size_t bytes = Batch::Bytes(batch.limits());
    const DeviceBuffer device{.address = batch.device_address(), .bytes = bytes, .owner = memory_};
    const HostBuffer host = *near_->AllocateHost(bytes);
    auto copy = std::make_shared<Batch>(batch.limits(), host, device);
    std::memcpy(host.data, batch.host_data(), batch.used_bytes());
    copy->Pad(batch.padded_rows(), batch.padded_wanted());
    return copy;
  }
  void Transfer(Stream& stream, const std::vector<Rows>& rows, std::function<void(Stream&)> work) {
    CATENA_CHECK(!Of(stream).in_step());
    CheckHeld(rows);
    Of(stream).Issue(std::move(work));
  }
  void Op(Stream& stream, const char* name, const std::vector<Rows>& rows,
          std::vector<const void*> addresses, std::vector<int64_t> numbers,
          std::function<void(Stream&)> work) {
    CheckHeld(rows);
    for (const Rows& r : rows) {
      addresses.push_back(r.data.As<void>());
      numbers.insert(numbers.end(), {r.cols, r.stride});
    }
    Of(stream).Add({name, std::move(addresses), std::move(numbers)});
    Of(stream).Issue(std::move(work));
  }

  const std::unique_ptr<Backend> near_;
  const std::shared_ptr<FarMemory> memory_ = std::make_shared<FarMemory>();
};

}  // namespace

std::unique_ptr<Backend> NewFarBackend(std::unique_ptr<Backend> near) {
  return std::make_unique<FarBackend>(std::move(near));
}

}  // namespace catena::testing_kernels
