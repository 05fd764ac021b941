#include "model/weights/random_weights.h"

#include <cmath>
#include <cstring>
#include <new>

#include "kernels/base/float16.h"

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

// Quantised blocks: 32 random codes (no -128, which quantisers do not make) and a scale whose low
// mantissa bits are random too, so that a kernel which mixes up scales is found out. The codes of
// Q4_0 lean to the negative; the random sign of its scale takes that back.
void DrawBlocks(uint64_t key, DType dtype, int64_t cols, int64_t begin, int64_t end, uint8_t* out) {
  const double codes = dtype == DType::kQ8_0 ? 255 : 16;
  const double scale = kGain / std::sqrt(static_cast<double>(cols)) / SpreadOfLevels(codes);
  const uint16_t scale_bits = F32ToF16Saturating(static_cast<float>(scale)) & 0xff00;
  const int code_bytes = dtype == DType::kQ8_0 ? 32 : 16;
  for (int64_t row = begin; row < end; ++row) {
    RowStream stream(key, row);
    for (int64_t block = 0; block < cols / kQuantBlock; ++block) {
      const uint64_t header = stream.Next();
      uint16_t d = scale_bits | (header & 0xff);
      if (dtype == DType::kQ4_0) d |= (header >> 8 & 1) << 15;
      std::memcpy(out, &d, sizeof d);
      out += sizeof d;
      if (dtype == DType::kQ4_1) {
        const uint16_t m = F32ToF16Saturating(-7.5f * F16ToF32(d));
        std::memcpy(out, &m, sizeof m);
        out += sizeof m;
      }
      for (int i = 0; i < code_bytes; i += 8) {
        const uint64_t word = stream.Next();
        std::memcpy(out + i, &word, sizeof word);
      }
      if (dtype == DType::kQ8_0) {
        for (int i = 0; i < code_bytes; ++i) out[i] = out[i] == 0x80 ? 0x81 : out[i];
      }
      out += code_bytes;
    }
  }
}

}  // namespace

void DrawRows(uint64_t seed, const TensorSpec& tensor, DType dtype, int64_t begin, int64_t end,
              uint8_t* out) {
  CATENA_CHECK(tensor.cols % Info(dtype).block_values == 0);
  const uint64_t key = Mix(Mix(seed) ^ HashName(tensor.name));
  if (tensor.is_norm) return DrawGains(key, tensor.cols, begin, end, out);
  if (IsQuantised(dtype)) return DrawBlocks(key, dtype, tensor.cols, begin, end, out);
  if (dtype == DType::kF32) return DrawFloats<uint32_t>(key, dtype, tensor.cols, begin, end, out);
  return DrawFloats<uint16_t>(key, dtype, tensor.cols, begin, end, out);
}

absl::StatusOr<std::shared_ptr<const RandomWeights>> RandomWeights::Make(
    uint64_t seed, DType format, const std::vector<TensorSpec>& tensors) {
  std::shared_ptr<RandomWeights> out(new RandomWeights(seed, format));
  for (const TensorSpec& tensor : tensors) {
    if (!tensor.is_norm && tensor.cols % Info(format).block_values != 0) {
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
  view.dtype = tensor.is_norm ? DType::kF32 : format_;
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
