// Every op of kernels.h on inputs of its own, as one table of cases: small shapes, which
// backend_test compares with the reference bit by bit, and those of real models, which
// bench/kernel_bench times.
//
// Thread rules: one thread.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "tests/kernels/op_fixture.h"

namespace catena::testing_kernels {

// The least that a run takes: what must be read, and products of what format.
struct OpWork {
  int64_t bytes = 0;
  int64_t macs = 0;
  InputFormat products = InputFormat::kF32;
};

class OpRun {
 public:
  explicit OpRun(Backend& backend) : backend_(backend), stream_(*backend.NewStream(kTestLimits)) {}
  virtual ~OpRun() = default;
  virtual void Run() = 0;                   // the op alone, again and again
  virtual std::vector<float> Result() = 0;  // of a first Run
  virtual OpWork work() const = 0;

 protected:
  DeviceRows Device(const std::vector<float>& values, int64_t cols) {
    return {backend_, *stream_, values, cols};
  }
  DeviceRows Device(int rows, int64_t cols, float value) {
    return {backend_, *stream_, rows, cols, value};
  }
  std::unique_ptr<Weight> Pack(const Matrix& m, WeightRole role) {
    return *backend_.Pack({m.view}, role);
  }

  Backend& backend_;
  std::unique_ptr<Stream> stream_;
};

struct OpCase {
  std::string op, shape;  // "linear q4_0", "3072 x 8192, 16 rows"
  Activations activations = Activations::kInt8;
  std::function<std::unique_ptr<OpRun>(Backend&)> make;
};

inline constexpr int kReaderRows = 24;  // of a weight that only shows what it reads

class EmbedRun : public OpRun {
 public:
  EmbedRun(Backend& b, DType dtype, float scale, int vocab, int cols, int rows)
      : OpRun(b),
        scale_(scale),
        table_(MakeMatrix(dtype, vocab, cols, 4)),
        out_(Device(rows, cols, 0.0f)) {
    weight_ = Pack(table_, WeightRole::kEmbedding);
    std::vector<int32_t> ids(rows);
    for (int r = 0; r < rows; ++r) ids[r] = (r * 7919 + vocab - 1) % vocab;
    batch_ = MakeBatch(b, *stream_, ids);
  }
  void Run() override { backend_.Embed(*stream_, *weight_, *batch_, scale_, out_.rows()); }
  std::vector<float> Result() override { return out_.Values(); }
  OpWork work() const override {
    return {.bytes = batch_->rows() * RowBytes(table_.view.dtype, table_.view.cols)};
  }

 private:
  float scale_;
  Matrix table_;
  std::unique_ptr<Weight> weight_;
  std::unique_ptr<Batch> batch_;
  DeviceRows out_;
};

// Logits of one kind or another; of more than two rows the last has one that is not finite.
class TopLogitsRun : public OpRun {
 public:
  enum Kind {
    kRandom,
    kEqual,    // of both zeros
    kCrowded,  // large ones in few places of each 1,024, so that parts of a row differ much
  };
  TopLogitsRun(Backend& b, int vocab, int rows, Kind kind)
      : OpRun(b),
        vocab_(vocab),
        logits_(Device(Logits(vocab, rows, kind), vocab)),
        top_(Device(rows, kTopLogitsWords, 0.5f)) {}
  void Run() override { backend_.TopLogitsOf(*stream_, logits_.rows(), top_.rows()); }
  std::vector<float> Result() override { return top_.Values(); }
  OpWork work() const override { return {.bytes = int64_t{logits_.rows().rows} * vocab_ * 4}; }

 private:
  static std::vector<float> Logits(int vocab, int rows, Kind kind) {
    std::vector<float> logits = RandomRows(rows, vocab, 21);
    for (size_t i = 0; i < logits.size(); ++i) {
      const size_t place = i % static_cast<size_t>(vocab) % 1024;
      if (kind == kEqual) logits[i] = i % 3 == 0 ? -0.0f : 0.0f;
      if (kind == kCrowded) logits[i] = place < 252 ? 20 + logits[i] : place < 256 ? 10.0f : 0.0f;
    }
    if (rows > 2) logits[logits.size() - 1] = INFINITY;
    return logits;
  }

