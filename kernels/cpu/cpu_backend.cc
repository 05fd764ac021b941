#include "kernels/cpu/cpu_backend.h"

#include <cstring>
#include <string>
#include <system_error>
#include <vector>

#include "hwy/highway.h"
#include <cpuid.h>
#include <fmt/ranges.h>

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

class CpuStream : public HostStream {
 public:
  static absl::StatusOr<std::unique_ptr<CpuStream>> Make(const StepLimits& limits) {
    auto stream = std::make_unique<CpuStream>();
    const AttentionShape& shape = limits.attention;
    const int64_t attended = int64_t{limits.rows} * shape.heads * shape.head_dim;
    CATENA_ASSIGN_OR_RETURN(stream->packed, CpuPackedRows::Make(limits.rows, limits.inputs));
    CATENA_ASSIGN_OR_RETURN(stream->attended, HugeBuffer::Allocate(attended * sizeof(float)));
    CATENA_ASSIGN_OR_RETURN(stream->attention, AttentionScratch::Make(limits.rows, shape.kv_heads));
    return stream;
  }

  CpuPackedRows packed;  // what a linear layer reads
  HugeBuffer attended;   // (rows, heads * head_dim)
  AttentionScratch attention;
};

class CpuBackend : public HostBackend {
 public:
  CpuBackend(const CpuOptions& options, CpuIsa isa)
      : HostBackend(options.activations),
        int8_(Int8Of(isa)),
        has_bf16_(isa == CpuIsa::kAvx512Bf16),
        workers_(options.threads) {}

  void BeginStep(Stream&, const Batch&) override {}
  void EndStep(Stream&, bool another_soon) override {
    if (!another_soon) workers_.pool.Rest();
  }
  void ExpectStep() override { workers_.pool.Prepare(); }

