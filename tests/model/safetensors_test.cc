#include "model/weights/safetensors.h"

#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/temp_dir.h"

namespace catena {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// A safetensors file of `header` and `data`; `length` replaces the header's true length.
std::string File(std::string_view header, std::string_view data, int64_t length = -1) {
  const uint64_t n = length < 0 ? header.size() : static_cast<uint64_t>(length);
  std::string out(reinterpret_cast<const char*>(&n), sizeof n);
  return out.append(header).append(data);
}

constexpr char kTwoTensors[] = R"({"__metadata__":{"format":"pt"},)"
                               R"("a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},)"
                               R"("b":{"dtype":"BF16","shape":[3],"data_offsets":[16,22]}})";

absl::StatusOr<std::shared_ptr<const SafetensorsFile>> Parse(const std::string& bytes) {
  return SafetensorsFile::Parse({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()},
                                "f.safetensors");
}

void ExpectRefused(const absl::Status& status, std::string_view what, std::string_view message) {
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << what << ": " << status;
  EXPECT_THAT(std::string(Message(status)), HasSubstr("f.safetensors")) << what;
  EXPECT_THAT(std::string(Message(status)), HasSubstr(std::string(message))) << what;
  EXPECT_THAT(std::string(Message(status)), Not(HasSubstr("\n"))) << what;
}

TEST(Safetensors, GivesTensorsAsViewsOfTheirBytes) {
  const std::string bytes = File(kTwoTensors, "0123456789abcdefABCDEF");
  const auto file = Parse(bytes);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_THAT((*file)->Names(), ElementsAre("a", "b"));
  const auto a = (*file)->Find("a"), b = (*file)->Find("b");
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_EQ(a->rows, 2);
  EXPECT_EQ(a->cols, 2);
  EXPECT_EQ(a->dtype, DType::kF32);
  EXPECT_EQ(b->rows, 1);
  EXPECT_EQ(b->cols, 3);
  EXPECT_EQ(b->dtype, DType::kBF16);
  EXPECT_EQ(std::string(b->bytes.begin(), b->bytes.end()), "ABCDEF");
  EXPECT_EQ((*file)->Find("c").status().code(), absl::StatusCode::kNotFound);
}

TEST(Safetensors, RefusesAFileCutAtAnyByte) {
  const std::string whole = File(kTwoTensors, "0123456789abcdefABCDEF");
  ASSERT_TRUE(Parse(whole).ok());
  for (size_t n = 0; n < whole.size(); ++n) {
    ExpectRefused(Parse(whole.substr(0, n)).status(), fmt::format("{} bytes", n), "");
  }
}

struct BadHeader {
  std::string_view header, message;
};

TEST(Safetensors, SaysWhatIsWrongWithAHeader) {
  const BadHeader table[] = {
      {"[1]", "not a JSON object"},
      {"{\"a\":", "malformed JSON"},
      {R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},)"
       R"("a":{"dtype":"F32","shape":[4],"data_offsets":[16,32]}})",
       "\"a\" appears twice"},
      {R"({"a":7})", "tensor \"a\" lacks"},
      {R"({"a":{"dtype":"F32","shape":[4]}})", "tensor \"a\" lacks"},
      {R"({"a":{"dtype":5,"shape":[4],"data_offsets":[0,16]}})", "tensor \"a\" lacks"},
      {R"({"a":{"dtype":"F32","shape":4,"data_offsets":[0,16]}})", "\"a\" has a \"shape\""},
      {R"({"a":{"dtype":"F32","shape":[-4],"data_offsets":[0,16]}})", "\"a\" has a \"shape\""},
      {R"({"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,16]}})", "\"a\" has a \"shape\""},
      {R"({"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,4],"data_offsets":[0,16]}})", "\"shape\""},
      {R"({"a":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,16]}})",
       "\"a\" has a \"shape\""},
      {R"({"a":{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,16]}})",
       "tensor \"a\" has 16 bytes, not what its shape"},
      {R"({"a":{"dtype":"F32","shape":[5],"data_offsets":[0,16]}})", "tensor \"a\" has 16 bytes"},
      {R"({"a":{"dtype":"F16","shape":[4],"data_offsets":[0,16]}})", "tensor \"a\" has 16 bytes"},
      {R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[16,0]}})", "\"data_offsets\""},
      {R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[0]}})", "\"data_offsets\""},
      {R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16,32]}})", "\"data_offsets\""},
      {R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[-16,0]}})", "\"data_offsets\""},
      {R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[32,48]}})",
       "tensor \"a\" ends at byte 48"},
      {R"({"a":{"dtype":"F32","shape":[4],)"
       R"("data_offsets":[9223372036854775791,9223372036854775807]}})",
       "tensor \"a\" ends at byte"},
      {R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},)"
       R"("b":{"dtype":"F32","shape":[4],"data_offsets":[12,28]}})",
       "tensor \"b\" overlaps \"a\""},
      {R"({"":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})", "name of a length"},
      {R"({"a\nb":7})", "tensor \"a\\x0ab\" lacks"},
  };
  for (const BadHeader& bad : table) {
    const std::string bytes = File(bad.header, std::string(32, 'x'));
    ExpectRefused(Parse(bytes).status(), bad.header, bad.message);
  }
  const std::string long_name = R"({")" + std::string(600, 'n') + R"(":{}})";
  ExpectRefused(Parse(File(long_name, "")).status(), "a long name", "name of a length");
  const std::string deep = std::string(1000, '[') + std::string(1000, ']');
  ExpectRefused(Parse(File(deep, "")).status(), "deep", "nested deeper");
}