  const int vocab_;
  DeviceRows logits_, top_;
};

// The least that a linear layer takes of `weight`.
inline OpWork LinearWork(const Weight& weight, int rows, Activations activations) {
  return {.bytes = weight.bytes(),
          .macs = rows * weight.rows() * weight.cols(),
          .products = InputFormatOf(activations, weight.dtypes())};
}

class NormLinearRun : public OpRun {
 public:
  NormLinearRun(Backend& b, DType dtype, int n, int k, int rows)
      : OpRun(b), rows_(rows), x_(Device(RandomRows(rows, k, 3), k)), out_(Device(rows, n, 0.5f)) {
    weight_ = Pack(MakeMatrix(dtype, n, k, 7), WeightRole::kLinear);
    gain_ = Pack(MakeMatrix(DType::kF32, 1, k, 8), WeightRole::kTable);
  }
  void Run() override {
    backend_.NormLinear(*stream_, x_.rows(), nullptr, *gain_, 1e-5f, *weight_, out_.rows());
  }
  std::vector<float> Result() override { return out_.Values(); }
  OpWork work() const override { return LinearWork(*weight_, rows_, backend_.activations()); }

 private:
  int rows_;
  DeviceRows x_, out_;
  std::unique_ptr<Weight> weight_, gain_;
};

class GateLinearRun : public OpRun {
 public:
  GateLinearRun(Backend& b, DType dtype, int n, int k, int rows, Gate gate, LinearEnd end)
      : OpRun(b),
        k_(k),
        rows_(rows),
        gate_(gate),
        end_(end),
        x_(Device(Inputs(), 2 * k)),
        out_(Device(rows, n, 0.5f)) {
    weight_ = Pack(MakeMatrix(dtype, n, k, 9), WeightRole::kLinear);
  }
  void Run() override {
    backend_.GateLinear(*stream_, x_.rows(), gate_, *weight_, end_, out_.rows());
  }
  std::vector<float> Result() override { return out_.Values(); }
  OpWork work() const override { return LinearWork(*weight_, rows_, backend_.activations()); }

 private:
  std::vector<float> Inputs() const {
    std::vector<float> x = RandomRows(rows_, 2 * k_, 5);
    for (float& f : x) f *= 8.0f;
    x[0] = 200.0f, x[1] = -200.0f, x[2] = 0.0f, x[3] = -0.0f;
    return x;
  }

  int k_, rows_;
  const Gate gate_;
  const LinearEnd end_;
  DeviceRows x_, out_;
  std::unique_ptr<Weight> weight_;
};

class AddNormRun : public OpRun {
 public:
  AddNormRun(Backend& b, int cols, int rows)
      : OpRun(b),
        y_(Device(RandomRows(rows, cols, 31), cols)),
        x_(Device(RandomRows(rows, cols, 32), cols)),
        gain_(Pack(MakeMatrix(DType::kF32, 1, cols, 33), WeightRole::kTable)) {}
  void Run() override { backend_.AddNorm(*stream_, y_.rows(), *gain_, 1e-5f, x_.rows()); }
  std::vector<float> Result() override { return x_.Values(); }
  OpWork work() const override { return {.bytes = 3 * x_.rows().bytes()}; }

 private:
  DeviceRows y_, x_;
  std::unique_ptr<Weight> gain_;
};

class SoftCapRun : public OpRun {
 public:
  SoftCapRun(Backend& b, int cols, int rows) : OpRun(b), x_(Device(Inputs(rows, cols), cols)) {}
  void Run() override { backend_.SoftCap(*stream_, 30.0f, x_.rows()); }
  std::vector<float> Result() override { return x_.Values(); }
  OpWork work() const override { return {.bytes = 2 * x_.rows().bytes()}; }

