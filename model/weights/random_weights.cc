#include "model/weights/random_weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>

#include "kernels/base/float16.h"
#include "kernels/base/quant_block.h"

namespace catena {
namespace {

constexpr double kGain = 1.2;  // standard deviation times sqrt(cols)

// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection that avalanches.
constexpr uint64_t Mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// FNV-1a.
uint64_t HashName(std::string_view name) {
  uint64_t h = 0xcbf29ce484222325u;
  for (const char c : name) h = (h ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
  return h;
}

// The random words of one row, by counter.
class RowStream {
 public:
  RowStream(uint64_t tensor_key, int64_t row)
      : key_(Mix(tensor_key + Mix(static_cast<uint64_t>(row) + 1))) {}
  uint64_t Next() { return Mix(key_ + 0x9e3779b97f4a7c15u * ++counter_); }

 private:
  uint64_t key_, counter_ = 0;
};

// Standard deviation of n evenly spaced values that are 1 apart. sqrt is exact to the last bit by
// IEEE 754, so this is the same on every machine.
double SpreadOfLevels(double n) { return std::sqrt((n * n - 1) / 12); }

constexpr int kLevelBits = 12, kLevels = 1 << kLevelBits;
constexpr int kLevelsPerWord = 64 / kLevelBits;

uint32_t Encode(DType dtype, float value) {
  if (dtype == DType::kF16) return F32ToF16Saturating(value);
  if (dtype == DType::kBF16) return F32ToBF16(value);
  return std::bit_cast<uint32_t>(value);
}

// Plain floats: each value is one of kLevels, looked up in its encoded form. T is its bits.
template <typename T>
void DrawFloats(uint64_t key, DType dtype, int64_t cols, int64_t begin, int64_t end, uint8_t* out) {
  std::vector<T> level(kLevels);
  const double step = kGain / std::sqrt(static_cast<double>(cols)) / SpreadOfLevels(kLevels);
  for (int i = 0; i < kLevels; ++i) {
    const double value = (i - (kLevels - 1) / 2.0) * step;
    level[i] = static_cast<T>(Encode(dtype, static_cast<float>(value)));
  }
  for (int64_t row = begin; row < end; ++row, out += cols * sizeof(T)) {
    RowStream stream(key, row);
    int64_t i = 0;
    for (; i + kLevelsPerWord <= cols; i += kLevelsPerWord) {
      uint64_t word = stream.Next();
      for (int k = 0; k < kLevelsPerWord; ++k, word >>= kLevelBits) {
        std::memcpy(out + (i + k) * sizeof(T), &level[word & (kLevels - 1)], sizeof(T));
      }
    }
    for (uint64_t word = stream.Next(); i < cols; ++i, word >>= kLevelBits) {
      std::memcpy(out + i * sizeof(T), &level[word & (kLevels - 1)], sizeof(T));
    }
  }
}

void DrawGains(uint64_t key, int64_t cols, int64_t begin, int64_t end, uint8_t* out) {
  for (int64_t row = begin; row < end; ++row) {
    RowStream stream(key, row);
    for (int64_t i = 0; i < cols; ++i, out += sizeof(float)) {
      const float gain = 0.5f + static_cast<float>(stream.Next() >> 41) * 0x1p-23f;
      std::memcpy(out, &gain, sizeof gain);
    }
  }
}

// Moments of n evenly spaced values from `first` on, 1 apart.
struct Moments {
  double mean, square;
};
Moments OfLevels(double n, double first) {
  const double mean = first + (n - 1) / 2;
  return {mean, mean * mean + (n * n - 1) / 12};
}

// How the blocks of a quantised type are drawn: where its 16-bit floats lie (d; -1: MXFP4's
// exponent), and what spread random bytes about them give where d is 1.
struct BlockPlan {
  int d = 0, m = -1;
  double spread = 1;
  double minimum = 0;        // m is this times d, so that the mean is 0
  bool random_sign = false;  // of d: what takes the mean of the codes back
};

// Of a random multiple of d times a random code.
BlockPlan Product(int d, int m, Moments multiple, Moments code) {
  const double square = multiple.square * code.square;
  if (m < 0) return {.d = d, .spread = std::sqrt(square), .random_sign = true};
  const double mean = multiple.mean * code.mean;
  const double of_minimum = multiple.square - multiple.mean * multiple.mean;
  const double variance = square - mean * mean + code.mean * code.mean * of_minimum;
  return {.d = d, .m = m, .spread = std::sqrt(variance), .minimum = code.mean};
}

Moments OfCodebook(const int8_t* codebook) {
  Moments m{0, 0};
  for (int i = 0; i < 16; ++i) {
    m.mean += codebook[i] / 16.0;
    m.square += codebook[i] * codebook[i] / 16.0;
  }
  return m;
}

BlockPlan PlanOf(DType dtype) {
  const Moments one{1, 1};
  switch (dtype) {
    case DType::kQ8_0:
      return {.spread = SpreadOfLevels(255)};
    case DType::kQ4_0:
      return {.spread = SpreadOfLevels(16), .random_sign = true};
    case DType::kQ4_1:
      return {.m = 2, .spread = SpreadOfLevels(16), .minimum = 7.5};
    case DType::kQ5_0:
      return {.spread = SpreadOfLevels(32), .random_sign = true};
    case DType::kQ5_1:
      return {.m = 2, .spread = SpreadOfLevels(32), .minimum = 15.5};
    case DType::kIQ4_NL:
      return Product(0, -1, one, OfCodebook(kIq4Codebook));
    case DType::kMXFP4:
      return {.d = -1, .spread = std::sqrt(OfCodebook(kFp4Codebook).square)};
    case DType::kQ2_K:
      return Product(80, 82, OfLevels(16, 0), OfLevels(4, 0));
    case DType::kQ3_K:
      return Product(108, -1, OfLevels(64, -32), OfLevels(8, -4));
    case DType::kQ4_K:
      return Product(0, 2, OfLevels(64, 0), OfLevels(16, 0));
    case DType::kQ5_K:
      return Product(0, 2, OfLevels(64, 0), OfLevels(32, 0));
    case DType::kQ6_K:
      return Product(208, -1, OfLevels(256, -128), OfLevels(64, -32));
    case DType::kIQ4_XS:
      return Product(0, -1, OfLevels(64, -32), OfCodebook(kIq4Codebook));
    case DType::kF32:
    case DType::kF16:
    case DType::kBF16:
      break;
  }
  CATENA_CHECK(false);
  return {};
}

// Random bytes into out[0, n), whole words of the stream at a time.
void DrawBytes(RowStream* stream, int n, uint8_t* out) {
  for (int i = 0; i < n; i += 8) {
    const uint64_t word = stream->Next();
    std::memcpy(out + i, &word, std::min(n - i, 8));
  }
}

// About `scale`. The first three types have a random low byte; of the others `scale` may be so
// small that this would be all of it.
uint16_t DrawScale(DType dtype, float scale, bool random_sign, uint64_t header) {
  uint16_t d = 0;
  if (dtype == DType::kQ8_0 || dtype == DType::kQ4_0 || dtype == DType::kQ4_1) {
    d = static_cast<uint16_t>((F32ToF16Saturating(scale) & 0xff00) | (header & 0xff));
  } else {
    const float part = static_cast<float>(header & 0xff) / 1024.0f;
    d = F32ToF16Saturating(scale * (0.875f + part));
  }
  return random_sign ? d | (header >> 8 & 1) << 15 : d;
}

// Quantised blocks: random codes and multiples (of q8_0 no -128, which quantisers do not make), and
// a scale whose low mantissa bits are random too, so that a kernel which mixes up scales is found
// out.
void DrawBlocks(uint64_t key, DType dtype, int64_t cols, int64_t begin, int64_t end, uint8_t* out) {
  const BlockPlan plan = PlanOf(dtype);
  const int bytes = Info(dtype).block_bytes;
  const double scale = kGain / std::sqrt(static_cast<double>(cols)) / plan.spread;
  const int exponent = std::ilogb(scale) + 128;  // of MXFP4
  const int floats = plan.d < 0 ? 1 : plan.m < 0 ? 2 : 4;
  const int at = std::max(plan.d, 0);
  for (int64_t row = begin; row < end; ++row) {
    RowStream stream(key, row);
    for (int64_t block = 0; block < cols / Info(dtype).block_values; ++block, out += bytes) {
      const uint64_t header = stream.Next();
      const uint16_t d = DrawScale(dtype, static_cast<float>(scale), plan.random_sign, header);
      const uint16_t m = F32ToF16Saturating(static_cast<float>(-plan.minimum) * F16ToF32(d));
      DrawBytes(&stream, at, out);
      if (plan.d < 0) {  // the power below, or that above: 1.4 times on average
        out[0] = static_cast<uint8_t>(exponent + (header & 1));
      } else {
        std::memcpy(out + at, &d, sizeof d);
        // The K types subtract what the others add.
        const uint16_t sign = Info(dtype).block_values == kQuantSuperBlock ? 0x8000 : 0;
        const uint16_t stored = m ^ sign;
        if (plan.m >= 0) std::memcpy(out + plan.m, &stored, sizeof stored);
      }
      DrawBytes(&stream, bytes - at - floats, out + at + floats);
      if (dtype != DType::kQ8_0) continue;
      for (int i = 2; i < bytes; ++i) out[i] = out[i] == 0x80 ? 0x81 : out[i];
    }
  }
}

}  // namespace

void DrawRows(uint64_t seed, const TensorSpec& tensor, DType dtype, int64_t begin, int64_t end,
              uint8_t* out) {
  CATENA_CHECK(tensor.cols % Info(dtype).block_values == 0);
  const uint64_t key = Mix(Mix(seed) ^ HashName(tensor.name));
  if (tensor.is_vector) return DrawGains(key, tensor.cols, begin, end, out);
  if (IsQuantised(dtype)) return DrawBlocks(key, dtype, tensor.cols, begin, end, out);
  if (dtype == DType::kF32) return DrawFloats<uint32_t>(key, dtype, tensor.cols, begin, end, out);
  return DrawFloats<uint16_t>(key, dtype, tensor.cols, begin, end, out);
}

absl::StatusOr<std::shared_ptr<const RandomWeights>> RandomWeights::Make(
    uint64_t seed, DType format, const std::vector<TensorSpec>& tensors) {
  std::shared_ptr<RandomWeights> out(new RandomWeights(seed, format));
  for (const TensorSpec& tensor : tensors) {
    if (!tensor.is_vector && tensor.cols % Info(format).block_values != 0) {
      return absl::InvalidArgumentError(
          fmt::format("random weights: tensor {} has rows of {} values, which are not whole {} "
                      "blocks of {}; use "
                      "bf16, f16 or f32",
                      Quoted(tensor.name), tensor.cols, Name(format), Info(format).block_values));
    }
    out->tensors_.emplace(tensor.name, tensor);
  }
  return out;
}

absl::StatusOr<TensorView> RandomWeights::Find(const std::string& name) const {
  const auto it = tensors_.find(name);
  if (it == tensors_.end()) {
    return absl::NotFoundError(fmt::format("random weights: no tensor {}", Quoted(name)));
  }
  const TensorSpec& tensor = it->second;
  TensorView view;
  view.name = name;
  view.dtype = tensor.is_vector ? DType::kF32 : format_;
  view.rows = tensor.rows;
  view.cols = tensor.cols;
  const size_t size = static_cast<size_t>(tensor.rows * RowBytes(view.dtype, tensor.cols));
  std::shared_ptr<uint8_t[]> bytes(new (std::nothrow) uint8_t[size]);
  if (bytes == nullptr) {
    return absl::ResourceExhaustedError(
        fmt::format("random weights: no memory for tensor {} of {} bytes", Quoted(name), size));
  }
  DrawRows(seed_, tensor, view.dtype, 0, tensor.rows, bytes.get());
  view.bytes = {bytes.get(), size};
  view.owner = std::move(bytes);
  return view;
}

std::vector<std::string> RandomWeights::Names() const {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors_) names.push_back(name);
  return names;
}

}  // namespace catena
