// The specification of every operator, and the interface that a backend implements.
//
// A stage is a handful of passes over memory (see model/decoder_block.cc):
//
//   Embed             ids -> residual rows, once a batch
//   RotaryFactors     positions -> sines and cosines, once a batch
//   NormLinear        residual rows -> norm -> x q,k,v -> qkv rows
//   AdjustQkv         qkv rows: bias, norms of heads, where a model has any
//   RotaryAppend      qkv rows: rotate q and k, scale q, write k and v into the cache
//   AttentionLinear   q rows + cache -> attention -> x output, added to the residual rows
//   NormLinear        residual rows -> norm -> x gate,up -> gate_up rows
//   GateLinear        gate_up rows -> gated unit -> x down, added to the residual rows
//
// Where a model norms what attention and MLP give, they write rows of their own (LinearEnd), which
// AddNorm adds to the residual rows. SoftCap ends the logits of models that bound them.
//
// Exactness. Each op below says in which order its sums run and where it rounds. An implementation
// must give those bits, whatever else is in the batch, however a prompt was cut into batches and
// however many threads there are. kernels/ref/ is the same text as plain loops, and
// tests/kernels/backend_test.cc compares every backend with it. Two constructions recur:
//   chain(a, b):   acc = +0; for k ascending: acc = fma(a[k], b[k], acc)
//   lanes16(t):    16 partial sums, lane i taking the terms k = i mod 16 in ascending order, then
//                  lane i += lane i+8, then i+4, then i+2, then i+1
// All arithmetic is IEEE binary32, rounded to nearest even, subnormals kept but where it says so.
//
// Padding. A batch is computed as batch.padded_rows() rows (and batch.padded_wanted() that want
// logits), the number that Rows of its ops have. The rows past batch.rows() are inert: what is in
// them changes no bit of the others, nothing of them is written into the cache, and what ops leave
// in them is unspecified.
//
// Thread rules: a Backend may be used from one thread at a time; the ops run in the order of the
// calls on their Stream. Ops read the counts of a Batch when they are called, all else when they
// run.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/types/span.h"

#include "kernels/base/arithmetic.h"
#include "kernels/base/batch.h"
#include "kernels/base/dtype.h"
#include "kernels/base/gate.h"
#include "kernels/base/input_format.h"
#include "kernels/base/memory.h"
#include "kernels/base/status.h"
#include "kernels/base/tensor.h"
#include "kernels/base/top_logits.h"

namespace catena {

// A weight in the backend's own layout.
class Weight {
 public:
  virtual ~Weight() = default;
  virtual int64_t rows() const = 0;  // output features; of a table its rows
  virtual int64_t cols() const = 0;  // input features
  // Of the file, one after the other where tensors of several types were packed together.
  virtual absl::Span<const DType> dtypes() const = 0;
  virtual int64_t bytes() const = 0;  // held in memory by this weight, mapped pages not counted
};

enum class WeightRole {
  kLinear,     // the matrix of a linear layer
  kEmbedding,  // rows looked up by Embed; may stay in the file's mapping, row by row
  kTable,      // small, kept as float32: norm gains, rotary frequencies
};

struct AttentionShape {
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;
  int rotary_dim = 0;
  float scale = 1.0f;    // of the scores; multiplied into q by RotaryAppend
  int64_t window = 0;    // a query at p sees positions (p - window, p]; 0: all of [0, p]
  float softcap = 0.0f;  // of the scores; 0: none
};

// What becomes of the rows that a linear layer writes.
enum class LinearEnd {
  kAdd,  // out = out + linear
  kSet,  // out = linear
};

// What some models do to q, k and v before they are rotated: weights of kTable; null: not this one.
struct QkvTerms {
  const Weight* bias = nullptr;                       // (columns of qkv, 1)
  const Weight *q_norm = nullptr, *k_norm = nullptr;  // (1, head_dim): gains; both or neither
  float eps = 0.0f;                                   // of the norms
};

// What the steps of a stream may come to.
struct StepLimits {
  int rows = 0;              // of a batch, with the padding
  int64_t inputs = 0;        // columns of the widest weight
  AttentionShape attention;  // none where heads = 0
};

// A place in a stream's work: done when all that was issued before it was recorded is. One that was
// never recorded is done.
class Event {
 public:
  virtual ~Event() = default;
  virtual bool Ready() = 0;  // whether it is done
  virtual void Wait() = 0;   // until it is
};

// The order of a device's work, and the memory that its ops work in. Calls return before the work
// is done, but for the CPU's. REQUIRES: all is done before it goes, or what it works on.
class Stream {
 public:
  virtual ~Stream() = default;
  virtual void Record(Event* event) = 0;
  // What is issued from here on begins when the event, as it is recorded now, is done.
  virtual void Wait(const Event& event) = 0;
};

// Keys and values of one stage's blocks, in pages of kPagePositions absolute positions. A page
// holds all layers and heads of its positions. Rounded to `dtype` when written (saturating) and
// read back rounded, the row's own position too.
struct KvShape {
  int layers = 0;
  int kv_heads = 0;
  int head_dim = 0;
  DType dtype = DType::kF16;  // kF16 or kF32
};

class KvPool {
 public:
  virtual ~KvPool() = default;
  virtual int pages() const = 0;
  virtual int64_t page_bytes() const = 0;
  // Zeroes pages before a sequence uses them, so that no sequence reads another's values.
  virtual void Zero(Stream& stream, absl::Span<const int32_t> page_ids) = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;

