// What a GGUF file (version 3, little-endian) begins with: metadata and the list of its tensors, as
// bytes. The tensors' own bytes follow in the list's order, each padded to the alignment.
// Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
//
// Thread rules: a GgufMetadata is one thread's; the functions have no state.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/types/span.h"

#include "kernels/base/dtype.h"
#include "model/weights/gguf.h"

namespace catena {

// Entries in the order in which they come; to set a key again gives it another value in its place.
class GgufMetadata {
 public:
  // As it lies in another file. REQUIRES: the key is not there yet.
  void Copy(const GgufFile::Entry& entry);

  void SetUint32(std::string_view key, uint32_t value);
  void SetInt32(std::string_view key, int32_t value);
  void SetFloat32(std::string_view key, float value);
  void SetBool(std::string_view key, bool value);
  void SetString(std::string_view key, std::string_view value);
  void SetStrings(std::string_view key, absl::Span<const std::string> values);
  void SetInt32s(std::string_view key, absl::Span<const int32_t> values);
  void SetFloat32s(std::string_view key, absl::Span<const float> values);

  // Key, and type and value as they lie in a file.
  using Entry = std::pair<std::string, std::string>;
  const std::vector<Entry>& entries() const { return entries_; }

 private:
  void Set(std::string_view key, std::string value);

  std::vector<Entry> entries_;
};

// A matrix (rows, cols), or a vector, which has one row.
struct GgufTensorInfo {
  std::string name;
  DType dtype = DType::kF32;
  int64_t rows = 1, cols = 0;

  uint64_t bytes() const { return static_cast<uint64_t>(rows * RowBytes(dtype, cols)); }
};

// How far from each other a file of ours has its tensors, at least: the format's default, which no
// key needs to name.
inline constexpr uint64_t kGgufAlignment = 32;
constexpr uint64_t PadToGgufAlignment(uint64_t bytes) {
  return (bytes + kGgufAlignment - 1) / kGgufAlignment * kGgufAlignment;
}

// The file up to the first byte of its first tensor.
std::string GgufHeader(const GgufMetadata& metadata, absl::Span<const GgufTensorInfo> tensors);

}  // namespace catena
