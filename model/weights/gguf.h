// A GGUF file, version 3, little-endian: metadata by key, tensors by name.
// Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
//
// Every byte is hostile until it is checked. Open walks the header once: counts, lengths, nesting,
// alignment, duplicates, and each tensor's extent inside the file and apart from its neighbours.
// After that metadata is copied out on request and tensors are views into the file. Malformed or
// truncated: DATA_LOSS. Well-formed but not supported (another version, big-endian, a
// tensor type we do not read, and that only when the tensor is asked for): INVALID_ARGUMENT.
//
// Thread rules: const methods may be called from any thread.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/weights/mapped_file.h"
#include "model/weights/tensor_source.h"

namespace catena {

// "GGUF", the first four bytes.
bool LooksLikeGguf(absl::Span<const uint8_t> bytes);

class GgufFile final : public TensorSource {
 public:
  static absl::StatusOr<std::shared_ptr<const GgufFile>> Open(const std::string& path);
  // The same from memory, which the caller keeps; `source` starts every message.
  static absl::StatusOr<std::shared_ptr<const GgufFile>> Parse(absl::Span<const uint8_t> bytes,
                                                               std::string source);

  const std::string& source() const { return source_; }

  // Metadata. An absent key is nullopt; a value of another type is DATA_LOSS that names the key.
  bool HasKey(std::string_view key) const { return metadata_.find(key) != metadata_.end(); }
  std::vector<std::string> Keys() const;
  // An entry as it lies in the file, which must outlive it: what a writer copies.
  struct Entry {
    std::string_view key;
    uint32_t type = 0;  // GGUF's number; of the elements where it is an array
    bool is_array = false;
    uint64_t count = 1;
    absl::Span<const uint8_t> bytes;  // a scalar, a string's text, or all elements
  };
  std::vector<Entry> Entries() const;                                         // in the file's order
  absl::StatusOr<std::optional<int64_t>> GetInt(std::string_view key) const;  // any integer type
  // A number, or an array of one value a layer where all are equal.
  absl::StatusOr<std::optional<int64_t>> GetUniformInt(std::string_view key) const;
  absl::StatusOr<std::optional<double>> GetDouble(std::string_view key) const;  // finite
  absl::StatusOr<std::optional<bool>> GetBool(std::string_view key) const;
  absl::StatusOr<std::optional<std::string>> GetString(std::string_view key) const;
  absl::StatusOr<std::optional<std::vector<std::string>>> GetStrings(std::string_view key) const;
  absl::StatusOr<std::optional<std::vector<float>>> GetFloats(std::string_view key) const;
  absl::StatusOr<std::optional<std::vector<int32_t>>> GetInt32s(std::string_view key) const;

  absl::StatusOr<TensorView> Find(const std::string& name) const override;
  bool Has(const std::string& name) const override { return tensors_.count(name) != 0; }
  std::vector<std::string> Names() const override;
  void Release(const TensorView& view) const override;

 private:
  friend class GgufParser;

  struct Value {
    uint32_t type = 0;  // GGUF's number; of the elements where it is an array
    bool is_array = false;
    uint64_t count = 1;
    absl::Span<const uint8_t> bytes;  // a scalar, a string's text, or all elements
  };
  struct Tensor {
    std::array<int64_t, 4> dims = {1, 1, 1, 1};  // fastest first
    uint32_t type = 0;                           // ggml's number
    absl::Span<const uint8_t> bytes;             // empty where the type is not read here
  };

  GgufFile() = default;
  const Value* FindValue(std::string_view key) const;  // null where absent
  absl::Status WrongType(std::string_view key, std::string_view want) const;

  std::string source_;
  std::shared_ptr<const MappedFile> file_;  // null where the caller keeps the bytes
  std::map<std::string, Value, std::less<>> metadata_;
  std::map<std::string, Tensor, std::less<>> tensors_;
};

}  // namespace catena
