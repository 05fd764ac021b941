#include "model/weights/gguf.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "model/model_limits.h"
#include "model/weights/gguf_format.h"

namespace catena {
namespace {

using namespace gguf;

constexpr uint64_t kMinEntryBytes = 12;  // of a metadata entry or a tensor: a length and a type

// What to use instead of a type that is not read: the nearest in size that is.
std::string_view NearestTo(std::string_view type) {
  if (type.starts_with("IQ1") || type.starts_with("IQ2") || type.starts_with("TQ")) return "Q2_K";
  if (type.starts_with("IQ3")) return "Q3_K_M";
  if (type.starts_with("Q8")) return "Q8_0";
  if (type.starts_with("I") || type == "F64") return "F32";
  return "Q8_0, Q6_K, Q5_K_M or Q4_K_M";
}

}  // namespace

// Walks a header once, front to back, and fills a GgufFile.
class GgufParser {
 public:
  GgufParser(absl::Span<const uint8_t> bytes, GgufFile* out) : bytes_(bytes), out_(*out) {}

  absl::Status Parse() {
    CATENA_RETURN_IF_ERROR(ParsePreamble());
    for (uint64_t i = 0; i < n_metadata_; ++i) CATENA_RETURN_IF_ERROR(ParseMetadata(i));
    CATENA_RETURN_IF_ERROR(ParseAlignment());
    for (uint64_t i = 0; i < n_tensors_; ++i) CATENA_RETURN_IF_ERROR(ParseTensor(i));
    return PlaceTensors();
  }

 private:
  // A tensor whose extent waits for the end of the header.
  struct Pending {
    std::string name;
    uint64_t offset = 0;  // from the data section's start
    uint64_t size = 0;    // 0 where the type is not read here
  };

  uint64_t remaining() const { return bytes_.size() - position_; }

  template <typename... Args>
  absl::Status Corrupt(fmt::format_string<Args...> format, Args&&... args) const {
    return absl::DataLossError(
        fmt::format("{}: {}", out_.source_, fmt::format(format, std::forward<Args>(args)...)));
  }
  absl::Status Truncated() const {
    return Corrupt("truncated or corrupt in {} at byte {} of {}; fetch the file again", where_,
                   position_, bytes_.size());
  }

  absl::Status TooLong(uint64_t bytes) const {
    return Corrupt("{} has {} bytes or more, where at most {} are allowed", where_, bytes,
                   limits::kMaxMetadataValueBytes);
  }

  template <typename T>
  absl::Status Read(T* out) {
    if (remaining() < sizeof(T)) return Truncated();
    *out = Load<T>(bytes_.data() + position_);
    position_ += sizeof(T);
    return absl::OkStatus();
  }

  absl::Status Take(uint64_t size, absl::Span<const uint8_t>* out) {
    if (size > remaining()) return Truncated();
    *out = bytes_.subspan(position_, size);
    position_ += size;
    return absl::OkStatus();
  }

  // A name that becomes a key of a map: not empty, at most `max` bytes.
  absl::Status ReadName(uint64_t max, std::string* out) {
    uint64_t size = 0;
    absl::Span<const uint8_t> text;
    CATENA_RETURN_IF_ERROR(Read(&size));
    if (size == 0 || size > max) {
      return Corrupt("{} has a name of {} bytes, where 1 to {} are allowed", where_, size, max);
    }
    CATENA_RETURN_IF_ERROR(Take(size, &text));
    *out = Text(text);
    return absl::OkStatus();
  }

  absl::Status ParsePreamble() {
    where_ = "the preamble";
    uint32_t magic = 0, version = 0;
    CATENA_RETURN_IF_ERROR(Read(&magic));
    if (!LooksLikeGguf(bytes_)) return Corrupt("not a GGUF file (it does not start with \"GGUF\")");
    CATENA_RETURN_IF_ERROR(Read(&version));
    if (version == __builtin_bswap32(kVersion)) {
      return absl::InvalidArgumentError(fmt::format(
          "{}: a big-endian GGUF file; convert it with gguf-py's gguf_convert_endian.py",
          out_.source_));
    }
    if (version != kVersion) {
      return absl::InvalidArgumentError(fmt::format(
          "{}: GGUF version {} where version {} is read; convert the model again with a "
          "current llama.cpp",
          out_.source_, version, kVersion));
    }
    CATENA_RETURN_IF_ERROR(Read(&n_tensors_));
    CATENA_RETURN_IF_ERROR(Read(&n_metadata_));
    CATENA_RETURN_IF_ERROR(CheckCount("tensors", n_tensors_, limits::kMaxTensors));
    return CheckCount("metadata entries", n_metadata_, limits::kMaxMetadataKeys);
  }

  absl::Status CheckCount(std::string_view what, uint64_t count, uint64_t max) const {
    if (count <= max && count <= remaining() / kMinEntryBytes) return absl::OkStatus();
    return Corrupt("claims {} {} in {} bytes (the limit is {})", count, what, bytes_.size(), max);
  }