TEST(Safetensors, RefusesAHeaderLengthThatLies) {
  const int64_t one_too_many = std::string_view(kTwoTensors).size() + 22 + 1;
  for (const int64_t length :
       {one_too_many, int64_t{1} << 25, int64_t{1} << 40, int64_t{INT64_MAX}}) {
    ExpectRefused(Parse(File(kTwoTensors, "0123456789abcdefABCDEF", length)).status(), "length",
                  "header of");
  }
  ExpectRefused(Parse(std::string(16, '\xff')).status(), "all ones", "header of");
}

TEST(Safetensors, NamesADtypeThatIsNotReadOnlyWhenTheTensorIsAskedFor) {
  const std::string bytes = File(R"({"i":{"dtype":"I64","shape":[2],"data_offsets":[0,16]},)"
                                 R"("n":{"dtype":"F4","shape":[2],"data_offsets":[16,17]},)"
                                 R"("f":{"dtype":"F16","shape":[],"data_offsets":[18,20]}})",
                                 std::string(20, 'x'));
  const auto file = Parse(bytes);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->Find("f")->cols, 1);
  for (const char* name : {"i", "n"}) {
    const absl::Status status = (*file)->Find(name).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(Message(status)), HasSubstr(fmt::format("tensor \"{}\"", name)));
  }
}

TEST(Safetensors, TensorsWithoutValuesAndScalarsLoad) {
  const std::string bytes = File(R"({"e":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},)"
                                 R"("m":{"dtype":"BF16","shape":[4,0],"data_offsets":[4,4]},)"
                                 R"("s":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})",
                                 "abcd");
  const auto file = Parse(bytes);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->Find("e")->cols, 0);
  EXPECT_EQ((*file)->Find("m")->rows, 4);
  EXPECT_EQ((*file)->Find("s")->bytes.size(), 4u);
}

class Sharded : public ::testing::Test {
 protected:
  absl::Status OpenStatus(std::string_view weight_map) {
    dir_.Write("model.safetensors.index.json",
               fmt::format(R"({{"metadata":{{}},"weight_map":{}}})", weight_map));
    return OpenSafetensorsFolder(dir_.path()).status();
  }

  TempDir dir_;
  const std::string first_ =
      dir_.Write("one.safetensors", File(kTwoTensors, "0123456789abcdefABCDEF"));
  const std::string second_ = dir_.Write(
      "two.safetensors", File(R"({"c":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}})", "wxyz"));
};

