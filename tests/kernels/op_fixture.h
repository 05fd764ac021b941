// What the kernel tests share: the backends of this machine, random matrices of any dtype, and rows
// that go to a device and come back.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "kernels/base/float16.h"
#include "kernels/ref/ref_backend.h"

namespace catena::testing_kernels {

struct BackendCase {
  std::string name;
  std::function<std::unique_ptr<Backend>(Activations, int threads)> make;
  bool emulated = false;  // its ops take a thousand times as long
};

// Those that a program tests: cpu_cases.cc has every instruction set of this machine, and
// tests/gpu/cuda_cases.cc the backend cuda in emulation.
std::vector<BackendCase> BackendCases();

struct Matrix {
  std::vector<uint8_t> bytes;
  TensorView view;
  Matrix() = default;
  Matrix(const Matrix& m) : bytes(m.bytes), view(m.view) { view.bytes = bytes; }
};

inline constexpr Activations kAllActivations[] = {Activations::kInt8, Activations::kBf16,
                                                  Activations::kF32};

inline std::vector<float> RandomRows(int rows, int cols, uint32_t seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<size_t>(rows) * cols);
  for (float& f : x) f = normal(rng);
  return x;
}

// Where the blocks of a quantised type have their 16-bit floats; -1: there is none.
struct HalvesOfBlock {
  int d, m;
};
inline HalvesOfBlock HalvesOf(DType t) {
  switch (t) {
    case DType::kQ4_1:
    case DType::kQ5_1:
    case DType::kQ4_K:
    case DType::kQ5_K:
      return {0, 2};
    case DType::kQ2_K:
      return {80, 82};
    case DType::kQ3_K:
      return {108, -1};
    case DType::kQ6_K:
      return {208, -1};
    default:
      return {0, -1};
  }
}

// A block of random quants with scales around 0.01, both signs.
inline void MakeQuants(DType t, float scale, float minimum, std::mt19937* rng, uint8_t* block) {
  for (int b = 0; b < Info(t).block_bytes; ++b) block[b] = static_cast<uint8_t>((*rng)());
  if (t == DType::kMXFP4) {  // of which some exponents are near the least
    block[0] = block[0] < 4 ? block[0] : 116 + block[0] % 8;
    return;
  }
  const uint16_t d = F32ToF16Saturating(0.01f * scale), m = F32ToF16Saturating(0.05f * minimum);
  const HalvesOfBlock at = HalvesOf(t);
  std::memcpy(block + at.d, &d, 2);
  if (at.m >= 0) std::memcpy(block + at.m, &m, 2);
}

// Random values; of a quantised type random quants.
inline Matrix MakeMatrix(DType dtype, int rows, int cols, uint32_t seed) {
  std::mt19937 rng(seed);
  Matrix m;
  const std::vector<float> values = RandomRows(rows, cols, seed);
  m.bytes.resize(rows * RowBytes(dtype, cols));
  const DTypeInfo info = Info(dtype);
  for (size_t i = 0, at = 0; at < m.bytes.size(); ++i, at += info.block_bytes) {
    uint8_t* p = m.bytes.data() + at;
    if (IsQuantised(dtype)) {
      MakeQuants(dtype, values[i * kQuantBlock], values[i * kQuantBlock + 1], &rng, p);
    } else {
      const uint16_t half =
          dtype == DType::kF16 ? F32ToF16Saturating(values[i]) : F32ToBF16(values[i]);
      if (dtype == DType::kF32) {
        std::memcpy(p, &values[i], 4);
      } else {
        std::memcpy(p, &half, 2);
      }
    }
  }
  m.view = {.name = "matrix",
            .dtype = dtype,
            .rows = rows,
            .cols = cols,
            .bytes = m.bytes,
            .interleaved_head_dim = 0,
            .owner = nullptr};
  return m;
}

// More than any test comes to.
inline constexpr StepLimits kTestLimits = {
    .rows = 2048,
    .inputs = 16384,
    .attention = {.heads = 32, .kv_heads = 32, .head_dim = 256, .rotary_dim = 256}};

