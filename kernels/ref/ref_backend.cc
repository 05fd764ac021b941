#include "kernels/ref/ref_backend.h"

#include <vector>

#include "kernels/base/float16.h"
#include "kernels/float_rows.h"
#include "kernels/host_backend.h"
#include "kernels/ref/ops.h"

namespace catena {
namespace {

// A linear weight: the rows of its tensors, in the file's layout, one after the other.
class RefWeight : public Weight {
 public:
  explicit RefWeight(absl::Span<const TensorView> tensors) {
    cols_ = tensors[0].cols;
    for (const TensorView& t : tensors) {
      dtypes_.push_back(t.dtype);
      for (int64_t r = 0; r < t.rows; ++r) {
        rows_.push_back({t.dtype, static_cast<int64_t>(bytes_.size())});
        const uint8_t* row = t.bytes.data() + StoredRow(t, r) * RowBytes(t.dtype, cols_);
        bytes_.insert(bytes_.end(), row, row + RowBytes(t.dtype, cols_));
      }
    }
  }

  int64_t rows() const override { return static_cast<int64_t>(rows_.size()); }
  int64_t cols() const override { return cols_; }
  absl::Span<const DType> dtypes() const override { return dtypes_; }
  int64_t bytes() const override { return static_cast<int64_t>(bytes_.size()); }
  DType dtype(int64_t r) const { return rows_[r].dtype; }
  const uint8_t* row(int64_t r) const { return bytes_.data() + rows_[r].at; }

 private:
  struct Row {
    DType dtype;
    int64_t at;  // in bytes_
  };
  int64_t cols_ = 0;
  std::vector<DType> dtypes_;
  std::vector<Row> rows_;
  std::vector<uint8_t> bytes_;
};

// Rows as a linear layer reads them.
struct RefPackedRows {
  int rows() const { return static_cast<int>(floats.size()); }
  InputFormat format = InputFormat::kF32;
  std::vector<std::vector<float>> floats;    // (rows, cols), rounded where the format is kBf16
  std::vector<ref::QuantisedRow> quantised;  // (rows), where it is kInt8
};

int64_t PageValues(const KvShape& shape) {
  return int64_t{shape.layers} * shape.kv_heads * 2 * kPagePositions * shape.head_dim;
}
int64_t PageBytes(const KvShape& shape) {
  return PageValues(shape) * static_cast<int64_t>(sizeof(float));
}

// Values as the cache rounds them, one vector of layers x heads x 2 x positions x head_dim a page.
class RefKvPool : public KvPool {
 public:
  RefKvPool(const KvShape& shape, int pages) : shape_(shape), pages_(pages) {
    values_.resize(static_cast<size_t>(pages) * page_values());
  }
  int pages() const override { return pages_; }
  int64_t page_bytes() const override { return PageBytes(shape_); }
  void Zero(Stream&, absl::Span<const int32_t> ids) override {
    for (int32_t id : ids) {
      std::fill_n(values_.begin() + id * page_values(), page_values(), 0.0f);
    }
  }
  // kind: 0 keys, 1 values.
  int64_t At(int page, int layer, int head, int kind, int position) const {
    const int64_t block = (int64_t{layer} * shape_.kv_heads + head) * 2 + kind;
    return page * page_values() +
           (block * kPagePositions + position % kPagePositions) * shape_.head_dim;
  }
  void Write(int64_t at, const float* x) {
    for (int d = 0; d < shape_.head_dim; ++d) {
      values_[at + d] = shape_.dtype == DType::kF16 ? F16ToF32(F32ToF16Saturating(x[d])) : x[d];
    }
  }
  void Read(int64_t at, float* x) const { std::copy_n(values_.begin() + at, shape_.head_dim, x); }

 private:
  int64_t page_values() const { return PageValues(shape_); }
  KvShape shape_;
  int pages_;
  std::vector<float> values_;
};

struct SpanCache : ref::KeyValues {
  const RefKvPool* pool;
  BatchView batch;
  const BatchSpan* span;
  int layer, head;
  void Key(int p, float* out) const override {
    pool->Read(pool->At(batch.page(*span, p), layer, head, 0, p), out);
  }
  void Value(int p, float* out) const override {
    pool->Read(pool->At(batch.page(*span, p), layer, head, 1, p), out);
  }
};

class RefBackend : public HostBackend {
 public:
  explicit RefBackend(Activations activations) : HostBackend(activations) {}