 private:
  static std::vector<float> Inputs(int rows, int cols) {
    std::vector<float> x = RandomRows(rows, cols, 34);
    for (float& f : x) f *= 40.0f;
    x[0] = 1e30f, x[1] = -1e30f, x[2] = 0.0f, x[3] = -INFINITY;
    return x;
  }
  DeviceRows x_;
};

// Heads and cache of the attention ops.
struct HeadShape {
  int heads, kv_heads, head_dim, rotary_dim;
  int64_t window;
  DType kv;
  float softcap = 0.0f;
};

// The last `rows` of `positions` positions of one sequence, in pages that are scattered.
class AttentionInputs : public OpRun {
 public:
  AttentionInputs(Backend& b, const HeadShape& s, int positions, int rows)
      : OpRun(b),
        s_(s),
        shape_{s.heads, s.kv_heads, s.head_dim, s.rotary_dim, 1.0f, s.window, s.softcap},
        cols_((s.heads + 2 * s.kv_heads) * s.head_dim),
        positions_(positions),
        rows_(rows) {
    const int pages = (positions + kPagePositions - 1) / kPagePositions;
    pool_ = *b.NewKvPool({2, s.kv_heads, s.head_dim, s.kv}, pages + 2);
    std::vector<int32_t> ids(pages);
    std::iota(ids.rbegin(), ids.rend(), 2);
    pool_->Zero(*stream_, ids);
    frequencies_ = Pack(MakeMatrix(DType::kF32, 2, s.rotary_dim / 2, 11), WeightRole::kTable);
    if (positions > rows) {
      Take(positions - rows, 0, ids);
      Append();
    }
    Take(rows, positions - rows, ids);
  }

 protected:
  // Sets up a batch of `rows` positions from `first` on.
  void Take(int rows, int first, const std::vector<int32_t>& ids) {
    batch_ = MakeBatch(backend_, *stream_, {{rows, first, ids, 1}});
    std::vector<float> qkv = RandomRows(rows, cols_, static_cast<uint32_t>(13 + first));
    for (float& x : qkv) x *= 0.3f;
    qkv_.emplace(Device(qkv, cols_));
    factors_.emplace(Device(rows, s_.rotary_dim, 0.0f));
    MakeFactors();
  }
  void MakeFactors() {
    backend_.RotaryFactors(*stream_, *batch_, *frequencies_, 1.0f, factors_->rows());
  }
  void Append() {
    backend_.RotaryAppend(*stream_, qkv_->rows(), shape_, factors_->rows(), *batch_, 1,
                          pool_.get());
  }

  const HeadShape s_;
  const AttentionShape shape_;
  const int cols_, positions_, rows_;
  std::unique_ptr<KvPool> pool_;
  std::unique_ptr<Weight> frequencies_;
  std::unique_ptr<Batch> batch_;
  std::optional<DeviceRows> qkv_, factors_;
};

class RotaryFactorsRun : public AttentionInputs {
 public:
  using AttentionInputs::AttentionInputs;
  void Run() override { MakeFactors(); }
  std::vector<float> Result() override { return factors_->Values(); }
  OpWork work() const override { return {.bytes = int64_t{rows_} * s_.rotary_dim * 4}; }
};

class AdjustQkvRun : public OpRun {
 public:
  AdjustQkvRun(Backend& b, const HeadShape& s, int rows, bool bias, bool norms)
      : OpRun(b),
        shape_{s.heads, s.kv_heads, s.head_dim, s.rotary_dim, 1.0f, s.window},
        cols_((s.heads + 2 * s.kv_heads) * s.head_dim),
        qkv_(Device(RandomRows(rows, cols_, 15), cols_)) {
    if (bias) bias_ = Pack(MakeMatrix(DType::kF32, cols_, 1, 16), WeightRole::kTable);
    if (!norms) return;
    q_norm_ = Pack(MakeMatrix(DType::kF32, 1, s.head_dim, 17), WeightRole::kTable);
    k_norm_ = Pack(MakeMatrix(DType::kBF16, 1, s.head_dim, 18), WeightRole::kTable);
  }
  void Run() override {
    backend_.AdjustQkv(*stream_, qkv_.rows(), shape_,
                       {bias_.get(), q_norm_.get(), k_norm_.get(), 1e-5f});
  }
  std::vector<float> Result() override { return qkv_.Values(); }
  OpWork work() const override { return {.bytes = int64_t{qkv_.rows().rows} * cols_ * 4}; }

