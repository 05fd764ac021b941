#include "model/weights/gguf.h"

#include <cstring>
#include <functional>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/model/gguf_writer.h"
#include "tests/model/tiny_models.h"
#include "tests/shared_data.h"

namespace catena {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

absl::StatusOr<std::shared_ptr<const GgufFile>> Parse(const std::string& bytes) {
  return GgufFile::Parse({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "f.gguf");
}

void ExpectRefused(const absl::Status& status, absl::StatusCode code, std::string_view what) {
  EXPECT_EQ(status.code(), code) << what << ": " << status;
  EXPECT_THAT(std::string(Message(status)), HasSubstr("f.gguf")) << what;
  EXPECT_THAT(std::string(Message(status)), Not(HasSubstr("\n"))) << what;
}

TEST(Gguf, ReadsMetadataOfEachType) {
  GgufWriter w;
  w.AddU32("u32", 7);
  w.AddI32("i32", -7);
  w.AddU64("u64", uint64_t{1} << 40);
  w.AddF32("f32", 1.5f);
  w.AddBool("bool", true);
  w.AddString("string", "text");
  w.AddStrings("strings", {"a", "", "ccc"});
  w.AddFloats("floats", {1.0f, -2.0f});
  w.AddInt32s("ints", {3, -4});
  const std::string bytes = w.Bytes();
  const auto file = Parse(bytes);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(**(*file)->GetInt("u32"), 7);
  EXPECT_EQ(**(*file)->GetInt("i32"), -7);
  EXPECT_EQ(**(*file)->GetInt("u64"), int64_t{1} << 40);
  EXPECT_EQ(**(*file)->GetDouble("f32"), 1.5);
  EXPECT_EQ(**(*file)->GetDouble("i32"), -7.0);
  EXPECT_EQ(**(*file)->GetBool("bool"), true);
  EXPECT_EQ(**(*file)->GetString("string"), "text");
  EXPECT_THAT(**(*file)->GetStrings("strings"), ElementsAre("a", "", "ccc"));
  EXPECT_THAT(**(*file)->GetFloats("floats"), ElementsAre(1.0f, -2.0f));
  EXPECT_THAT(**(*file)->GetInt32s("ints"), ElementsAre(3, -4));
  EXPECT_EQ(*(*file)->GetInt("absent"), std::nullopt);
  EXPECT_EQ((*file)->Keys().size(), 9u);
}

TEST(Gguf, RefusesMetadataOfAnotherTypeAndNamesTheKey) {
  GgufWriter w;
  w.AddString("text", "x");
  w.AddStrings("texts", {"x"});
  w.AddF32("nan", std::numeric_limits<float>::quiet_NaN());
  w.AddU64("huge", ~uint64_t{0});
  w.AddInt32s("two", {1, 2});
  const std::string bytes = w.Bytes();
  const auto file = *Parse(bytes);
  const auto expect = [](const auto& got, std::string_view key) {
    ExpectRefused(got.status(), absl::StatusCode::kDataLoss, key);
    EXPECT_THAT(std::string(Message(got.status())), HasSubstr(std::string(key)));
  };
  expect(file->GetInt("text"), "text");
  expect(file->GetBool("text"), "text");
  expect(file->GetDouble("nan"), "nan");
  expect(file->GetDouble("text"), "text");
  expect(file->GetDouble("two"), "two");
  expect(file->GetUniformInt("two"), "two");
  expect(file->GetUniformInt("texts"), "texts");
  expect(file->GetInt("huge"), "huge");
  expect(file->GetString("texts"), "texts");
  expect(file->GetStrings("text"), "text");
  expect(file->GetFloats("texts"), "texts");
  expect(file->GetInt32s("texts"), "texts");
}

TEST(Gguf, TensorsWithoutValuesAndScalarsLoad) {
  GgufWriter w;
  w.AddTensor("empty", {0}, DType::kF32);
  w.AddTensor("rows", {32, 0, 3}, DType::kQ8_0);
  w.AddTensor("scalar", {}, 0, "abcd");
  const std::string bytes = w.Bytes();
  const auto file = Parse(bytes);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->Find("empty")->cols, 0);
  const auto scalar = (*file)->Find("scalar");
  ASSERT_TRUE(scalar.ok()) << scalar.status();
  EXPECT_EQ(scalar->rows * scalar->cols, 1);
  EXPECT_EQ(scalar->bytes[3], 'd');
}

// A sparse file can claim what it likes for nothing.
TEST(Gguf, RefusesMetadataLargerThanAnyModelNeeds) {
  GgufWriter w;
  w.AddInt32s("k", std::vector<int32_t>((1 << 22) + 1));
  ExpectRefused(Parse(w.Bytes()).status(), absl::StatusCode::kDataLoss, "entries");
  GgufWriter text;
  text.AddString("k", std::string((1 << 27) + 1, 'x'));
  ExpectRefused(Parse(text.Bytes()).status(), absl::StatusCode::kDataLoss, "a text");
  GgufWriter texts;
  texts.AddStrings("k", std::vector<std::string>(3, std::string(1 << 26, 'x')));
  ExpectRefused(Parse(texts.Bytes()).status(), absl::StatusCode::kDataLoss, "texts");
}

TEST(Gguf, GivesTensorsAsViewsOfTheirBytes) {
  GgufWriter w;
  w.AddTensor("vector", {3}, 0, std::string("\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40", 12));
  w.AddTensor("matrix", {32, 2}, DType::kQ4_1);
  w.AddTensor("cube", {2, 2, 2}, DType::kF32);
  const std::string bytes = w.Bytes();
  const auto file = *Parse(bytes);
  const auto vector = file->Find("vector");
  ASSERT_TRUE(vector.ok()) << vector.status();
  EXPECT_EQ(vector->rows, 1);
  EXPECT_EQ(vector->cols, 3);
  float values[3];
  std::memcpy(values, vector->bytes.data(), sizeof values);
  EXPECT_THAT(values, ElementsAre(1.0f, 2.0f, 3.0f));
  const auto matrix = file->Find("matrix");
  EXPECT_EQ(matrix->rows, 2);
  EXPECT_EQ(matrix->cols, 32);
  EXPECT_EQ(matrix->dtype, DType::kQ4_1);
  EXPECT_EQ(matrix->bytes.size(), 40u);
  ExpectRefused(file->Find("cube").status(), absl::StatusCode::kDataLoss, "cube");
  ExpectRefused(file->Find("absent").status(), absl::StatusCode::kNotFound, "absent");
}

TEST(Gguf, NamesATypeThatIsNotReadOnlyWhenTheTensorIsAskedFor) {
  GgufWriter w;
  w.AddTensor("k", {256, 1}, 17, std::string(74, 'x'));
  w.AddTensor("new", {256, 1}, 77, std::string(144, 'x'));
  w.AddTensor("fine", {4}, DType::kF32);
  const std::string bytes = w.Bytes();
  const auto file = *Parse(bytes);
  EXPECT_TRUE(file->Find("fine").ok());
  const absl::Status k = file->Find("k").status();
  ExpectRefused(k, absl::StatusCode::kInvalidArgument, "k");
  EXPECT_THAT(std::string(Message(k)), HasSubstr("tensor \"k\" is of type IQ2_XS"));
  EXPECT_THAT(std::string(Message(k)), HasSubstr("quantised to Q2_K"));
  ExpectRefused(file->Find("new").status(), absl::StatusCode::kInvalidArgument, "new");
}

TEST(Gguf, RefusesAFileCutAtAnyByte) {
  const std::string whole = TinyLlama().Bytes();
  ASSERT_TRUE(Parse(whole).ok()) << Parse(whole).status();
  for (size_t n = 0; n < whole.size(); ++n) {
    const std::string cut = whole.substr(0, n);
    ExpectRefused(Parse(cut).status(), absl::StatusCode::kDataLoss, fmt::format("{} bytes", n));
  }
}

TEST(Gguf, RefusesEveryCountLengthAndOffsetThatIsTooLarge) {
  const GgufWriter w = TinyLlama();
  const std::string whole = w.Bytes();
  for (const GgufWriter::Field& field : w.Fields()) {
    for (const uint64_t lie : {~uint64_t{0}, uint64_t{1} << 63, uint64_t{INT64_MAX},
                               uint64_t{0x7fffffff}, uint64_t{whole.size()} * 32}) {
      std::string bytes = whole;
      std::memcpy(bytes.data() + field.offset, &lie, field.size);
      if (field.size == 4 && static_cast<uint32_t>(lie) == 0) continue;  // no lie: a scalar, say
      const auto file = Parse(bytes);
      if (field.label.starts_with("type of ") && file.ok()) continue;  // of a tensor: not read
      ExpectRefused(file.status(), absl::StatusCode::kDataLoss,
                    fmt::format("{} = {}", field.label, lie));
    }
  }
}

TEST(Gguf, SurvivesEveryFieldSetToSmallValues) {
  const GgufWriter w = TinyLlama();
  const std::string whole = w.Bytes();
  for (const GgufWriter::Field& field : w.Fields()) {
    for (uint64_t value = 0; value < 48; ++value) {
      std::string bytes = whole;
      std::memcpy(bytes.data() + field.offset, &value, field.size);
      const auto file = Parse(bytes);
      if (!file.ok()) continue;
      for (const std::string& name : (*file)->Names()) (void)(*file)->Find(name);
    }
  }
}

struct BadFile {
  std::string what;
  absl::StatusCode code;
  std::string message;
  std::function<void(GgufWriter*)> spoil;
};

TEST(Gguf, SaysWhatIsWrongWithAFile) {
  constexpr auto kDataLoss = absl::StatusCode::kDataLoss;
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  const BadFile table[] = {
      {"another format", kDataLoss, "not a GGUF file", [](auto* w) { w->magic = "PK\3\4"; }},
      {"version 1", kInvalid, "version 1", [](auto* w) { w->version = 1; }},
      {"version 2", kInvalid, "version 2", [](auto* w) { w->version = 2; }},
      {"version 4", kInvalid, "version 4", [](auto* w) { w->version = 4; }},
      {"big-endian", kInvalid, "big-endian", [](auto* w) { w->version = 0x03000000; }},
      {"duplicate key", kDataLoss, "metadata \"k\" appears twice",
       [](auto* w) { w->AddU32("k", 1), w->AddU32("k", 2); }},
      {"duplicate tensor", kDataLoss, "tensor \"t\" appears twice",
       [](auto* w) { w->AddTensor("t", {4}, DType::kF32), w->AddTensor("t", {4}, DType::kF32); }},
      {"nested arrays", kDataLoss, "metadata \"n\" nests arrays",
       [](auto* w) { w->AddNestedArray("n"); }},
      {"an empty key", kDataLoss, "name of 0 bytes", [](auto* w) { w->AddU32("", 1); }},
      {"a long tensor name", kDataLoss, "name of 513 bytes",
       [](auto* w) { w->AddTensor(std::string(513, 'n'), {4}, DType::kF32); }},
      {"a scalar past the end", kDataLoss, "tensor \"t\" ends past the end",
       [](auto* w) { w->AddTensor("t", {}, 0, "12"); }},
      {"five dimensions", kDataLoss, "tensor \"t\" has 5 dimensions",
       [](auto* w) {
         w->AddTensor("t", {1, 1, 1, 1, 1}, DType::kF32);
       }},
      {"a dimension below 0", kDataLoss, "tensor \"t\" has a dimension of size -1",
       [](auto* w) { w->AddTensor("t", {-1}, 0, "1234"); }},
      {"a part of a block", kDataLoss, "tensor \"t\" has rows of 33 values",
       [](auto* w) { w->AddTensor("t", {33}, 8, std::string(34, 'x')); }},
      {"a product that overflows", kDataLoss, "tensor \"t\"",
       [](auto* w) {
         w->AddTensor("t", {int64_t{1} << 31, int64_t{1} << 31, 4, 1}, 0, "1234");
       }},
      {"past the end", kDataLoss, "tensor \"t\" ends past the end",
       [](auto* w) { w->AddTensor("t", {8}, 0, std::string(16, 'x')); }},
      {"overlap", kDataLoss, "overlap",
       [](auto* w) {
         w->AddTensor("a", {16}, 0, std::string(32, 'x'));  // half of its 64 bytes
         w->AddTensor("b", {16}, DType::kF32);
       }},
      {"an alignment that is no power of two", kDataLoss, "general.alignment",
       [](auto* w) { w->AddU32("general.alignment", 48); }},
      {"an alignment of 0", kDataLoss, "general.alignment",
       [](auto* w) { w->AddU32("general.alignment", 0); }},
      {"an offset that is not aligned", kDataLoss, "tensor \"b\" is at offset 32",
       [](auto* w) {
         w->AddU32("general.alignment", 64);
         w->AddTensor("a", {4}, DType::kF32), w->AddTensor("b", {4}, DType::kF32);
       }},
      {"a name with control characters", kDataLoss, "\"a\\x0ab\" appears twice",
       [](auto* w) { w->AddU32("a\nb", 1), w->AddU32("a\nb", 1); }},
  };
  for (const BadFile& bad : table) {
    GgufWriter w;
    bad.spoil(&w);
    const absl::Status status = Parse(w.Bytes()).status();
    ExpectRefused(status, bad.code, bad.what);
    EXPECT_THAT(std::string(Message(status)), HasSubstr(bad.message)) << bad.what;
  }
}

TEST(Gguf, FollowsTheFilesOwnAlignment) {
  GgufWriter w;
  w.alignment = 64;
  w.AddU32("general.alignment", 64);
  w.AddTensor("a", {4}, DType::kF32);
  w.AddTensor("b", {1}, 0, "\x01\x02\x03\x04");
  const std::string bytes = w.Bytes();
  const auto file = Parse(bytes);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->Find("b")->bytes[3], 4);
}

TEST(Gguf, ReleasedPagesAreReadAgainFromTheFile) {
  const std::string path = SmolLm2Path();
  if (path.empty()) GTEST_SKIP() << kNoSmolLm2;
  const auto file = GgufFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  const auto view = (*file)->Find("blk.3.ffn_up.weight");
  ASSERT_TRUE(view.ok()) << view.status();
  const std::vector<uint8_t> before(view->bytes.begin(), view->bytes.end());
  (*file)->Release(*view);
  EXPECT_TRUE(std::equal(before.begin(), before.end(), view->bytes.begin()));
}

}  // namespace
}  // namespace catena
