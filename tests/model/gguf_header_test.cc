#include "model/weights/gguf_header.h"

#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/weights/gguf_format.h"
#include "tests/model/gguf_writer.h"

namespace catena {
namespace {

using ::testing::ElementsAre;

absl::Span<const uint8_t> AsBytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

std::shared_ptr<const GgufFile> Parse(const std::string& bytes) {
  const auto file = GgufFile::Parse(AsBytes(bytes), "f.gguf");
  EXPECT_TRUE(file.ok()) << file.status();
  return *file;
}

// The header and zeros for the tensors, each padded.
std::string FileOf(const GgufMetadata& metadata, const std::vector<GgufTensorInfo>& tensors = {}) {
  std::string bytes = GgufHeader(metadata, tensors);
  for (const GgufTensorInfo& t : tensors) bytes.append(PadToGgufAlignment(t.bytes()), '\0');
  return bytes;
}

TEST(GgufHeader, WhatIsSetIsReadBack) {
  GgufMetadata m;
  m.SetUint32("u32", 0xffffffff);
  m.SetInt32("i32", -7);
  m.SetFloat32("f32", -0.1f);
  m.SetBool("yes", true);
  m.SetBool("no", false);
  m.SetString("text", std::string_view("a\0ä", 4));
  m.SetString("empty", "");
  m.SetStrings("texts", std::vector<std::string>{"a", "", "ccc"});
  m.SetStrings("no texts", {});
  m.SetInt32s("ints", std::vector<int32_t>{-1, INT32_MAX});
  m.SetFloat32s("floats", std::vector<float>{1.5f, -2.0f});
  const std::string bytes = FileOf(m);
  const auto file = Parse(bytes);
  EXPECT_EQ(**file->GetInt("u32"), 0xffffffff);
  EXPECT_EQ(**file->GetInt("i32"), -7);
  EXPECT_EQ(**file->GetDouble("f32"), double{-0.1f});
  EXPECT_EQ(**file->GetBool("yes"), true);
  EXPECT_EQ(**file->GetBool("no"), false);
  EXPECT_EQ(**file->GetString("text"), std::string("a\0ä", 4));
  EXPECT_EQ(**file->GetString("empty"), "");
  EXPECT_THAT(**file->GetStrings("texts"), ElementsAre("a", "", "ccc"));
  EXPECT_THAT(**file->GetStrings("no texts"), ElementsAre());
  EXPECT_THAT(**file->GetInt32s("ints"), ElementsAre(-1, INT32_MAX));
  EXPECT_THAT(**file->GetFloats("floats"), ElementsAre(1.5f, -2.0f));
}

TEST(GgufHeader, AKeyThatIsSetAgainKeepsItsPlace) {
  GgufMetadata m;
  m.SetUint32("a", 1);
  m.SetUint32("b", 2);
  m.SetString("a", "other");
  const std::string bytes = FileOf(m);
  const auto file = Parse(bytes);
  const auto entries = file->Entries();
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].key, "a");
  EXPECT_EQ(gguf::Text(entries[0].bytes), "other");
  EXPECT_EQ(entries[1].key, "b");
}

// A file with one entry a type of metadata that there is, and one array of each, by hand.
std::string FileOfEveryType() {
  std::string metadata;
  uint64_t entries = 0;
  const auto put = [&](auto value) {
    metadata.append(reinterpret_cast<const char*>(&value), sizeof value);
  };
  const auto text = [&](std::string_view value) {
    put(uint64_t{value.size()});
    metadata += value;
  };
  // In no order of names, so that the file's own order shows.
  const auto key = [&](std::string_view kind, uint32_t type) {
    text(fmt::format("{}.{} {}", (7 * type) % 13, kind, type));
    ++entries;
  };
  const std::string payload = "\x01\x02\x03\x04\x05\x06\x07\x3f";
  for (uint32_t type = 0; type < gguf::kValueTypes; ++type) {
    if (type == gguf::kArray) continue;
    const auto element = [&](size_t i) {
      if (type == gguf::kString) return text(std::string(i, 'x'));
      metadata += type == gguf::kBool ? std::string(1, static_cast<char>(i % 2))
                                      : payload.substr(0, gguf::kScalarBytes[type]);
    };
    key("scalar", type);
    put(type);
    element(1);
    for (const uint64_t count : {0, 1, 5}) {
      key(fmt::format("array of {}", count), type);
      put(uint32_t{gguf::kArray});
      put(type);
      put(count);
      for (uint64_t i = 0; i < count; ++i) element(i);
    }
  }
  std::string file = "GGUF";
  for (const uint64_t n : {uint64_t{0}, entries}) {
    if (file.size() == 4) file.append("\3\0\0\0", 4);
    file.append(reinterpret_cast<const char*>(&n), sizeof n);
  }
  return file + metadata;
}

TEST(GgufHeader, CopiesOfEveryTypeAreTheSameBytesInTheSameOrder) {
  const std::string source = FileOfEveryType();
  const auto file = Parse(source);
  GgufMetadata m;
  for (const GgufFile::Entry& entry : file->Entries()) m.Copy(entry);
  EXPECT_EQ(m.entries().size(), 48u);
  const std::string copy = FileOf(m);
  ASSERT_GE(copy.size(), source.size());
  EXPECT_EQ(copy.substr(0, source.size()), source);
  EXPECT_EQ(copy.size(), PadToGgufAlignment(source.size()));
}

TEST(GgufHeader, TensorsLieOneBehindTheOtherAtTheAlignment) {
  GgufMetadata m;
  m.SetString("k", "x");
  const std::vector<GgufTensorInfo> tensors = {
      {"vector", DType::kF32, 1, 3},    {"none", DType::kF32, 1, 0},
      {"no rows", DType::kQ8_0, 0, 32}, {"q8_0", DType::kQ8_0, 3, 32},
      {"q6_k", DType::kQ6_K, 2, 512},   {"f16", DType::kF16, 1, 1}};
  const std::string bytes = FileOf(m, tensors);
  const auto file = Parse(bytes);
  EXPECT_EQ(file->Names().size(), tensors.size());
  uint64_t place = GgufHeader(m, tensors).size();
  EXPECT_EQ(place % kGgufAlignment, 0u);
  for (const GgufTensorInfo& t : tensors) {
    const auto view = file->Find(t.name);
    ASSERT_TRUE(view.ok()) << view.status();
    EXPECT_EQ(view->dtype, t.dtype) << t.name;
    EXPECT_EQ(view->rows, t.rows) << t.name;
    EXPECT_EQ(view->cols, t.cols) << t.name;
    ASSERT_EQ(view->bytes.size(), t.bytes()) << t.name;
    if (t.bytes() == 0) continue;
    EXPECT_EQ(view->bytes.data() - AsBytes(bytes).data(), place) << t.name;
    place += PadToGgufAlignment(t.bytes());
  }
}

TEST(GgufHeader, EveryTypeOfTensorHasItsNumber) {
  std::vector<GgufTensorInfo> tensors;
  for (const DType t : kAllDTypes) tensors.push_back({std::string(Name(t)), t, 1, 256});
  const std::string bytes = FileOf({}, tensors);
  const auto file = Parse(bytes);
  for (const DType t : kAllDTypes) EXPECT_EQ(file->Find(std::string(Name(t)))->dtype, t);
}

}  // namespace
}  // namespace catena