 private:
  const AttentionShape shape_;
  const int cols_;
  DeviceRows qkv_;
  std::unique_ptr<Weight> bias_, q_norm_, k_norm_;
};

class RotaryAppendRun : public AttentionInputs {
 public:
  using AttentionInputs::AttentionInputs;
  void Run() override { Append(); }
  std::vector<float> Result() override {
    return qkv_->Values();
  }  // what it wrote, AttentionLinearRun reads
  OpWork work() const override { return {.bytes = int64_t{rows_} * cols_ * 4}; }
};

class AttentionLinearRun : public AttentionInputs {
 public:
  AttentionLinearRun(Backend& b, const HeadShape& s, int positions, int rows, DType reader)
      : AttentionInputs(b, s, positions, rows), out_(Device(rows, kReaderRows, 0.5f)) {
    Append();
    reader_ = Pack(MakeMatrix(reader, kReaderRows, s.heads * s.head_dim, 12), WeightRole::kLinear);
  }
  void Run() override {
    backend_.AttentionLinear(*stream_, qkv_->rows(), shape_, *batch_, 1, *pool_, *reader_,
                             LinearEnd::kAdd, out_.rows());
  }
  std::vector<float> Result() override { return out_.Values(); }
  OpWork work() const override {
    int64_t seen = 0;  // by all rows
    for (int p = positions_ - rows_; p < positions_; ++p) {
      seen += s_.window == 0 ? p + 1 : std::min<int64_t>(p + 1, s_.window);
    }
    const int64_t first = s_.window == 0 ? 0 : std::max<int64_t>(0, positions_ - s_.window);
    return {.bytes = 2 * (positions_ - first) * s_.kv_heads * RowBytes(s_.kv, s_.head_dim),
            .macs = 2 * seen * s_.heads * s_.head_dim};
  }