  absl::Status ParseMetadata(uint64_t index) {
    where_ = fmt::format("metadata entry {}", index);
    std::string key;
    CATENA_RETURN_IF_ERROR(ReadName(limits::kMaxMetadataKeyBytes, &key));
    where_ = fmt::format("metadata {}", Quoted(key));
    GgufFile::Value value;
    CATENA_RETURN_IF_ERROR(Read(&value.type));
    if (value.type == kArray) {
      value.is_array = true;
      CATENA_RETURN_IF_ERROR(Read(&value.type));
      CATENA_RETURN_IF_ERROR(Read(&value.count));
      if (value.type == kArray) return Corrupt("{} nests arrays", where_);
    }
    if (value.type >= kValueTypes) return Corrupt("{} has unknown type {}", where_, value.type);
    if (value.count > limits::kMaxMetadataEntries) {
      return Corrupt("{} claims {} entries, where at most {} are allowed", where_, value.count,
                     limits::kMaxMetadataEntries);
    }
    CATENA_RETURN_IF_ERROR(TakeValue(&value));
    if (!out_.metadata_.emplace(std::move(key), value).second) {
      return Corrupt("{} appears twice", where_);
    }
    return absl::OkStatus();
  }

  // Takes a value's bytes: `count` scalars, one string's text, or all strings of an array.
  absl::Status TakeValue(GgufFile::Value* value) {
    if (value->type != kString) {
      const uint64_t each = kScalarBytes[value->type];
      if (value->count > remaining() / each) return Truncated();
      return Take(value->count * each, &value->bytes);
    }
    if (!value->is_array) {
      uint64_t size = 0;
      CATENA_RETURN_IF_ERROR(Read(&size));
      if (size > limits::kMaxMetadataValueBytes) return TooLong(size);
      return Take(size, &value->bytes);
    }
    if (value->count > remaining() / sizeof(uint64_t)) return Truncated();
    const uint64_t begin = position_;
    for (uint64_t i = 0; i < value->count; ++i) {
      if (remaining() < sizeof(uint64_t)) return Truncated();
      const uint64_t size = Load<uint64_t>(bytes_.data() + position_);
      if (size > remaining() - sizeof(uint64_t)) return Truncated();
      position_ += sizeof(uint64_t) + size;
      if (position_ - begin > limits::kMaxMetadataValueBytes) return TooLong(position_ - begin);
    }
    value->bytes = bytes_.subspan(begin, position_ - begin);
    return absl::OkStatus();
  }

  absl::Status ParseAlignment() {
    CATENA_ASSIGN_OR_RETURN(const auto alignment, out_.GetInt("general.alignment"));
    if (!alignment.has_value()) return absl::OkStatus();
    if (*alignment <= 0 || *alignment > UINT32_MAX ||
        !std::has_single_bit(static_cast<uint64_t>(*alignment))) {
      return Corrupt("metadata \"general.alignment\" is {}, not a power of two", *alignment);
    }
    alignment_ = static_cast<uint64_t>(*alignment);
    return absl::OkStatus();
  }

  absl::Status ParseTensor(uint64_t index) {
    where_ = fmt::format("the entry of tensor {}", index);
    Pending pending;
    GgufFile::Tensor tensor;
    CATENA_RETURN_IF_ERROR(ReadName(limits::kMaxTensorNameBytes, &pending.name));
    where_ = fmt::format("tensor {}", Quoted(pending.name));
    uint32_t n_dims = 0;
    CATENA_RETURN_IF_ERROR(Read(&n_dims));
    if (n_dims > tensor.dims.size()) {
      return Corrupt("{} has {} dimensions, where at most 4 are allowed", where_, n_dims);
    }
    for (uint32_t d = 0; d < n_dims; ++d) {  // none: a scalar; one of 0: no values
      CATENA_RETURN_IF_ERROR(Read(&tensor.dims[d]));
      if (tensor.dims[d] < 0)
        return Corrupt("{} has a dimension of size {}", where_, tensor.dims[d]);
    }
    CATENA_RETURN_IF_ERROR(Read(&tensor.type));
    CATENA_RETURN_IF_ERROR(Read(&pending.offset));
    if (pending.offset % alignment_ != 0) {
      return Corrupt("{} is at offset {}, not a multiple of the alignment {}", where_,
                     pending.offset, alignment_);
    }
    CATENA_RETURN_IF_ERROR(SizeOf(tensor, &pending.size));
    if (!out_.tensors_.emplace(pending.name, tensor).second) {
      return Corrupt("{} appears twice", where_);
    }
    pending_.push_back(std::move(pending));
    return absl::OkStatus();
  }

