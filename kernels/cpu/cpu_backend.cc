#include "kernels/cpu/cpu_backend.h"

#include <cstring>
#include <system_error>

#include "hwy/highway.h"
#include <cpuid.h>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/int8_linear.h"
#include "kernels/cpu/pack_weight.h"
#include "kernels/cpu/packed_rows.h"
#include "kernels/host_backend.h"

namespace catena {
namespace cpu {
namespace {

KvLayout LayoutOf(const KvShape& shape) {
  return {.layers = shape.layers,
          .kv_heads = shape.kv_heads,
          .head_dim = shape.head_dim,
          .half = shape.dtype == DType::kF16};
}

class CpuKvPool : public KvPool {
 public:
  static absl::StatusOr<std::unique_ptr<KvPool>> Make(const KvShape& shape, int pages) {
    auto pool = std::make_unique<CpuKvPool>();
    pool->layout_ = LayoutOf(shape);
    pool->pages_ = pages;
    CATENA_ASSIGN_OR_RETURN(pool->memory_, HugeBuffer::Allocate(pool->layout_.page_bytes(), pages));
    return pool;
  }
  int pages() const override { return pages_; }
  int64_t page_bytes() const override { return layout_.page_bytes(); }
  void Zero(Stream&, absl::Span<const int32_t> ids) override {
    for (int32_t id : ids) {
      std::memset(memory_.data() + id * layout_.page_bytes(), 0, layout_.page_bytes());
    }
  }
  const KvLayout& layout() const { return layout_; }
  uint8_t* data() const { return memory_.data(); }

 private:
  KvLayout layout_{};
  int pages_ = 0;
  HugeBuffer memory_;
};

const Int8Kernels& Int8Of(CpuIsa isa) {
  if (isa >= CpuIsa::kAvx512Vnni) return Int8Avx512Vnni();
  if (isa == CpuIsa::kAvxVnni) return HasVexVnni() ? Int8AvxVnni() : Int8Avx512Vl();
  return Int8Avx2();
}

class CpuBackend : public HostBackend {
 public:
  CpuBackend(const CpuOptions& options, CpuIsa isa)
      : HostBackend(options.activations),
        int8_(Int8Of(isa)),
        has_bf16_(isa == CpuIsa::kAvx512Bf16),
        workers_(options.threads) {}

  void Rest() override { workers_.pool.Rest(); }
  void Prepare() override { workers_.pool.Prepare(); }

  absl::StatusOr<std::unique_ptr<PackedRows>> NewPackedRows(int max_rows,
                                                            int64_t max_cols) override {
    return CpuPackedRows::Make(max_rows, max_cols);
  }
  int64_t KvPageBytes(const KvShape& shape) const override { return LayoutOf(shape).page_bytes(); }
  absl::StatusOr<std::unique_ptr<KvPool>> NewKvPool(const KvShape& shape, int pages) override {
    return CpuKvPool::Make(shape, pages);
  }

  absl::StatusOr<std::unique_ptr<Weight>> Pack(absl::Span<const TensorView> tensors,
                                               WeightRole role) override {
    if (role != WeightRole::kLinear) return RowTable::Make(tensors, role);
    CATENA_RETURN_IF_ERROR(CheckPackable(tensors));
    return PanelWeight::Make(tensors, weights_, workers_);
  }
  int64_t PackedBytes(absl::Span<const TensorView> tensors, WeightRole role) const override {
    if (role == WeightRole::kLinear) return PanelWeight::Bytes(tensors);
    return RowTable::Bytes(tensors, role);
  }

  void Embed(Stream&, const Weight& table, const Batch& batch, const Rows& out) override {
    const auto& rows = static_cast<const RowTable&>(table);
    const FloatRows y = Floats(out);
    const int32_t* ids = batch.device().ids;
    workers_.pool.For(batch.rows(), [&](int64_t r, int) { rows.Lookup(ids[r], y.row(r)); });
  }

  void Norm(Stream&, const Rows& x, const Batch* wanted, const Weight& gain, float eps,
            const Weight& reader, PackedRows* out) override {
    const int n = wanted == nullptr ? x.rows : wanted->padded_wanted();
    const int32_t* rows = wanted == nullptr ? nullptr : wanted->device().wanted;
    CpuPackedRows* packed = Start(out, n, x.cols, reader);
    cpu::Norm(workers_, Floats(x), rows, static_cast<const RowTable&>(gain).values(), eps, packed);
  }

  void Linear(Stream&, const Weight& w, const PackedRows& in, LinearMode mode,
              const Rows& out) override {
    const auto& weight = static_cast<const PanelWeight&>(w);
    const auto& packed = static_cast<const CpuPackedRows&>(in);
    CATENA_CHECK(packed.cols() == w.cols() && packed.rows() <= out.rows && out.cols == w.rows());
    const FloatRows y = Floats(out.Slice(0, packed.rows()));
    const bool add = mode == LinearMode::kAdd;
    if (packed.format().rows != InputFormat::kInt8) {
      LinearFloat(workers_, {.weights = weight.panels(),
                             .dtype = w.dtype(),
                             .in = &packed,
                             .cols = w.cols(),
                             .out = y,
                             .add = add,
                             .has_bf16 = has_bf16_});
      return;
    }
    const Int8Linear job{.weights = weight.panels(),
                         .activations = packed.data(),
                         .rows = y.rows,
                         .cols = w.cols(),
                         .out = y,
                         .add = add};
    const Int8Panels panels = w.dtype() == DType::kQ8_0   ? int8_.q8_0
                              : w.dtype() == DType::kQ4_0 ? int8_.q4_0
                                                          : int8_.q4_1;
    ForPanels(workers_, y.cols, [&](int64_t begin, int64_t end, int worker) {
      panels(job, begin, end, workers_.Scratch(worker, Int8ScratchBytes(y.rows)));
    });
  }

