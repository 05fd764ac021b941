// What a backend whose device is the host shares with others of its kind: memory, copies, a stream
// that is always done.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "kernels/numerics.h"

namespace catena {

class HostEvent : public Event {
 public:
  bool Ready() override { return true; }
  void Wait() override {}
};

class HostStream : public Stream {
 public:
  void Record(Event*) override {}
  void Wait(const Event&) override {}
};

// What the reference and the CPU backend are alike in: rows in float32, memory that the host reads
// where it is.
class HostBackend : public Backend {
 public:
  explicit HostBackend(Activations activations) : activations_(activations) {}

  Activations activations() const override { return activations_; }
  DType residual_dtype() const override { return DType::kF32; }
  std::string numerics_id() const override { return CpuNumericsId(activations_); }

  std::unique_ptr<Event> NewEvent() override { return std::make_unique<HostEvent>(); }
  absl::StatusOr<DeviceBuffer> AllocateDevice(size_t bytes) override;
  absl::StatusOr<HostBuffer> AllocateHost(size_t bytes) override;
  void Upload(Stream&, const HostRows& from, const Rows& to) override;
  void Upload(Stream&, Batch* batch) override;
  void Copy(Stream& stream, const Rows& from, const Rows& to) override;
  HostRows Download(Stream&, const Rows& from, const HostBuffer& to) override;
  bool shares_memory() const override { return true; }
  void TopLogitsOf(Stream&, const Rows& logits, const Rows& out) override;

 private:
  Activations activations_;
};

// A table or an embedding looked up by rows, kept in the file's layout: an embedding's bytes stay
// where they are (a mapping), a table is widened to float32.
class RowTable : public Weight {
 public:
  // Checks what Pack promises: one tensor for an embedding, equal cols.
  static absl::StatusOr<std::unique_ptr<Weight>> Make(absl::Span<const TensorView> tensors,
                                                      WeightRole role);

  static int64_t Bytes(absl::Span<const TensorView> tensors, WeightRole role);

  int64_t rows() const override { return rows_; }
  int64_t cols() const override { return cols_; }
  absl::Span<const DType> dtypes() const override { return {&dtype_, 1}; }
  int64_t bytes() const override { return static_cast<int64_t>(values_.size() * sizeof(float)); }

  // REQUIRES: role kTable.
  const float* values() const { return values_.data(); }
  // Of a table; null of none.
  static const float* Values(const Weight* table) {
    return table == nullptr ? nullptr : static_cast<const RowTable*>(table)->values();
  }
  // Row r as float32, times scale, into out[cols].
  void Lookup(int64_t r, float scale, float* out) const;

 private:
  int64_t rows_ = 0, cols_ = 0;
  DType dtype_ = DType::kF32;
  std::vector<float> values_;  // (rows, cols), role kTable
  TensorView view_;            // role kEmbedding
};

// What every backend's Pack checks first: at least one tensor, equal cols, bytes as the shape says,
// cols a multiple of the block.
absl::Status CheckPackable(absl::Span<const TensorView> tensors);

}  // namespace catena