TEST_F(Sharded, FindsEachTensorInItsFile) {
  ASSERT_EQ(OpenStatus(R"({"a":"one.safetensors","c":"two.safetensors"})"), absl::OkStatus());
  const auto source = *OpenSafetensorsFolder(dir_.path());
  EXPECT_THAT(source->Names(), ElementsAre("a", "b", "c"));  // b is there, though not in the index
  const auto c = source->Find("c");
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_EQ(std::string(c->bytes.begin(), c->bytes.end()), "wxyz");
  source->Release(*c);
  EXPECT_EQ(source->Find("x").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(Sharded, AViewOutlivesItsSource) {
  ASSERT_EQ(OpenStatus(R"({"c":"two.safetensors"})"), absl::OkStatus());
  const TensorView c = *(*OpenSafetensorsFolder(dir_.path()))->Find("c");
  EXPECT_EQ(c.bytes[0], 'w');
}

TEST_F(Sharded, RefusesNamesThatLeadOutOfTheFolder) {
  for (const char* name : {"../one.safetensors", "/etc/passwd", "sub/one.safetensors", "..", ".",
                           "", ".hidden", "a\\\\b", "a\\u0000b"}) {
    const absl::Status status = OpenStatus(fmt::format(R"({{"a":"{}"}})", name));
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << name << ": " << status;
    EXPECT_THAT(std::string(Message(status)), HasSubstr("tensor \"a\"")) << name;
    EXPECT_THAT(std::string(Message(status)), HasSubstr("not a plain file name")) << name;
  }
  EXPECT_EQ(OpenStatus(R"({"a":7})").code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(OpenStatus("[]").code(), absl::StatusCode::kDataLoss);
}

TEST_F(Sharded, NamesWhatIsMissingWhereNothingIsThere) {
  const absl::Status file = OpenStatus(R"({"a":"three.safetensors"})");
  EXPECT_EQ(file.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(Message(file)), HasSubstr("three.safetensors"));
  EXPECT_THAT(std::string(Message(file)), HasSubstr("fetch it"));
}

TEST_F(Sharded, WhatNobodyAsksForMayBeMissing) {
  ASSERT_EQ(OpenStatus(R"({"a":"one.safetensors","z":"one.safetensors","y":"three.safetensors"})"),
            absl::OkStatus());
  const auto source = *OpenSafetensorsFolder(dir_.path());
  EXPECT_THAT(source->Names(), ElementsAre("a", "b"));  // b is not in the index
  for (const char* there : {"a", "b"}) EXPECT_TRUE(source->Find(there).ok()) << there;
  for (const char* absent : {"z", "y"}) EXPECT_FALSE(source->Has(absent)) << absent;
  const absl::Status tensor = source->Find("z").status();
  EXPECT_EQ(tensor.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(Message(tensor)), HasSubstr("tensor \"z\" in \"one.safetensors\""));
  const absl::Status shard = source->Find("y").status();
  EXPECT_EQ(shard.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(Message(shard)), HasSubstr("three.safetensors"));
}

TEST_F(Sharded, ATensorIsFoundWhereItIsThoughTheIndexErrs) {
  ASSERT_EQ(OpenStatus(R"({"a":"two.safetensors","c":"one.safetensors"})"), absl::OkStatus());
  const auto source = *OpenSafetensorsFolder(dir_.path());
  EXPECT_EQ(source->Find("a")->rows, 2);
  EXPECT_EQ(source->Find("c")->bytes[0], 'w');
  // Of two that hold it, the one that the index names.
  dir_.Write("four.safetensors",
             File(R"({"c":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}})", "4444"));
  for (const char* file : {"two.safetensors", "four.safetensors"}) {
    ASSERT_EQ(OpenStatus(fmt::format(R"({{"c":"{}","x":"two.safetensors","y":"four.safetensors"}})",
                                     file)),
              absl::OkStatus());
    EXPECT_EQ((*OpenSafetensorsFolder(dir_.path()))->Find("c")->bytes[0],
              file[0] == 't' ? 'w' : '4');
  }
}

TEST(SafetensorsFolder, SaysHowToConvertPyTorchWeights) {
  const TempDir dir;
  EXPECT_THAT(std::string(Message(OpenSafetensorsFolder(dir.path()).status())),
              HasSubstr("no model.safetensors"));
  dir.Write("pytorch_model.bin", "x");
  const absl::Status status = OpenSafetensorsFolder(dir.path()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(Message(status)), HasSubstr("convert them to safetensors"));
}

}  // namespace
}  // namespace catena