  void BeginStep(Stream&, const Batch&) override {}
  void EndStep(Stream&, bool) override {}
  absl::StatusOr<std::unique_ptr<Stream>> NewStream(const StepLimits&) override {
    return std::make_unique<HostStream>();
  }
  int64_t KvPageBytes(const KvShape& shape) const override { return PageBytes(shape); }
  absl::StatusOr<std::unique_ptr<KvPool>> NewKvPool(const KvShape& shape, int pages) override {
    return std::make_unique<RefKvPool>(shape, pages);
  }
  absl::StatusOr<std::unique_ptr<Weight>> Pack(absl::Span<const TensorView> tensors,
                                               WeightRole role) override {
    CATENA_RETURN_IF_ERROR(CheckPackable(tensors));
    if (role != WeightRole::kLinear) return RowTable::Make(tensors, role);
    return std::make_unique<RefWeight>(tensors);
  }
  int64_t PackedBytes(absl::Span<const TensorView> tensors, WeightRole role) const override {
    if (role != WeightRole::kLinear) return RowTable::Bytes(tensors, role);
    int64_t bytes = 0;
    for (const TensorView& t : tensors) bytes += t.rows * RowBytes(t.dtype, t.cols);
    return bytes;
  }

  void Embed(Stream&, const Weight& table, const Batch& batch, float scale,
             const Rows& out) override {
    for (int r = 0; r < batch.rows(); ++r) {
      static_cast<const RowTable&>(table).Lookup(batch.device().ids[r], scale, Floats(out).row(r));
    }
  }

  void NormLinear(Stream&, const Rows& x, const Batch* wanted, const Weight& gain, float eps,
                  const Weight& w, const Rows& out) override {
    const int n = wanted == nullptr ? x.rows : wanted->padded_wanted();
    CATENA_CHECK(out.rows == n);
    std::vector<float> y(x.cols);
    RefPackedRows packed;
    for (int r = 0; r < n; ++r) {
      const float* row = Floats(x).row(wanted == nullptr ? r : wanted->device().wanted[r]);
      ref::RmsNorm(row, static_cast<const RowTable&>(gain).values(), x.cols, eps, y.data());
      PackRow(y, w, &packed);
    }
    Linear(packed, w, LinearEnd::kSet, out);
  }

  void RotaryFactors(Stream&, const Batch& on_device, const Weight& frequencies, float scale,
                     const Rows& out) override {
    const auto& table = static_cast<const RowTable&>(frequencies);
    const BatchView& batch = on_device.device();
    for (int r = 0; r < batch.rows(); ++r) {
      ref::RotaryFactors(batch.positions[r],
                         table.values() + batch.span_of(r).rotary * table.cols(), table.cols(),
                         scale, Floats(out).row(r));
    }
  }

  void AdjustQkv(Stream&, const Rows& qkv, const AttentionShape& shape,
                 const QkvTerms& terms) override {
    for (int r = 0; r < qkv.rows; ++r) {
      ref::AdjustQkv(shape, RowTable::Values(terms.bias), RowTable::Values(terms.q_norm),
                     RowTable::Values(terms.k_norm), terms.eps, Floats(qkv).row(r));
    }
  }

  void RotaryAppend(Stream&, const Rows& qkv, const AttentionShape& shape, const Rows& factors,
                    const Batch& on_device, int layer, KvPool* cache) override {
    const BatchView& batch = on_device.device();
    auto* pool = static_cast<RefKvPool*>(cache);
    const int q_cols = shape.heads * shape.head_dim, kv_cols = shape.kv_heads * shape.head_dim;
    for (const BatchSpan& span : batch.all_spans()) {
      for (int r = span.first_row; r < span.first_row + span.rows; ++r) {
        const int p = batch.positions[r];
        float* row = Floats(qkv).row(r);
        ref::Rotate(row, shape.heads + shape.kv_heads, shape.head_dim, shape.rotary_dim,
                    Floats(factors).row(r));
        for (int i = 0; i < q_cols; ++i) row[i] *= shape.scale;
        for (int h = 0; h < shape.kv_heads; ++h) {
          const float* k = row + q_cols + h * shape.head_dim;
          pool->Write(pool->At(batch.page(span, p), layer, h, 0, p), k);
          pool->Write(pool->At(batch.page(span, p), layer, h, 1, p), k + kv_cols);
        }
      }
    }
  }