  virtual Activations activations() const = 0;
  // What rows hold between ops: float32 on the CPU. Hidden states cross hops in it, lossless.
  virtual DType residual_dtype() const = 0;
  // Backends with the same id give the same bits for the same model and KV dtype
  // (docs/ARCHITECTURE.md).
  virtual std::string numerics_id() const = 0;

  // --- steps --------------------------------------------------------------------------------
  // A step's ops stand between BeginStep and EndStep; copies and KvPool::Zero stand outside. For
  // the same stream, batch object and padded numbers they are the same ops with the same arguments,
  // the contents of the batch and the rows apart: a device may record them once and run them again.
  // `another_soon`: whether the caller is about to begin another step, so that threads that wait
  // for ops should not sleep.
  virtual void BeginStep(Stream& stream, const Batch& batch) = 0;
  virtual void EndStep(Stream& stream, bool another_soon) = 0;
  // A step begins within microseconds: threads that sleep may wake meanwhile. From any thread.
  virtual void ExpectStep() {}

  // --- memory -------------------------------------------------------------------------------
  // With the workspace of its steps: ops allocate nothing.
  virtual absl::StatusOr<std::unique_ptr<Stream>> NewStream(const StepLimits& limits) = 0;
  virtual std::unique_ptr<Event> NewEvent() = 0;
  virtual absl::StatusOr<DeviceBuffer> AllocateDevice(size_t bytes) = 0;
  virtual absl::StatusOr<HostBuffer> AllocateHost(size_t bytes) = 0;
  // Of the device's memory; nothing where it is the host's, which is taken page by page.
  virtual std::optional<int64_t> FreeBytes() const { return std::nullopt; }
  // A batch with room for these. REQUIRES: rows and wanted are what PaddedRows gives for some
  // number.
  absl::StatusOr<std::unique_ptr<Batch>> NewBatch(const BatchLimits& limits) {
    const size_t bytes = Batch::Bytes(limits);
    CATENA_ASSIGN_OR_RETURN(HostBuffer host, AllocateHost(bytes));
    CATENA_ASSIGN_OR_RETURN(DeviceBuffer device, AllocateDevice(bytes));
    return std::make_unique<Batch>(limits, std::move(host), std::move(device));
  }
  // How many rows are computed where there are `rows`: a device that records a step for a number of
  // rows needs few such numbers. At least `rows`, and no less for more.
  virtual int PaddedRows(int rows) const { return rows; }
  // Pads the batch by PaddedRows and copies it, in stream order.
  virtual void Upload(Stream& stream, Batch* batch) = 0;
  // Copies, in stream order. REQUIRES: the same rows, cols and dtype; what they read stays as it is
  // until they are done.
  virtual void Upload(Stream& stream, const HostRows& from, const Rows& to) = 0;
  virtual void Copy(Stream& stream, const Rows& from, const Rows& to) = 0;
  // The rows in host memory, readable when the copy is done and until `from` or `to` is written
  // again: in `to`, or where they are if the host can read them there. REQUIRES: to.bytes >=
  // from.rows * RowBytes(from.dtype, from.cols).
  virtual HostRows Download(Stream& stream, const Rows& from, const HostBuffer& to) = 0;
  // Whether the host reads the device's memory where it is, so that a Download costs nothing.
  virtual bool shares_memory() const { return false; }
  virtual int64_t KvPageBytes(const KvShape& shape) const = 0;
  virtual absl::StatusOr<std::unique_ptr<KvPool>> NewKvPool(const KvShape& shape, int pages) = 0;