  absl::StatusOr<std::unique_ptr<Stream>> NewStream(const StepLimits& limits) override {
    const int64_t row_bytes = limits.inputs * int64_t{sizeof(float)};
    CATENA_RETURN_IF_ERROR(workers_.Reserve(
        std::max({row_bytes, AttentionScratchBytes(limits.attention),
                  FloatScratchBytes(limits.rows), Int8ScratchBytes(limits.rows)})));
    return CpuStream::Make(limits);
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

  void Embed(Stream&, const Weight& table, const Batch& batch, float scale,
             const Rows& out) override {
    const auto& rows = static_cast<const RowTable&>(table);
    const FloatRows y = Floats(out);
    const int32_t* ids = batch.device().ids;
    workers_.pool.For(batch.rows(), [&](int64_t r, int) { rows.Lookup(ids[r], scale, y.row(r)); });
  }

  void NormLinear(Stream& stream, const Rows& x, const Batch* wanted, const Weight& gain, float eps,
                  const Weight& w, const Rows& out) override {
    const int n = wanted == nullptr ? x.rows : wanted->padded_wanted();
    const int32_t* rows = wanted == nullptr ? nullptr : wanted->device().wanted;
    CATENA_CHECK(out.rows == n);
    CpuPackedRows* packed = Start(stream, n, w);
    cpu::Norm(workers_, Floats(x), rows, static_cast<const RowTable&>(gain).values(), eps, packed);
    Linear(*packed, w, LinearEnd::kSet, Floats(out));
  }

  void RotaryFactors(Stream&, const Batch& batch, const Weight& frequencies, float scale,
                     const Rows& out) override {
    CATENA_CHECK(out.rows == batch.padded_rows() && out.cols == 2 * frequencies.cols());
    cpu::RotaryFactors(workers_, batch.device(), static_cast<const RowTable&>(frequencies).values(),
                       scale, Floats(out));
  }

  void AdjustQkv(Stream&, const Rows& qkv, const AttentionShape& shape,
                 const QkvTerms& terms) override {
    cpu::AdjustQkv(workers_, Floats(qkv), shape,
                   {.bias = RowTable::Values(terms.bias),
                    .q_gain = RowTable::Values(terms.q_norm),
                    .k_gain = RowTable::Values(terms.k_norm),
                    .eps = terms.eps});
  }

  void RotaryAppend(Stream&, const Rows& qkv, const AttentionShape& shape, const Rows& factors,
                    const Batch& batch, int layer, KvPool* cache) override {
    auto* pool = static_cast<CpuKvPool*>(cache);
    cpu::RotaryAppend(workers_, Floats(qkv), shape, Floats(factors), batch.device(), layer,
                      pool->layout(), pool->data());
  }

  void AttentionLinear(Stream& stream, const Rows& qkv, const AttentionShape& shape,
                       const Batch& batch, int layer, const KvPool& cache, const Weight& w,
                       LinearEnd end, const Rows& out) override {
    const auto& pool = static_cast<const CpuKvPool&>(cache);
    auto& own = static_cast<CpuStream&>(stream);
    const FloatRows y{.data = reinterpret_cast<float*>(own.attended.data()),
                      .rows = batch.rows(),
                      .cols = w.cols(),
                      .stride = w.cols()};
    CATENA_CHECK(y.cols == int64_t{shape.heads} * shape.head_dim);
    CATENA_CHECK(y.rows * y.cols * sizeof(float) <= own.attended.bytes());
    cpu::Attention(workers_,
                   {.qkv = Floats(qkv),
                    .shape = shape,
                    .batch = batch.device(),
                    .layer = layer,
                    .layout = pool.layout(),
                    .cache = pool.data(),
                    .out = y},
                   &own.attention);
    CpuPackedRows* packed = Start(stream, y.rows, w);
    cpu::Pack(workers_, y, packed);
    Linear(*packed, w, end, Floats(out.Slice(0, y.rows)));
  }

  void GateLinear(Stream& stream, const Rows& gate_up, Gate gate, const Weight& w, LinearEnd end,
                  const Rows& out) override {
    CATENA_CHECK(gate_up.cols == 2 * w.cols());
    CpuPackedRows* packed = Start(stream, gate_up.rows, w);
    cpu::GatedUnit(workers_, gate, Floats(gate_up), packed);
    Linear(*packed, w, end, Floats(out));
  }

  void AddNorm(Stream&, const Rows& y, const Weight& gain, float eps, const Rows& x) override {
    CATENA_CHECK(y.rows == x.rows && y.cols == x.cols);
    cpu::AddNorm(workers_, Floats(y), static_cast<const RowTable&>(gain).values(), eps, Floats(x));
  }

  void SoftCap(Stream&, float cap, const Rows& x) override {
    cpu::SoftCap(workers_, cap, Floats(x));
  }

 private:
  // The stream's packed rows, to be filled for `w`.
  CpuPackedRows* Start(Stream& stream, int rows, const Weight& w) const {
    CpuPackedRows* packed = &static_cast<CpuStream&>(stream).packed;
    packed->Start(rows, w.cols(), InputFormatOf(activations(), w.dtypes()));
    return packed;
  }

  void Linear(const CpuPackedRows& packed, const Weight& w, LinearEnd how, const FloatRows& y) {
    const bool add = how == LinearEnd::kAdd;
    const auto& weight = static_cast<const PanelWeight&>(w);
    CATENA_CHECK(packed.rows() == y.rows && y.cols == w.rows());
    workers_.pool.ForRuns(weight.panels(), [&](int64_t begin, int64_t end, int worker) {
      for (const PanelSegment& s : weight.segments()) {
        const int64_t first = std::max(begin - s.first_panel, int64_t{0});
        const int64_t last = std::min(end - s.first_panel, s.panels());
        if (first < last) LinearSegment(packed, weight, s, add, y, first, last, worker);
      }
    });
  }
  // Panels [begin, end) of one segment.
  void LinearSegment(const CpuPackedRows& packed, const PanelWeight& w, const PanelSegment& s,
                     bool add, const FloatRows& y, int64_t begin, int64_t end, int worker) {
    const Int8Kernel& kernel = int8_[static_cast<int>(s.dtype)];
    const FloatRows out{y.data + s.first_row, y.rows, s.rows, y.stride};
    if (packed.format() == InputFormat::kInt8) {
      const Int8Linear job{.weights = w.data(s),
                           .activations = packed.data(),
                           .rows = y.rows,
                           .cols = w.cols(),
                           .out = out,
                           .add = add};
      return kernel.panels(job, begin, end, workers_.Scratch(worker, Int8ScratchBytes(y.rows)));
    }
    const FloatLinear job{.weights = w.data(s),
                          .dtype = s.dtype,
                          .in = &packed,
                          .cols = w.cols(),
                          .out = out,
                          .add = add,
                          .has_bf16 = has_bf16_,
                          .unpack = kernel.unpack};
    FloatPanels(job, begin, end, workers_.Scratch(worker, FloatScratchBytes(y.rows)));
  }

  const Int8Kernels& int8_;
  const bool has_bf16_;
  Workers workers_;
  HugeArena weights_;
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

namespace {

constexpr CpuIsa kCpuIsas[] = {CpuIsa::kAvx2, CpuIsa::kAvxVnni, CpuIsa::kAvx512,
                               CpuIsa::kAvx512Vnni, CpuIsa::kAvx512Bf16};
CpuIsa best_wanted = CpuIsa::kAvx512Bf16;

// Leaf 7.1, EAX bit 4 of Intel's manual, volume 2, CPUID; clang 14's builtin does not know it.
bool MachineHasVexVnni() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax >> 4 & 1) != 0;
}

// What Highway chooses among from here on.
void NarrowHighway(CpuIsa isa) {
  hwy::SetSupportedTargetsForTest(isa < CpuIsa::kAvx512 ? HWY_AVX2 : HWY_AVX3 | HWY_AVX2);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

bool MachineHas(CpuIsa isa) {
  // Asked once: NarrowHighway changes what Highway says.
  static const int64_t targets = hwy::SupportedTargets();
  const bool avx2 = (targets & HWY_AVX2) != 0, avx512 = (targets & HWY_AVX3) != 0;
  const bool avx512_vnni = avx512 && __builtin_cpu_supports("avx512vnni");
  switch (isa) {
    case CpuIsa::kAvx2:
      return avx2;
    case CpuIsa::kAvxVnni:
      return avx512_vnni || (avx2 && MachineHasVexVnni());
    case CpuIsa::kAvx512:
      return avx512;
    case CpuIsa::kAvx512Vnni:
      return avx512_vnni;
    case CpuIsa::kAvx512Bf16:
      return avx512_vnni && __builtin_cpu_supports("avx512bf16");
  }
  return false;
}

}  // namespace

bool Has(CpuIsa isa) { return isa <= best_wanted && MachineHas(isa); }
bool HasVexVnni() { return Has(CpuIsa::kAvxVnni) && MachineHasVexVnni(); }

std::optional<CpuIsa> DetectCpuIsa() {
  std::optional<CpuIsa> best;
  for (const CpuIsa isa : kCpuIsas) {
    if (Has(isa)) best = isa;
  }
  return best;
}

absl::Status LimitCpuIsa(std::string_view name) {
  std::vector<std::string_view> here;
  for (const CpuIsa isa : kCpuIsas) {
    if (!MachineHas(isa)) continue;
    here.push_back(Name(isa));
    if (Name(isa) != name) continue;
    best_wanted = isa;
    NarrowHighway(isa);
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      fmt::format("{}: this CPU has {}", name,
                  here.empty() ? "none of them" : fmt::format("{}", fmt::join(here, ", "))));
}

std::string CpuIsaNames() {
  std::vector<std::string_view> names;
  for (const CpuIsa isa : kCpuIsas) names.push_back(Name(isa));
  return fmt::format("{}", fmt::join(names, ", "));
}

absl::StatusOr<std::unique_ptr<Backend>> NewCpuBackend(const CpuOptions& options) {
  const std::optional<CpuIsa> best = DetectCpuIsa();
  if (!best) return absl::UnimplementedError("this CPU has no AVX2; use --backend ref");
  const CpuIsa isa = options.isa.value_or(*best);
  CATENA_CHECK(Has(isa));
  if (options.isa) NarrowHighway(isa);
  try {
    return std::make_unique<cpu::CpuBackend>(options, isa);
  } catch (const std::system_error&) {
    return absl::ResourceExhaustedError(
        fmt::format("{} threads cannot be started; give fewer", options.threads));
  }
}

}  // namespace catena
