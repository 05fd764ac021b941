#include "model/weights/quantised/module_reader.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include <fmt/ranges.h>

#include "kernels/base/dequantise.h"

namespace catena {
namespace {

using Layout = QuantScheme::Layout;

constexpr std::string_view kFloats = "use the original weights, or a GGUF file";

int64_t CeilDiv(int64_t a, int64_t b) { return (a - 1) / b + 1; }

// By the header's spelling.
std::optional<DType> FloatType(std::string_view name) {
  if (name == "F32") return DType::kF32;
  if (name == "F16") return DType::kF16;
  if (name == "BF16") return DType::kBF16;
  return std::nullopt;
}

int32_t Int32At(const StoredTensor& t, int64_t i) {
  int32_t v;
  std::memcpy(&v, t.bytes.data() + i * 4, sizeof v);
  return v;
}

// Values of 4 or 8 bits in a word, and in those of a (1, cols) matrix.
uint8_t CodeOf(uint32_t word, int bits, int64_t place) {
  return static_cast<uint8_t>(word >> place * bits & ((1u << bits) - 1));
}

uint8_t CodeAt(const StoredTensor& words, int bits, int64_t word, int64_t place) {
  return CodeOf(static_cast<uint32_t>(Int32At(words, word)), bits, place);
}

// All -1, as compressed-tensors makes an index before it has an order to put there.
bool IsUnset(const StoredTensor& index) {
  return std::all_of(index.bytes.begin(), index.bytes.end(),
                     [](uint8_t byte) { return byte == 0xff; });
}

}  // namespace

bool IsQuantisedModule(const SafetensorsSource& file, const QuantScheme& scheme,
                       const std::string& module) {
  if (scheme.layout == Layout::kAwq || scheme.layout == Layout::kGptq) {
    return file.Has(module + ".qweight");
  }
  if (scheme.layout == Layout::kCompressed && file.Has(module + ".weight_packed")) return true;
  const auto weight = file.FindRaw(module + ".weight");
  return weight.ok() && (weight->type == "I8" || weight->type == "F8_E4M3");
}

absl::Status ModuleReader::Corrupt(std::string_view part, std::string_view why) const {
  return absl::DataLossError(
      fmt::format("{}: tensor {} {}; the file is damaged, or not of the layout that config.json "
                  "names ({}); fetch it again",
                  path_, Quoted(Spell(part)), why, scheme_.name));
}

absl::Status ModuleReader::Refuse(std::string_view part, std::string_view what,
                                  std::string_view instead) const {
  return absl::InvalidArgumentError(fmt::format("{}: tensor {} {}, which is not supported; {}",
                                                path_, Quoted(Spell(part)), what, instead));
}

absl::StatusOr<StoredTensor> ModuleReader::Get(const char* part,
                                               std::vector<std::string_view> types) {
  auto found = file_.FindRaw(Spell(part));
  if (absl::IsNotFound(found.status())) {
    return absl::DataLossError(
        fmt::format("{}: no tensor {}, which a weight quantised by {} needs; the file is "
                    "incomplete, fetch it again",
                    path_, Quoted(Spell(part)), scheme_.name));
  }
  if (!found.ok()) return found.status();
  if (std::count(types.begin(), types.end(), found->type) == 0) {
    return Refuse(part,
                  fmt::format("is of dtype {} where {} {} is read here", Quoted(found->type),
                              scheme_.name, fmt::join(types, " or ")),
                  kFloats);
  }
  used_.push_back(*found);
  return found;
}

absl::Status ModuleReader::CheckExtent(const StoredTensor& t, std::vector<int64_t> want) const {
  if (t.shape == want) return absl::OkStatus();
  return Corrupt(
      std::string_view(t.name).substr(module_.size()),
      fmt::format("has the shape ({}), not ({})", fmt::join(t.shape, ", "), fmt::join(want, ", ")));
}

absl::StatusOr<QuantMatrix> ModuleReader::Read() {
  matrix_.name = Spell(".weight");
  absl::Status read;
  switch (scheme_.layout) {
    case Layout::kAwq:
      read = ReadAwq();
      break;
    case Layout::kGptq:
      read = ReadGptq();
      break;
    case Layout::kCompressed:
      read = Has(".weight_packed") ? ReadPacked() : ReadBytes();
      break;
    case Layout::kFp8:
      read = ReadBytes();
      break;
  }
  CATENA_RETURN_IF_ERROR(read);
  for (const float s : matrix_.scales) {
    if (!std::isfinite(s)) return Corrupt(".weight", "has scales that are no finite numbers");
  }
  return std::move(matrix_);
}

// --- column by column: AWQ, GPTQ ---

absl::Status ModuleReader::ReadAwq() {
  CATENA_ASSIGN_OR_RETURN(const StoredTensor codes, Get(".qweight", {"I32"}));
  if (codes.shape.size() != 2 || codes.bytes.empty()) return Corrupt(".qweight", "is no matrix");
  matrix_.cols = codes.shape[0];
  matrix_.rows = codes.shape[1] * 8;
  matrix_.bits = 4;
  matrix_.layout = CodeLayout::kAwqWords;
  matrix_.codes = codes.bytes;
  CATENA_RETURN_IF_ERROR(ReadColumnScales());
  const int64_t groups = matrix_.blocks_a_row, words = matrix_.rows / 8;
  CATENA_ASSIGN_OR_RETURN(const StoredTensor zeros, Get(".qzeros", {"I32"}));
  CATENA_RETURN_IF_ERROR(CheckExtent(zeros, {groups, words}));
  constexpr int kPlace[8] = {0, 4, 1, 5, 2, 6, 3, 7};  // of each eighth row in a word
  for (int64_t r = 0; r < matrix_.rows; ++r) {
    for (int64_t g = 0; g < groups; ++g) {
      matrix_.zeros.push_back(CodeAt(zeros, 4, g * words + r / 8, kPlace[r % 8]));
    }
  }
  return absl::OkStatus();
}

absl::Status ModuleReader::ReadGptq() {
  const int bits = scheme_.bits, a_word = 32 / bits;
  CATENA_ASSIGN_OR_RETURN(const StoredTensor codes, Get(".qweight", {"I32"}));
  if (codes.shape.size() != 2 || codes.bytes.empty()) return Corrupt(".qweight", "is no matrix");
  matrix_.cols = codes.shape[0] * a_word;
  matrix_.rows = codes.shape[1];
  matrix_.bits = bits;
  matrix_.layout = CodeLayout::kColumnWords;
  matrix_.codes = codes.bytes;
  CATENA_RETURN_IF_ERROR(ReadColumnScales());
  const int64_t groups = matrix_.blocks_a_row, words = CeilDiv(matrix_.rows, a_word);
  CATENA_ASSIGN_OR_RETURN(const StoredTensor zeros, Get(".qzeros", {"I32"}));
  CATENA_RETURN_IF_ERROR(CheckExtent(zeros, {groups, words}));
  // The first format subtracts one from each zero point of a word, but from the word as one number:
  // one of 0 borrows from the next, so ones are added to the word as well.
  const uint32_t ones = scheme_.zero_offset == 0 ? 0 : bits == 4 ? 0x11111111u : 0x01010101u;
  for (int64_t r = 0; r < matrix_.rows; ++r) {
    for (int64_t g = 0; g < groups; ++g) {
      const auto word = static_cast<uint32_t>(Int32At(zeros, g * words + r / a_word)) + ones;
      matrix_.zeros.push_back(CodeOf(word, bits, r % a_word));
    }
  }
  return CheckGroupIndex(".g_idx");
}

int64_t ModuleReader::GroupSizeOf(int64_t groups) const {
  const int64_t cols = matrix_.cols;
  if (groups <= 0) return 0;
  if (scheme_.group_sizes.empty()) return cols % groups == 0 ? cols / groups : 0;
  int64_t found = 0;
  for (const int64_t size : scheme_.group_sizes) {
    const int64_t of = size == 0 ? cols : std::min(size, cols);
    if (CeilDiv(cols, of) != groups || of == found) continue;
    if (found != 0) return 0;  // either might be meant
    found = of;
  }
  return found;
}

std::string ModuleReader::StatedGroups() const {
  if (scheme_.group_sizes.empty()) return "equal groups";
  std::vector<int64_t> sizes = scheme_.group_sizes;
  std::replace(sizes.begin(), sizes.end(), int64_t{0}, matrix_.cols);
  return fmt::format("groups of {}", fmt::join(sizes, " or "));
}

absl::Status ModuleReader::ReadColumnScales() {
  CATENA_ASSIGN_OR_RETURN(const StoredTensor scales, Get(".scales", {"F16", "BF16", "F32"}));
  const bool is_right = scales.shape.size() == 2 && scales.shape[1] == matrix_.rows;
  const int64_t groups = is_right ? scales.shape[0] : 0, of = GroupSizeOf(groups);
  if (of == 0) {
    return Corrupt(".scales", fmt::format("has the shape ({}), which does not divide a weight of "
                                          "({}, {}) into {}",
                                          fmt::join(scales.shape, ", "), matrix_.rows, matrix_.cols,
                                          StatedGroups()));
  }
  const int64_t rows = matrix_.rows;
  std::vector<float> columns(static_cast<size_t>(groups * rows));
  WidenRow(*FloatType(scales.type), scales.bytes.data(), groups * rows, columns.data());
  matrix_.block_cols = of;
  matrix_.blocks_a_row = groups;
  matrix_.scales.resize(columns.size());
  for (int64_t g = 0; g < groups; ++g) {
    for (int64_t r = 0; r < rows; ++r) matrix_.scales[r * groups + g] = columns[g * rows + r];
  }
  return absl::OkStatus();
}

// Inputs may be in any order of groups, which a row of ours cannot say.
absl::Status ModuleReader::CheckGroupIndex(const char* part) {
  if (!Has(part)) return absl::OkStatus();
  CATENA_ASSIGN_OR_RETURN(const StoredTensor index, Get(part, {"I32"}));
  CATENA_RETURN_IF_ERROR(CheckExtent(index, {matrix_.cols}));
  if (scheme_.layout == Layout::kCompressed && IsUnset(index)) return absl::OkStatus();
  for (int64_t k = 0; k < matrix_.cols; ++k) {
    if (Int32At(index, k) == k / matrix_.block_cols) continue;
    return Refuse(part, "puts inputs into groups out of order (desc_act, actorder)",
                  "use weights quantised with desc_act=false or actorder=\"static\", or a GGUF "
                  "file");
  }
  return absl::OkStatus();
}

// --- row by row: compressed-tensors, FP8 ---

absl::Status ModuleReader::ReadPacked() {
  CATENA_ASSIGN_OR_RETURN(const StoredTensor codes, Get(".weight_packed", {"I32"}));
  CATENA_ASSIGN_OR_RETURN(const StoredTensor shape, Get(".weight_shape", {"I64", "I32"}));
  CATENA_RETURN_IF_ERROR(CheckExtent(shape, {2}));
  const auto size = [&](int64_t i) {
    int64_t v = 0;
    if (shape.type == "I32") return int64_t{Int32At(shape, i)};
    std::memcpy(&v, shape.bytes.data() + i * 8, sizeof v);
    return v;
  };
  matrix_.rows = size(0);
  matrix_.cols = size(1);
  const bool matrix = codes.shape.size() == 2 && !codes.bytes.empty() && matrix_.cols > 0;
  const int64_t words = matrix ? codes.shape[1] : 0;
  if (matrix && words == CeilDiv(matrix_.cols, 8)) {
    matrix_.bits = 4;
  } else if (!matrix || words != CeilDiv(matrix_.cols, 4)) {
    return Refuse(".weight_packed",
                  fmt::format("has the shape ({}) for a weight of ({}, {})",
                              fmt::join(codes.shape, ", "), matrix_.rows, matrix_.cols),
                  "integers of 4 and 8 bits are read, or use a GGUF file");
  }
  CATENA_RETURN_IF_ERROR(CheckExtent(codes, {matrix_.rows, words}));
  matrix_.layout = CodeLayout::kRowWords;
  matrix_.codes = codes.bytes;
  CATENA_RETURN_IF_ERROR(ReadScales(".weight_scale"));
  CATENA_RETURN_IF_ERROR(ReadSignedZeros());
  return CheckGroupIndex(".weight_g_idx");
}

absl::Status ModuleReader::ReadBytes() {
  CATENA_ASSIGN_OR_RETURN(const StoredTensor codes, Get(".weight", {"I8", "F8_E4M3"}));
  if (codes.shape.size() != 2 || codes.bytes.empty()) return Corrupt(".weight", "is no matrix");
  matrix_.rows = codes.shape[0];
  matrix_.cols = codes.shape[1];
  matrix_.is_float = codes.type == "F8_E4M3";
  matrix_.layout = matrix_.is_float ? CodeLayout::kBytes : CodeLayout::kSignedBytes;
  matrix_.codes = codes.bytes;
  if (!matrix_.is_float && scheme_.layout == Layout::kFp8) {
    return Refuse(".weight", "is of dtype \"I8\" in a model of fp8", kFloats);
  }
  const bool inverse = scheme_.layout == Layout::kFp8 && Has(".weight_scale_inv");
  CATENA_RETURN_IF_ERROR(ReadScales(inverse ? ".weight_scale_inv" : ".weight_scale"));
  if (matrix_.is_float) return CheckZeroZeros();
  CATENA_RETURN_IF_ERROR(ReadSignedZeros());
  return CheckGroupIndex(".weight_g_idx");
}

absl::Status ModuleReader::ReadScales(const char* part) {
  CATENA_ASSIGN_OR_RETURN(const StoredTensor scales, Get(part, {"F32", "F16", "BF16"}));
  CATENA_RETURN_IF_ERROR(SetBlocks(scales));
  const auto n = static_cast<int64_t>(scales.bytes.size()) / RowBytes(*FloatType(scales.type), 1);
  matrix_.scales.resize(static_cast<size_t>(n));
  WidenRow(*FloatType(scales.type), scales.bytes.data(), n, matrix_.scales.data());
  return absl::OkStatus();
}

// One scale for all, one a row, several a row, or one a block of rows and columns.
absl::Status ModuleReader::SetBlocks(const StoredTensor& scales) {
  const std::vector<int64_t>& shape = scales.shape;
  const int64_t rows = shape.empty() ? 1 : shape[0], cols = shape.size() < 2 ? 1 : shape[1];
  const bool matrix = shape.size() <= 2 && rows > 0 && cols > 0;
  const int64_t of = matrix ? GroupSizeOf(cols) : 0;
  if (matrix && scheme_.block_rows > 0 && rows == CeilDiv(matrix_.rows, scheme_.block_rows) &&
      cols == CeilDiv(matrix_.cols, scheme_.block_cols)) {
    matrix_.block_rows = scheme_.block_rows;
    matrix_.block_cols = scheme_.block_cols;
  } else if (of > 0 && (rows == matrix_.rows || (rows == 1 && cols == 1))) {
    matrix_.block_rows = rows == matrix_.rows ? 1 : matrix_.rows;
    matrix_.block_cols = of;
  } else {
    return Corrupt(std::string_view(scales.name).substr(module_.size()),
                   fmt::format("has the shape ({}), which divides no weight of ({}, {}) into rows, "
                               "{} or the blocks that config.json states",
                               fmt::join(shape, ", "), matrix_.rows, matrix_.cols, StatedGroups()));
  }
  matrix_.blocks_a_row = cols;
  return absl::OkStatus();
}

// What compressed-tensors writes: int8 as many as scales or, of weights in words, words of rows.
absl::Status ModuleReader::ReadSignedZeros() {
  constexpr const char* kPart = ".weight_zero_point";
  if (!Has(kPart)) return absl::OkStatus();
  CATENA_ASSIGN_OR_RETURN(const StoredTensor zeros, Get(kPart, {"I8", "I32"}));
  if (zeros.type == "I32") return ReadPackedZeros(zeros);
  if (zeros.bytes.size() != matrix_.scales.size()) {
    return Corrupt(kPart, fmt::format("has {} values beside {} scales", zeros.bytes.size(),
                                      matrix_.scales.size()));
  }
  const int half = 1 << (matrix_.bits - 1);
  for (const uint8_t byte : zeros.bytes) {
    const int zero = static_cast<int8_t>(byte);
    if (zero < -half || zero >= half) {
      return Corrupt(kPart, fmt::format("has a zero point of {}, which {} bits cannot hold", zero,
                                        matrix_.bits));
    }
    matrix_.zeros.push_back(static_cast<uint8_t>(zero + half));
  }
  return absl::OkStatus();
}

absl::Status ModuleReader::ReadPackedZeros(const StoredTensor& zeros) {
  const int a_word = 32 / matrix_.bits;
  const int64_t groups = matrix_.blocks_a_row;
  const auto rows = static_cast<int64_t>(matrix_.scales.size()) / groups;
  CATENA_RETURN_IF_ERROR(CheckExtent(zeros, {CeilDiv(rows, a_word), groups}));
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t g = 0; g < groups; ++g) {
      matrix_.zeros.push_back(CodeAt(zeros, matrix_.bits, r / a_word * groups + g, r % a_word));
    }
  }
  return absl::OkStatus();
}

// Floats have no zero points, which some files state as zeros.
absl::Status ModuleReader::CheckZeroZeros() {
  constexpr const char* kPart = ".weight_zero_point";
  if (!Has(kPart)) return absl::OkStatus();
  CATENA_ASSIGN_OR_RETURN(const StoredTensor zeros, file_.FindRaw(Spell(kPart)));
  const bool none = std::all_of(zeros.bytes.begin(), zeros.bytes.end(),
                                [](uint8_t byte) { return (byte & 0x7f) == 0; });
  return none ? absl::OkStatus() : Refuse(kPart, "has zero points of 8-bit floats", kFloats);
}

}  // namespace catena