  // --- weights ------------------------------------------------------------------------------
  // Packs tensors with the same cols into one weight, their rows in the order given, each in its
  // own type. The views need not outlive the call, except that an embedding keeps its owner.
  // INVALID_ARGUMENT where a backend cannot take the shape.
  virtual absl::StatusOr<std::unique_ptr<Weight>> Pack(absl::Span<const TensorView> tensors,
                                                       WeightRole role) = 0;
  // The bytes() that Pack would give.
  virtual int64_t PackedBytes(absl::Span<const TensorView> tensors, WeightRole role) const = 0;

  // --- ops ----------------------------------------------------------------------------------
  // out[r] = w * scale, w = table[ids[r]] as float32: f16, bf16 exact; quantised types, with the
  // group's Scale, Minimum and quants q of kernels/base/quant_block.h: Scale * q, exact, or
  // fma(Scale, q, Minimum). REQUIRES: 0 <= ids[r] < table.rows() where there is a row.
  virtual void Embed(Stream& stream, const Weight& table, const Batch& batch, float scale,
                     const Rows& out) = 0;

  // The rotary factors (Su et al., RoFormer, 2021) of each row, which all blocks share. For a row
  // at position p, f = frequencies[the rotary table of its span] and h = f.cols():
  //   angle = float(p) * f[i];  out[i] = Cos(angle) * scale;  out[h + i] = Sin(angle) * scale
  // REQUIRES: out is kF32, (rows, 2h); |angle| < 2^36.
  virtual void RotaryFactors(Stream& stream, const Batch& batch, const Weight& frequencies,
                             float scale, const Rows& out) = 0;

  // `linear(x, w)` of the ops below is x . w^T, where x is rounded, once, to InputFormatOf
  // (activations(), w.dtypes()):
  // kF32: chain(x, w), quantised weights widened as by Embed.
  // kBf16: x rounded to bfloat16, to nearest even; acc = +0; for pairs (k, k+1) ascending, zeros
  //   past an odd end: acc = fma(x[k+1], w[k+1], acc); acc = fma(x[k], w[k], acc), where
  //   subnormal x, w and results are zeros. (This is VDPBF16PS: Intel's manual, volume 2.)
  // kInt8, over blocks b of 32 inputs ascending:
  //   a = rint(x * (1 / d_a)), d_a = max|x| / 127 (both 0 where max|x| < 1e-30)
  //   then for the groups of w's block ascending (one, or two of 16 inputs):
  //   s = the exact integer sum of w's quants times a;  acc = fma(Scale * s, d_a, acc)
  //   of types with minima then: acc = fma(Minimum, d_a * sum(a), acc)

  // out = linear(y, w), y the RMSNorm (Zhang and Sennrich, 2019) of the wanted rows of x (all where
  // `wanted` is null): s = lanes16(x*x); y = (x * (1 / sqrt(s / cols + eps))) * gain.
  // REQUIRES: out.rows == x.rows, or wanted->padded_wanted().
  virtual void NormLinear(Stream& stream, const Rows& x, const Batch* wanted, const Weight& gain,
                          float eps, const Weight& w, const Rows& out) = 0;