// Waits for all that was issued.
inline void Synchronize(Backend& backend, Stream& stream) {
  const auto event = backend.NewEvent();
  stream.Record(event.get());
  event->Wait();
}

// The values of rows on the device.
inline std::vector<float> Fetch(Backend& backend, Stream& stream, const Rows& rows) {
  const HostBuffer buffer = *backend.AllocateHost(rows.rows * RowBytes(rows.dtype, rows.cols));
  const HostRows host = backend.Download(stream, rows, buffer);
  Synchronize(backend, stream);
  std::vector<float> values;
  for (int r = 0; r < rows.rows; ++r) {
    values.insert(values.end(), host.row(r), host.row(r) + rows.cols);
  }
  return values;
}

// Rows of float32 on the device, with values from the host, and as many more as the backend pads.
class DeviceRows {
 public:
  DeviceRows(Backend& backend, Stream& stream, const std::vector<float>& values, int64_t cols)
      : backend_(backend),
        stream_(stream),
        n_(static_cast<int>(static_cast<int64_t>(values.size()) / cols)),
        buffer_(*backend.AllocateDevice(backend.PaddedRows(n_) * RowBytes(DType::kF32, cols))),
        rows_(buffer_.As(backend.PaddedRows(n_), cols, DType::kF32)) {
    backend.Upload(stream, {values.data(), n_, cols, cols, DType::kF32}, rows_.Slice(0, n_));
    Synchronize(backend, stream);
  }
  // All of one value.
  DeviceRows(Backend& backend, Stream& stream, int rows, int64_t cols, float value = 0.0f)
      : DeviceRows(backend, stream, std::vector<float>(rows * cols, value), cols) {}

  const Rows& rows() const { return rows_; }  // with the padding
  std::vector<float> Values() const { return Fetch(backend_, stream_, rows_.Slice(0, n_)); }

 private:
  Backend& backend_;
  Stream& stream_;
  int n_;
  DeviceBuffer buffer_;
  Rows rows_;
};

// Consecutive positions of one sequence, ids from 0 on.
struct TestSpan {
  int rows, first_position;
  std::vector<int32_t> pages;
  int rotary = 0;
};

inline std::unique_ptr<Batch> MakeBatch(Backend& backend, Stream& stream,
                                        const std::vector<TestSpan>& spans) {
  int rows = 0;
  int64_t pages = 0;
  for (const TestSpan& span : spans) {
    rows += span.rows;
    pages += static_cast<int64_t>(span.pages.size());
  }
  auto batch = *backend.NewBatch({.rows = backend.PaddedRows(rows), .pages = pages});
  for (const TestSpan& span : spans) {
    std::vector<int32_t> ids(span.rows);
    std::iota(ids.begin(), ids.end(), 0);
    batch->Add(ids, span.first_position, span.pages, span.rotary);
  }
  backend.Upload(stream, batch.get());
  Synchronize(backend, stream);
  return batch;
}

// One of ids alone.
inline std::unique_ptr<Batch> MakeBatch(Backend& backend, Stream& stream,
                                        const std::vector<int32_t>& ids) {
  const int rows = static_cast<int>(ids.size());
  const std::vector<int32_t> pages(rows / kPagePositions + 1, 0);
  auto batch = *backend.NewBatch(
      {.rows = backend.PaddedRows(rows), .pages = static_cast<int64_t>(pages.size())});
  batch->Add(ids, 0, pages, 0);
  backend.Upload(stream, batch.get());
  Synchronize(backend, stream);
  return batch;
}

// One of rows that want logits, alone.
inline std::unique_ptr<Batch> MakeWanted(Backend& backend, Stream& stream,
                                         const std::vector<int32_t>& rows) {
  auto batch = *backend.NewBatch({.wanted = backend.PaddedRows(static_cast<int>(rows.size()))});
  batch->Want(rows);
  backend.Upload(stream, batch.get());
  Synchronize(backend, stream);
  return batch;
}

inline std::vector<uint32_t> Bits(const std::vector<float>& x) {
  std::vector<uint32_t> bits(x.size());
  std::memcpy(bits.data(), x.data(), x.size() * 4);
  return bits;
}

}  // namespace catena::testing_kernels