  void RotaryFactors(Stream&, const Batch& batch, const Weight& frequencies, float scale,
                     const Rows& out) override {
    CATENA_CHECK(out.rows == batch.padded_rows() && out.cols == 2 * frequencies.cols());
    cpu::RotaryFactors(workers_, batch.device(), static_cast<const RowTable&>(frequencies).values(),
                       scale, Floats(out));
  }

  void RotaryAppend(Stream&, const Rows& qkv, const AttentionShape& shape, const Rows& factors,
                    const Batch& batch, int layer, KvPool* cache) override {
    auto* pool = static_cast<CpuKvPool*>(cache);
    cpu::RotaryAppend(workers_, Floats(qkv), shape, Floats(factors), batch.device(), layer,
                      pool->layout(), pool->data());
  }

  void Attention(Stream&, const Rows& qkv, const AttentionShape& shape, const Batch& batch,
                 int layer, const KvPool& cache, const Weight& reader, PackedRows* out) override {
    const auto& pool = static_cast<const CpuKvPool&>(cache);
    const int64_t cols = int64_t{shape.heads} * shape.head_dim;
    if (static_cast<int64_t>(attended_.size()) < batch.rows() * cols) {
      attended_.resize(batch.rows() * cols);
    }
    const FloatRows y{.data = attended_.data(), .rows = batch.rows(), .cols = cols, .stride = cols};
    cpu::Attention(workers_,
                   {.qkv = Floats(qkv),
                    .shape = shape,
                    .batch = batch.device(),
                    .layer = layer,
                    .layout = pool.layout(),
                    .cache = pool.data(),
                    .out = y},
                   &attention_scratch_);
    cpu::Pack(workers_, y, Start(out, batch.rows(), cols, reader));
  }

  void Gate(Stream&, const Rows& gate_up, const Weight& reader, PackedRows* out) override {
    cpu::Gate(workers_, Floats(gate_up), Start(out, gate_up.rows, gate_up.cols / 2, reader));
  }

 private:
  CpuPackedRows* Start(PackedRows* out, int rows, int64_t cols, const Weight& reader) const {
    PackFormat format{.rows = InputFormatOf(activations(), reader.dtype())};
    if (format.rows == InputFormat::kInt8) {
      format.offset = reader.dtype() == DType::kQ8_0   ? int8_.q8_offset
                      : reader.dtype() == DType::kQ4_0 ? 8
                                                       : 0;
    }
    auto* packed = static_cast<CpuPackedRows*>(out);
    packed->Start(rows, cols, format);
    return packed;
  }

  const Int8Kernels& int8_;
  const bool has_bf16_;
  Workers workers_;
  HugeArena weights_;
  std::vector<float> attended_;  // (rows, heads * head_dim)
  AttentionScratch attention_scratch_;
};

}  // namespace
}  // namespace cpu

std::string_view Name(CpuIsa isa) {
  switch (isa) {
    case CpuIsa::kAvx2:
      return "avx2";
    case CpuIsa::kAvxVnni:
      return "avx-vnni";
    case CpuIsa::kAvx512:
      return "avx512";
    case CpuIsa::kAvx512Vnni:
      return "avx512-vnni";
    case CpuIsa::kAvx512Bf16:
      return "avx512-bf16";
  }
  return "?";
}

// Leaf 7.1, EAX bit 4 of Intel's manual, volume 2, CPUID; clang 14's builtin does not know it.
bool HasVexVnni() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax >> 4 & 1) != 0;
}

bool Has(CpuIsa isa) {
  // Asked once: NewCpuBackend may narrow what Highway says later.
  static const int64_t targets = hwy::SupportedTargets();
  const bool avx2 = (targets & HWY_AVX2) != 0, avx512 = (targets & HWY_AVX3) != 0;
  const bool avx512_vnni = avx512 && __builtin_cpu_supports("avx512vnni");
  switch (isa) {
    case CpuIsa::kAvx2:
      return avx2;
    case CpuIsa::kAvxVnni:
      return avx512_vnni || (avx2 && HasVexVnni());
    case CpuIsa::kAvx512:
      return avx512;
    case CpuIsa::kAvx512Vnni:
      return avx512_vnni;
    case CpuIsa::kAvx512Bf16:
      return avx512_vnni && __builtin_cpu_supports("avx512bf16");
  }
  return false;
}

std::optional<CpuIsa> DetectCpuIsa() {
  for (CpuIsa isa : {CpuIsa::kAvx512Bf16, CpuIsa::kAvx512Vnni, CpuIsa::kAvx512, CpuIsa::kAvxVnni,
                     CpuIsa::kAvx2}) {
    if (Has(isa)) return isa;
  }
  return std::nullopt;
}

absl::StatusOr<std::unique_ptr<Backend>> NewCpuBackend(const CpuOptions& options) {
  const std::optional<CpuIsa> best = DetectCpuIsa();
  if (!best) return absl::UnimplementedError("this CPU has no AVX2; use --backend ref");
  const CpuIsa isa = options.isa.value_or(*best);
  CATENA_CHECK(Has(isa));
  if (options.isa) {
    hwy::SetSupportedTargetsForTest(isa < CpuIsa::kAvx512 ? HWY_AVX2 : HWY_AVX3 | HWY_AVX2);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
  try {
    return std::make_unique<cpu::CpuBackend>(options, isa);
  } catch (const std::system_error&) {
    return absl::ResourceExhaustedError(
        fmt::format("{} threads cannot be started; give fewer", options.threads));
  }
}

}  // namespace catena