  // qkv: as RotaryAppend's. Each row is x = x + bias; then each head of q, and of k, is its RMSNorm
  // as in NormLinear, by the gains of its own.
  virtual void AdjustQkv(Stream& stream, const Rows& qkv, const AttentionShape& shape,
                         const QkvTerms& terms) = 0;

  // qkv: (rows, (heads + 2 kv_heads) * head_dim), q then k then v. Per row at position p, with the
  // row's factors of RotaryFactors, h cosines c then h sines s, h = rotary_dim/2:
  //   x[i] = fma(-x[i+h], s[i], x[i] * c[i]);  x[i+h] = fma(x[i], s[i], x[i+h] * c[i])   (i < h)
  // for every q and k head; then q *= scale; then k and v go to the cache at p.
  virtual void RotaryAppend(Stream& stream, const Rows& qkv, const AttentionShape& shape,
                            const Rows& factors, const Batch& batch, int layer, KvPool* cache) = 0;

  // out = linear(y, w), or out = out + linear(y, w), by `end`; y the softmax attention of each q
  // row over the cache, in pages of 64 absolute positions, ascending, with a running maximum m
  // (starting at -1e30), sum l and output o (Milakov and Gimelshein, 2018):
  //   score[j] = chain(q, k[j]), and where the shape has a softcap, SoftCap of that;
  //   m' = max(m, visible scores of the page); f = E(m - m')
  //   p[j] = visible ? E(score[j] - m') : 0
  //   l = fma(l, f, S) where S = lanes16(p) over the page's 64 terms
  //   o = o * f, then for the page's 64 positions ascending: o = fma(p[j], v[j], o)
  // E is exp with E(x) = 0 below -64, so that masked pages are neutral bit by bit. Each absolute
  // run of 512 positions has its own (m, l, o); runs merge ascending:
  //   m' = max(m, m2); a = E(m - m'), b = E(m2 - m'); l = fma(l, a, l2 * b), o = fma(o, a, o2 * b)
  // and y = o / l + 0 (no zero is negative). Values in the cache are finite: a sequence whose are
  // not is lost (its logits are not finite), and no other sequence reads them.
  virtual void AttentionLinear(Stream& stream, const Rows& qkv, const AttentionShape& shape,
                               const Batch& batch, int layer, const KvPool& cache, const Weight& w,
                               LinearEnd end, const Rows& out) = 0;

  // gate_up: (rows, 2n), gate then up. out = linear(y, w), or out = out + linear(y, w), by `end`:
  //   y = (g / (1 + exp(t))) * u, where t is -g of kSilu,
  //   and g * fma(g * g, kGeluCubic, kGeluLinear) of kGeluTanh
  virtual void GateLinear(Stream& stream, const Rows& gate_up, Gate gate, const Weight& w,
                          LinearEnd end, const Rows& out) = 0;

  // x = x + y', y' the RMSNorm of y as in NormLinear. REQUIRES: y.rows == x.rows.
  virtual void AddNorm(Stream& stream, const Rows& y, const Weight& gain, float eps,
                       const Rows& x) = 0;

  // x = (cap - (2 * cap) / (exp(x * (2 / cap)) + 1)) + (x - x), which is cap * tanh(x / cap), and
  // NaN where x is not finite: damaged weights still show. REQUIRES: float32, cap > 0.
  virtual void SoftCap(Stream& stream, float cap, const Rows& x) = 0;

  // out: (rows, kTopLogitsWords), in whose memory is a TopLogits a row of logits, as of TopLogitsOf
  // in kernels/base/top_logits.h. REQUIRES: both float32, out dense.
  virtual void TopLogitsOf(Stream& stream, const Rows& logits, const Rows& out) = 0;
};

}  // namespace catena