 private:
  DeviceRows out_;
  std::unique_ptr<Weight> reader_;
};

template <class T, class... Args>
OpCase Case(std::string op, std::string shape, Activations activations, Args... args) {
  return {
      std::move(op), std::move(shape), activations,
      [args...](Backend& b) -> std::unique_ptr<OpRun> { return std::make_unique<T>(b, args...); }};
}

// What the table of cases is over.
struct OpShapes {
  struct Matrix {
    int n, k;
  };
  std::vector<Matrix> linear;
  std::vector<int> rows;  // of the ops that are not attention's
  int vocab;
  struct Attention {
    HeadShape heads;
    int positions, rows;
  };
  std::vector<Attention> attention;
  struct Logits {
    int vocab, rows;
  };
  std::vector<Logits> logits;
};

// Around every edge of vectors, tiles, panels, pages and splits.
inline OpShapes SmallShapes() {
  return {.linear = {{33, 64}, {64, 1056}, {7, 32}, {300, 576}, {70, 256}, {40, 1792}},
          .rows = {1, 2, 5, 6, 7, 13, 70},
          .vocab = 50,
          .attention = {{{4, 4, 32, 32, 0, DType::kF16}, 200, 200},
                        {{6, 2, 16, 16, 0, DType::kF32}, 200, 1},
                        {{9, 3, 64, 64, 0, DType::kF16}, 190, 40},
                        {{2, 1, 96, 96, 70, DType::kF16}, 199, 8},
                        {{8, 4, 8, 8, 0, DType::kF32}, 64, 2},
                        {{4, 2, 32, 24, 16, DType::kF32}, 65, 65},
                        {{2, 2, 40, 20, 0, DType::kF16}, 1, 1},
                        {{7, 1, 48, 48, 0, DType::kF16}, 130, 3},
                        {{2, 1, 16, 16, 0, DType::kF16}, 1113, 1},
                        {{4, 2, 32, 32, 70, DType::kF16, 5.0f}, 200, 70},
                        {{8, 1, 256, 256, 0, DType::kF16, 50.0f}, 70, 3}},
          .logits = {{5, 1}, {64, 2}, {1023, 1}, {1024, 1}, {2500, 3}, {5200, 1}}};
}

// Phi-3-mini's, with one attention of SmolLM2's.
inline OpShapes ModelShapes() {
  const HeadShape phi3{32, 32, 96, 96, 0, DType::kF16}, smollm2{9, 3, 64, 64, 0, DType::kF16};
  return {.linear = {{3072, 8192}, {kReaderRows, 8192}},  // the one is read, the other's inputs are
          .rows = {1, 16, 512},
          .vocab = 32064,
          .attention = {{phi3, 512, 512}, {phi3, 4000, 1}, {phi3, 4000, 16}, {smollm2, 3500, 1}},
          .logits = {{32064, 1}, {32064, 64}}};
}

inline std::vector<OpCase> OpCases(const OpShapes& shapes) {
  std::vector<OpCase> all;
  const auto rows_of = [](int rows) { return fmt::format("{} row{}", rows, rows == 1 ? "" : "s"); };
  for (const auto& [n, k] : shapes.linear) {
    for (const int rows : shapes.rows) {
      const std::string row_cols = fmt::format("{}, {}", k, rows_of(rows));
      all.push_back(Case<AddNormRun>("add norm", row_cols, Activations::kF32, k, rows));
      all.push_back(Case<SoftCapRun>("soft cap", row_cols, Activations::kF32, k, rows));
      for (const DType t : kAllDTypes) {
        if (k % Info(t).block_values != 0) continue;
        for (const float scale : {1.0f, 54.54545f}) {
          all.push_back(
              Case<EmbedRun>(fmt::format("embed {}{}", Name(t), scale == 1.0f ? "" : " scaled"),
                             row_cols, Activations::kInt8, t, scale, shapes.vocab, k, rows));
        }
        for (const Activations a : kAllActivations) {
          const InputFormat format = InputFormatOf(a, t);
          const bool same =
              a != Activations::kInt8 && format == InputFormatOf(Activations::kInt8, t);
          if (same) continue;  // as with int8
          const char* by = format == InputFormat::kInt8   ? "int8"
                           : format == InputFormat::kBf16 ? "bf16"
                                                          : "f32";
          const std::string linear = fmt::format("linear {} x {}", Name(t), by);
          const std::string shape = fmt::format("{} x {}", n, row_cols);
          all.push_back(Case<NormLinearRun>("norm, " + linear, shape, a, t, n, k, rows));
          all.push_back(Case<GateLinearRun>("gate, " + linear + " +=", shape, a, t, n, k, rows,
                                            Gate::kSilu, LinearEnd::kAdd));
          all.push_back(Case<GateLinearRun>("gelu gate, " + linear, shape, a, t, n, k, rows,
                                            Gate::kGeluTanh, LinearEnd::kSet));
        }
      }
    }
  }
  for (const OpShapes::Logits& s : shapes.logits) {
    const std::string shape = fmt::format("{}, {}", s.vocab, rows_of(s.rows));
    const auto add = [&](const char* op, TopLogitsRun::Kind kind) {
      all.push_back(Case<TopLogitsRun>(op, shape, Activations::kF32, s.vocab, s.rows, kind));
    };
    add("top logits", TopLogitsRun::kRandom);
    add("top of equal logits", TopLogitsRun::kEqual);
    add("top of crowded logits", TopLogitsRun::kCrowded);
  }
  for (const auto& [s, positions, rows] : shapes.attention) {
    const std::string shape =
        fmt::format("{}/{} x {}{}{}, {} of {}", s.heads, s.kv_heads, s.head_dim,
                    s.window > 0 ? fmt::format(" window {}", s.window) : "",
                    s.softcap > 0 ? " capped" : "", rows, positions);
    const Activations f32 = Activations::kF32;
    all.push_back(Case<AdjustQkvRun>("bias of qkv", shape, f32, s, rows, true, false));
    all.push_back(Case<AdjustQkvRun>("norms of q and k", shape, f32, s, rows, false, true));
    all.push_back(Case<AdjustQkvRun>("bias and norms of qkv", shape, f32, s, rows, true, true));
    all.push_back(Case<RotaryFactorsRun>("rotary factors", shape, f32, s, positions, rows));
    all.push_back(Case<RotaryAppendRun>(fmt::format("rotary, append {}", Name(s.kv)), shape, f32, s,
                                        positions, rows));
    for (const DType reader : {DType::kF32, DType::kQ4_0}) {
      const bool quantised = IsQuantised(reader);
      if (quantised && s.heads * s.head_dim % kQuantBlock != 0) continue;
      all.push_back(Case<AttentionLinearRun>(
          fmt::format("attention {}, linear {} +=", Name(s.kv), Name(reader)), shape,
          quantised ? Activations::kInt8 : f32, s, positions, rows, reader));
    }
  }
  return all;
}

}  // namespace catena::testing_kernels
