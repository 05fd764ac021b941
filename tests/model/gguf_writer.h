// Writes GGUF files for tests, well-formed ones and, by the places it notes down, corrupted ones.
// Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/base/dtype.h"

namespace catena {

class GgufWriter {
 public:
  // A number in the header that says how much of something follows, or where it is.
  struct Field {
    std::string label;
    size_t offset;
    size_t size;
  };

  void AddU32(std::string_view key, uint32_t v) { AddScalar(key, 4, v); }
  void AddI32(std::string_view key, int32_t v) { AddScalar(key, 5, v); }
  void AddF32(std::string_view key, float v) { AddScalar(key, 6, v); }
  void AddBool(std::string_view key, bool v) { AddScalar(key, 7, static_cast<uint8_t>(v)); }
  void AddU64(std::string_view key, uint64_t v) { AddScalar(key, 10, v); }
  void AddString(std::string_view key, std::string_view v) {
    Key(key, 8);
    String(&metadata_, v, "length of " + std::string(key));
  }
  void AddStrings(std::string_view key, const std::vector<std::string>& values) {
    Array(key, 8, values.size());
    for (const std::string& v : values) String(&metadata_, v, "length in " + std::string(key));
  }
  void AddFloats(std::string_view key, const std::vector<float>& values) {
    Array(key, 6, values.size());
    for (const float v : values) Put(&metadata_, v);
  }
  void AddInt32s(std::string_view key, const std::vector<int32_t>& values) {
    Array(key, 5, values.size());
    for (const int32_t v : values) Put(&metadata_, v);
  }
  // An array whose elements are arrays: the format's definition allows it, we refuse it.
  void AddNestedArray(std::string_view key) { Array(key, 9, 1); }

  // `dims` fastest first. `type` is ggml's number; `data` is padded to the alignment.
  void AddTensor(std::string_view name, const std::vector<int64_t>& dims, uint32_t type,
                 std::string_view data) {
    const std::string label(name);
    String(&infos_, name, "name length of " + label);
    Note(&infos_, "n_dims of " + label, 4);
    Put(&infos_, static_cast<uint32_t>(dims.size()));
    for (const int64_t d : dims) {
      Note(&infos_, "dim of " + label, 8);
      Put(&infos_, d);
    }
    Note(&infos_, "type of " + label, 4);
    Put(&infos_, type);
    Note(&infos_, "offset of " + label, 8);
    Put(&infos_, static_cast<uint64_t>(data_.bytes.size()));
    data_end_ = data_.bytes.size() + data.size();
    data_.bytes += data;
    data_.bytes.resize((data_.bytes.size() + alignment - 1) / alignment * alignment, '\0');
    ++n_tensors_;
  }
  void AddTensor(std::string_view name, const std::vector<int64_t>& dims, DType type) {
    int64_t rows = 1;
    for (size_t i = 1; i < dims.size(); ++i) rows *= dims[i];
    AddTensor(name, dims, TypeNumber(type), std::string(rows * RowBytes(type, dims[0]), '\1'));
  }

  // The file; it ends with the last tensor's last byte, so that each shorter one is truncated.
  std::string Bytes() const { return Assemble().bytes; }
  // The places of all counts, lengths, types and offsets in Bytes().
  std::vector<Field> Fields() const { return Assemble().fields; }

  static uint32_t TypeNumber(DType type) {
    switch (type) {
      case DType::kF32:
        return 0;
      case DType::kF16:
        return 1;
      case DType::kBF16:
        return 30;
      case DType::kQ8_0:
        return 8;
      case DType::kQ4_0:
        return 2;
      case DType::kQ4_1:
        return 3;
      case DType::kQ5_0:
        return 6;
      case DType::kQ5_1:
        return 7;
      case DType::kQ2_K:
        return 10;
      case DType::kQ3_K:
        return 11;
      case DType::kQ4_K:
        return 12;
      case DType::kQ5_K:
        return 13;
      case DType::kQ6_K:
        return 14;
      case DType::kIQ4_NL:
        return 20;
      case DType::kIQ4_XS:
        return 23;
      case DType::kMXFP4:
        return 39;
    }
    return 0;
  }

  // What the preamble says, for tests that make it lie.
  std::string magic = "GGUF";
  uint32_t version = 3;
  size_t alignment = 32;

 private:
  struct Section {
    std::string bytes;
    std::vector<Field> fields;
  };

  template <typename T>
  static void Put(Section* s, T v) {
    s->bytes.append(reinterpret_cast<const char*>(&v), sizeof v);
  }
  static void Note(Section* s, std::string label, size_t size) {
    s->fields.push_back({std::move(label), s->bytes.size(), size});
  }
  static void String(Section* s, std::string_view text, std::string label) {
    Note(s, std::move(label), 8);
    Put(s, static_cast<uint64_t>(text.size()));
    s->bytes += text;
  }
  void Key(std::string_view key, uint32_t type) {
    String(&metadata_, key, "key length of " + std::string(key));
    Note(&metadata_, "type of " + std::string(key), 4);
    Put(&metadata_, type);
    ++n_metadata_;
  }
  template <typename T>
  void AddScalar(std::string_view key, uint32_t type, T v) {
    Key(key, type);
    Put(&metadata_, v);
  }
  void Array(std::string_view key, uint32_t type, uint64_t count) {
    Key(key, 9);
    Note(&metadata_, "element type of " + std::string(key), 4);
    Put(&metadata_, type);
    Note(&metadata_, "count of " + std::string(key), 8);
    Put(&metadata_, count);
  }

  static void Append(Section* to, const Section& from) {
    for (Field f : from.fields) {
      f.offset += to->bytes.size();
      to->fields.push_back(std::move(f));
    }
    to->bytes += from.bytes;
  }
  Section Assemble() const {
    Section out;
    out.bytes = magic;
    Put(&out, version);
    Note(&out, "tensor count", 8);
    Put(&out, n_tensors_);
    Note(&out, "metadata count", 8);
    Put(&out, n_metadata_);
    Append(&out, metadata_);
    Append(&out, infos_);
    out.bytes.resize((out.bytes.size() + alignment - 1) / alignment * alignment, '\0');
    const size_t data_start = out.bytes.size();
    Append(&out, data_);
    out.bytes.resize(data_start + data_end_);
    return out;
  }

  Section metadata_, infos_, data_;
  uint64_t n_tensors_ = 0, n_metadata_ = 0;
  size_t data_end_ = 0;
};

}  // namespace catena
