#include "model/weights/gguf_header.h"

#include "kernels/base/status.h"
#include "model/weights/gguf_format.h"

namespace catena {
namespace {

using namespace gguf;

static_assert(kGgufAlignment == kDefaultAlignment);

template <typename T>
void AppendRaw(T value, std::string* out) {
  out->append(reinterpret_cast<const char*>(&value), sizeof value);
}

void AppendText(std::string_view text, std::string* out) {
  AppendRaw<uint64_t>(text.size(), out);
  out->append(text);
}

template <typename T>
std::string ScalarEntry(ValueType type, T value) {
  std::string out;
  AppendRaw<uint32_t>(type, &out);
  AppendRaw(value, &out);
  return out;
}

// The beginning of an array; its elements follow.
std::string ArrayStart(uint32_t type, uint64_t count) {
  std::string out;
  AppendRaw<uint32_t>(kArray, &out);
  AppendRaw(type, &out);
  AppendRaw(count, &out);
  return out;
}

template <typename T>
std::string ArrayEntry(ValueType type, absl::Span<const T> values) {
  std::string out = ArrayStart(type, values.size());
  for (const T v : values) AppendRaw(v, &out);
  return out;
}

uint32_t TypeNumber(DType dtype) {
  for (const TensorType& t : kTensorTypes) {
    if (t.dtype == dtype) return t.number;
  }
  CATENA_CHECK(false);
}

}  // namespace

void GgufMetadata::Copy(const GgufFile::Entry& entry) {
  std::string value;
  if (entry.is_array) {
    value = ArrayStart(entry.type, entry.count);
  } else {
    AppendRaw(entry.type, &value);
    if (entry.type == kString) AppendRaw<uint64_t>(entry.bytes.size(), &value);
  }
  value += Text(entry.bytes);
  entries_.emplace_back(entry.key, std::move(value));
}

void GgufMetadata::Set(std::string_view key, std::string value) {
  for (auto& [at, old] : entries_) {
    if (at != key) continue;
    old = std::move(value);
    return;
  }
  entries_.emplace_back(key, std::move(value));
}

void GgufMetadata::SetUint32(std::string_view key, uint32_t value) {
  Set(key, ScalarEntry(kUint32, value));
}

void GgufMetadata::SetInt32(std::string_view key, int32_t value) {
  Set(key, ScalarEntry(kInt32, value));
}

void GgufMetadata::SetFloat32(std::string_view key, float value) {
  Set(key, ScalarEntry(kFloat32, value));
}

void GgufMetadata::SetBool(std::string_view key, bool value) {
  Set(key, ScalarEntry<uint8_t>(kBool, value ? 1 : 0));
}

void GgufMetadata::SetString(std::string_view key, std::string_view value) {
  std::string out;
  AppendRaw<uint32_t>(kString, &out);
  AppendText(value, &out);
  Set(key, std::move(out));
}

void GgufMetadata::SetStrings(std::string_view key, absl::Span<const std::string> values) {
  std::string out = ArrayStart(kString, values.size());
  for (const std::string& v : values) AppendText(v, &out);
  Set(key, std::move(out));
}

void GgufMetadata::SetInt32s(std::string_view key, absl::Span<const int32_t> values) {
  Set(key, ArrayEntry(kInt32, values));
}

void GgufMetadata::SetFloat32s(std::string_view key, absl::Span<const float> values) {
  Set(key, ArrayEntry(kFloat32, values));
}

std::string GgufHeader(const GgufMetadata& metadata, absl::Span<const GgufTensorInfo> tensors) {
  std::string out = "GGUF";
  AppendRaw(kVersion, &out);
  AppendRaw<uint64_t>(tensors.size(), &out);
  AppendRaw<uint64_t>(metadata.entries().size(), &out);
  for (const auto& [key, value] : metadata.entries()) {
    AppendText(key, &out);
    out += value;
  }
  uint64_t offset = 0;
  for (const GgufTensorInfo& t : tensors) {
    AppendText(t.name, &out);
    AppendRaw<uint32_t>(t.rows == 1 ? 1 : 2, &out);
    AppendRaw(t.cols, &out);
    if (t.rows != 1) AppendRaw(t.rows, &out);
    AppendRaw(TypeNumber(t.dtype), &out);
    AppendRaw(offset, &out);
    offset += PadToGgufAlignment(t.bytes());
  }
  out.resize(PadToGgufAlignment(out.size()), '\0');
  return out;
}

}  // namespace catena