  void AttentionLinear(Stream&, const Rows& qkv, const AttentionShape& shape,
                       const Batch& on_device, int layer, const KvPool& cache, const Weight& w,
                       LinearEnd end, const Rows& out) override {
    const BatchView& batch = on_device.device();
    SpanCache kv;
    kv.pool = static_cast<const RefKvPool*>(&cache);
    kv.batch = batch;
    kv.layer = layer;
    std::vector<float> y(shape.heads * shape.head_dim);
    RefPackedRows packed;
    for (const BatchSpan& span : batch.all_spans()) {
      kv.span = &span;
      for (int r = span.first_row; r < span.first_row + span.rows; ++r) {
        for (int h = 0; h < shape.heads; ++h) {
          kv.head = h / (shape.heads / shape.kv_heads);
          ref::Attend(shape, Floats(qkv).row(r) + h * shape.head_dim, batch.positions[r], kv,
                      y.data() + h * shape.head_dim);
        }
        PackRow(y, w, &packed);
      }
    }
    Linear(packed, w, end, out);
  }

  void GateLinear(Stream&, const Rows& gate_up, Gate gate, const Weight& w, LinearEnd end,
                  const Rows& out) override {
    const int64_t n = gate_up.cols / 2;
    std::vector<float> y(n);
    RefPackedRows packed;
    for (int r = 0; r < gate_up.rows; ++r) {
      ref::GatedUnit(gate, Floats(gate_up).row(r), n, y.data());
      PackRow(y, w, &packed);
    }
    Linear(packed, w, end, out);
  }

  void AddNorm(Stream&, const Rows& y, const Weight& gain, float eps, const Rows& x) override {
    std::vector<float> normed(y.cols);
    for (int r = 0; r < y.rows; ++r) {
      ref::RmsNorm(Floats(y).row(r), static_cast<const RowTable&>(gain).values(), y.cols, eps,
                   normed.data());
      for (int64_t k = 0; k < y.cols; ++k) Floats(x).row(r)[k] += normed[k];
    }
  }

  void SoftCap(Stream&, float cap, const Rows& x) override {
    for (int r = 0; r < x.rows; ++r) {
      for (int64_t k = 0; k < x.cols; ++k) {
        float& value = Floats(x).row(r)[k];
        value = ref::SoftCap(value, cap);
      }
    }
  }

 private:
  // Of the first rows of y.
  static void Linear(const RefPackedRows& packed, const Weight& w, LinearEnd end, const Rows& y) {
    const auto& weight = static_cast<const RefWeight&>(w);
    CATENA_CHECK(packed.rows() <= y.rows && y.cols == weight.rows());
    for (int r = 0; r < packed.rows(); ++r) {
      float* to = Floats(y).row(r);
      for (int64_t n = 0; n < weight.rows(); ++n) {
        const float sum = Dot(weight, n, packed, r);
        to[n] = end == LinearEnd::kAdd ? to[n] + sum : sum;
      }
    }
  }
  static float Dot(const RefWeight& w, int64_t n, const RefPackedRows& in, int r) {
    switch (in.format) {
      case InputFormat::kF32:
        return ref::DotF32(w.dtype(n), w.row(n), in.floats[r].data(), w.cols());
      case InputFormat::kBf16:
        return ref::DotBf16(w.row(n), in.floats[r].data(), w.cols());
      case InputFormat::kInt8:
        return ref::DotInt8(w.dtype(n), w.row(n), in.quantised[r], w.cols());
    }
    return 0.0f;
  }
  void PackRow(const std::vector<float>& y, const Weight& w, RefPackedRows* rows) const {
    rows->format = InputFormatOf(activations(), w.dtypes());
    rows->floats.push_back(y);
    if (rows->format == InputFormat::kBf16) {
      for (float& f : rows->floats.back()) f = BF16ToF32(F32ToBF16(f));
    }
    if (rows->format == InputFormat::kInt8) {
      rows->quantised.push_back(ref::Quantise(y.data(), static_cast<int64_t>(y.size())));
    }
  }
};

}  // namespace

std::unique_ptr<Backend> NewRefBackend(Activations activations) {
  return std::make_unique<RefBackend>(activations);
}

}  // namespace catena