  absl::Status SizeOf(const GgufFile::Tensor& tensor, uint64_t* size) const {
    const TensorType type = FindTensorType(tensor.type);
    if (!type.dtype.has_value()) return absl::OkStatus();  // reported by Find
    const DTypeInfo info = Info(*type.dtype);
    if (tensor.dims[0] % info.block_values != 0) {
      return Corrupt("{} has rows of {} values, not a multiple of {}'s block of {}", where_,
                     tensor.dims[0], type.name, info.block_values);
    }
    uint64_t total = tensor.dims[0] / info.block_values;
    bool overflow = __builtin_mul_overflow(total, uint64_t(info.block_bytes), &total);
    for (size_t d = 1; d < tensor.dims.size(); ++d) {
      overflow |= __builtin_mul_overflow(total, uint64_t(tensor.dims[d]), &total);
    }
    if (overflow || total > bytes_.size()) {
      return Corrupt(
          "{} of {} x {} x {} x {} values of type {} is larger than the file of {} bytes; "
          "it is truncated or corrupt, fetch it again",
          where_, tensor.dims[0], tensor.dims[1], tensor.dims[2], tensor.dims[3], type.name,
          bytes_.size());
    }
    *size = total;
    return absl::OkStatus();
  }

  // Gives each tensor its bytes, inside the data section and apart from the others.
  absl::Status PlaceTensors() {
    const uint64_t start = (position_ + alignment_ - 1) / alignment_ * alignment_;
    const uint64_t data_bytes = start > bytes_.size() ? 0 : bytes_.size() - start;
    std::sort(pending_.begin(), pending_.end(), [](const Pending& a, const Pending& b) {
      return a.offset != b.offset ? a.offset < b.offset : a.size < b.size;
    });
    uint64_t end = 0;
    const std::string* before = nullptr;
    for (const Pending& p : pending_) {
      if (p.size == 0) continue;  // no values, or of a type that is not read: it may lie anywhere
      if (p.offset > data_bytes || p.size > data_bytes - p.offset) {
        return Corrupt(
            "tensor {} ends past the end of the file ({} + {} + {} > {} bytes); it is "
            "truncated, fetch it again",
            Quoted(p.name), start, p.offset, p.size, bytes_.size());
      }
      if (p.offset < end) {
        return Corrupt("tensors {} and {} overlap", Quoted(*before), Quoted(p.name));
      }
      end = p.offset + p.size;
      before = &p.name;
      out_.tensors_.find(p.name)->second.bytes = bytes_.subspan(start + p.offset, p.size);
    }
    return absl::OkStatus();
  }

  absl::Span<const uint8_t> bytes_;
  GgufFile& out_;
  uint64_t position_ = 0;
  uint64_t n_tensors_ = 0, n_metadata_ = 0;
  uint64_t alignment_ = kDefaultAlignment;
  std::string where_;  // what is being read, for messages
  std::vector<Pending> pending_;
};

bool LooksLikeGguf(absl::Span<const uint8_t> bytes) {
  return bytes.size() >= 4 && std::memcmp(bytes.data(), "GGUF", 4) == 0;
}

absl::StatusOr<std::shared_ptr<const GgufFile>> GgufFile::Open(const std::string& path) {
  CATENA_ASSIGN_OR_RETURN(auto file, MappedFile::Open(path));
  std::shared_ptr<GgufFile> out(new GgufFile);
  out->source_ = path;
  out->file_ = file;
  CATENA_RETURN_IF_ERROR(GgufParser(file->bytes(), out.get()).Parse());
  return out;
}

absl::StatusOr<std::shared_ptr<const GgufFile>> GgufFile::Parse(absl::Span<const uint8_t> bytes,
                                                                std::string source) {
  std::shared_ptr<GgufFile> out(new GgufFile);
  out->source_ = std::move(source);
  CATENA_RETURN_IF_ERROR(GgufParser(bytes, out.get()).Parse());
  return out;
}

absl::StatusOr<TensorView> GgufFile::Find(const std::string& name) const {
  const auto it = tensors_.find(name);
  if (it == tensors_.end()) {
    return absl::NotFoundError(fmt::format("{}: no tensor {}", source_, Quoted(name)));
  }
  const Tensor& tensor = it->second;
  const TensorType type = FindTensorType(tensor.type);
  if (!type.dtype.has_value()) {
    return absl::InvalidArgumentError(fmt::format(
        "{}: tensor {} is of type {} ({}), which is not supported; use a file quantised to {}",
        source_, Quoted(name), type.name, type.number, NearestTo(type.name)));
  }
  if (tensor.dims[2] != 1 || tensor.dims[3] != 1) {
    return absl::DataLossError(fmt::format(
        "{}: tensor {} has the shape ({}, {}, {}, {}) where a matrix or a vector is wanted",
        source_, Quoted(name), tensor.dims[3], tensor.dims[2], tensor.dims[1], tensor.dims[0]));
  }
  TensorView view;
  view.name = name;
  view.dtype = *type.dtype;
  view.rows = tensor.dims[1];
  view.cols = tensor.dims[0];
  view.bytes = tensor.bytes;
  view.owner = file_;
  return view;
}

std::vector<std::string> GgufFile::Names() const {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors_) names.push_back(name);
  return names;
}

void GgufFile::Release(const TensorView& view) const {
  if (file_ != nullptr) file_->Release(view.bytes);
}

}  // namespace catena
