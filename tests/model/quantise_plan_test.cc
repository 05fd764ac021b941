#include "model/quantise/quantise_plan.h"

#include <cmath>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/base/dequantise.h"
#include "kernels/base/quantise.h"
#include "model/new_file.h"
#include "model/quantise/write_gguf.h"
#include "model/weights/gguf_parts.h"
#include "tests/model/tiny_models.h"
#include "tests/temp_dir.h"

namespace catena {
namespace {

using ::testing::HasSubstr;

TEST(TypeOfMatrix, IsLlamaCppsChoice) {
  struct Case {
    DType format;
    int64_t cols;
    DType other, gives_logits;
  };
  const Case kCases[] = {
      {DType::kQ8_0, 256, DType::kQ8_0, DType::kQ8_0},
      {DType::kQ4_0, 256, DType::kQ4_0, DType::kQ6_K},
      {DType::kQ4_0, 288, DType::kQ4_0, DType::kQ8_0},
      {DType::kQ2_K, 512, DType::kQ2_K, DType::kQ6_K},
      {DType::kQ2_K, 288, DType::kIQ4_NL, DType::kQ8_0},
      {DType::kQ3_K, 288, DType::kIQ4_NL, DType::kQ8_0},
      {DType::kIQ4_XS, 288, DType::kIQ4_NL, DType::kQ8_0},
      {DType::kQ4_K, 288, DType::kQ5_0, DType::kQ8_0},
      {DType::kQ5_K, 288, DType::kQ5_1, DType::kQ8_0},
      {DType::kQ6_K, 288, DType::kQ8_0, DType::kQ8_0},
      {DType::kQ6_K, 256, DType::kQ6_K, DType::kQ6_K},
      {DType::kQ8_0, 100, DType::kF16, DType::kF16},
      {DType::kQ4_K, 100, DType::kF16, DType::kF16},
      {DType::kF32, 100, DType::kF32, DType::kF32},
      {DType::kBF16, 256, DType::kBF16, DType::kBF16},
  };
  for (const Case& c : kCases) {
    EXPECT_EQ(TypeOfMatrix(c.format, false, c.cols), c.other) << Name(c.format) << " " << c.cols;
    EXPECT_EQ(TypeOfMatrix(c.format, true, c.cols), c.gives_logits) << Name(c.format);
  }
}

std::vector<float> Values(const TensorView& t) {
  std::vector<float> out(static_cast<size_t>(t.rows * t.cols));
  for (int64_t r = 0; r < t.rows; ++r) {
    WidenRow(t.dtype, t.bytes.data() + r * RowBytes(t.dtype, t.cols), t.cols,
             out.data() + r * t.cols);
  }
  return out;
}

class QuantiseTest : public ::testing::Test {
 protected:
  absl::Status Quantise(const std::string& model, std::string_view format, int threads = 2) {
    CATENA_ASSIGN_OR_RETURN(source_, Checkpoint::Open(model, {}));
    CATENA_ASSIGN_OR_RETURN(plan_, PlanQuantise(*source_, *FindQuantiseFormat(format)));
    CATENA_ASSIGN_OR_RETURN(const auto file, NewFile::Create(out_, true));
    ThreadPool pool(threads);
    double done = 0;
    CATENA_RETURN_IF_ERROR(WriteGguf(
        plan_, source_->tensors(), &pool,
        [&](double now) {
          EXPECT_LE(done, now);
          done = now;
          return absl::OkStatus();
        },
        file.get()));
    EXPECT_EQ(done, 1.0);
    CATENA_RETURN_IF_ERROR(file->Keep());
    CATENA_ASSIGN_OR_RETURN(written_, GgufFile::Open(out_));
    return Checkpoint::Open(out_, {}).status();
  }

  // Each tensor is what QuantiseRow makes of the source's values, row by row.
  void ExpectValuesOfSource() const {
    ASSERT_EQ(written_->Names().size(), source_->tensors().Names().size());
    for (const PlannedTensor& t : plan_.tensors) {
      const TensorView written = *written_->Find(t.info.name);
      const std::vector<float> values = Values(*source_->tensors().Find(t.info.name));
      ASSERT_EQ(written.dtype, t.info.dtype) << t.info.name;
      std::vector<uint8_t> want(written.bytes.size());
      QuantiseRow(written.dtype, values.data(), written.rows * written.cols, want.data());
      if (t.source.dtype == written.dtype) {
        EXPECT_EQ(written.bytes, t.source.bytes) << t.info.name;
      } else {
        EXPECT_EQ(written.bytes, absl::MakeConstSpan(want)) << t.info.name;
      }
    }
  }

  const TempDir dir_;
  const std::string out_ = dir_.path() + "/out.gguf";
  std::shared_ptr<const Checkpoint> source_;
  QuantisePlan plan_;
  std::shared_ptr<const GgufFile> written_;
};

// Values that no two neighbours share.
std::string Drawn(int64_t n) {
  std::string bytes;
  for (int64_t i = 0; i < n; ++i) {
    const float v = std::sin(static_cast<float>(i) * 1.7f) * 0.3f;
    bytes.append(reinterpret_cast<const char*>(&v), sizeof v);
  }
  return bytes;
}

TEST_F(QuantiseTest, EveryFormatHoldsTheSourcesValues) {
  GgufWriter w = TinyLlama(true);
  w.AddTensor("extra.long", {70000, 3}, 0, Drawn(210000));  // rows of more than one piece
  w.AddTensor("extra.wide", {512, 40}, 0, Drawn(512 * 40));
  const std::string model = dir_.Write("in.gguf", w.Bytes());
  for (const QuantiseFormat& f : kQuantiseFormats) {
    for (const int threads : {1, 3}) {
      const absl::Status status = Quantise(model, Name(f.dtype), threads);
      ASSERT_TRUE(status.ok()) << Name(f.dtype) << status;
      ExpectValuesOfSource();
    }
    EXPECT_EQ(**written_->GetInt("general.file_type"), f.file_type);
    EXPECT_EQ(written_->Find("extra.wide")->dtype, f.dtype);
  }
}

TEST_F(QuantiseTest, MetadataIsCopiedButForWhatTheFileIs) {
  GgufWriter w;
  w.alignment = 64;
  AddTinySizes(&w, "llama");
  AddTinyVocabulary(&w);
  AddTinyFrame(&w, false);
  AddTinyLlamaBlock(&w);
  w.AddU32("general.alignment", 64);
  w.AddU32("general.file_type", 1);
  w.AddU32("split.tensors.count", 99);
  w.AddU64("other.u64", uint64_t{1} << 60);
  w.AddStrings("other.texts", {"a", "", "c"});
  ASSERT_TRUE(Quantise(dir_.Write("in.gguf", w.Bytes()), "q4_0").ok());
  const auto source = *GgufFile::Open(dir_.path() + "/in.gguf");
  std::map<std::string, std::string> before, after;
  for (const auto& [file, to] : {std::pair(source, &before), std::pair(written_, &after)}) {
    GgufMetadata copied;
    for (const GgufFile::Entry& entry : file->Entries()) copied.Copy(entry);
    for (const auto& [key, value] : copied.entries()) (*to)[key] = value;
  }
  EXPECT_EQ(**written_->GetInt("general.file_type"), 2);
  EXPECT_EQ(**written_->GetInt("general.quantization_version"), 2);
  before.erase("general.alignment");
  before.erase("split.tensors.count");
  before["general.file_type"] = after["general.file_type"];
  before["general.quantization_version"] = after["general.quantization_version"];
  EXPECT_EQ(before, after);
}

TEST_F(QuantiseTest, TheHeadIsFinerThanTheRestWhetherOwnOrTheEmbedding) {
  ASSERT_TRUE(Quantise(dir_.Write("in.gguf", TinyLlama(true).Bytes()), "q4_0").ok());
  EXPECT_EQ(written_->Find("output.weight")->dtype, DType::kQ8_0);  // rows of 32: no q6_k
  EXPECT_EQ(written_->Find("token_embd.weight")->dtype, DType::kQ4_0);
  ASSERT_TRUE(Quantise(dir_.Write("in.gguf", TinyLlama(false).Bytes()), "q4_0").ok());
  EXPECT_EQ(written_->Find("token_embd.weight")->dtype, DType::kQ8_0);
}

TEST_F(QuantiseTest, TensorsComeBlockByBlock) {
  ASSERT_TRUE(Quantise(dir_.Write("in.gguf", TinyLlama(true).Bytes()), "q8_0").ok());
  EXPECT_EQ(plan_.tensors.front().info.name, "output.weight");
  EXPECT_EQ(plan_.tensors[2].info.name, "token_embd.weight");
  EXPECT_EQ(plan_.tensors.back().info.name, "blk.0.ffn_up.weight");
}

TEST_F(QuantiseTest, TensorsWithoutValuesStay) {
  GgufWriter w = TinyLlama();
  w.AddTensor("none", {0}, DType::kF32);
  w.AddTensor("no.rows", {32, 0}, DType::kF32);
  w.AddTensor("no.cols", {0, 7}, DType::kF32);
  ASSERT_TRUE(Quantise(dir_.Write("in.gguf", w.Bytes()), "q8_0").ok());
  EXPECT_EQ(written_->Find("no.rows")->cols, 32);
  EXPECT_EQ(written_->Find("no.cols")->rows, 7);
}

TEST_F(QuantiseTest, AModelInPartsBecomesOne) {
  GgufWriter first = TinyLlama(), second;
  first.AddU32("split.no", 0);
  first.AddU32("split.count", 2);
  second.AddU32("split.no", 1);
  second.AddU32("split.count", 2);
  second.AddTensor("extra", {32, 4}, 0, Drawn(128));
  const std::string model = dir_.Write("m-00001-of-00002.gguf", first.Bytes());
  dir_.Write("m-00002-of-00002.gguf", second.Bytes());
  ASSERT_TRUE(Quantise(model, "q8_0").ok());
  EXPECT_FALSE(written_->HasKey("split.count"));
  ExpectValuesOfSource();
}

TEST_F(QuantiseTest, ValuesThatAreNoNumbersAreRefusedWithTheTensorsName) {
  for (const float bad : {std::nanf(""), HUGE_VALF}) {
    GgufWriter w = TinyLlama();
    std::string values = Drawn(64 * 3);
    std::memcpy(values.data() + 4 * 100, &bad, sizeof bad);
    w.AddTensor("bad", {64, 3}, 0, values);
    const absl::Status status = Quantise(dir_.Write("in.gguf", w.Bytes()), "q4_1");
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(std::string(Message(status)), HasSubstr("\"bad\""));
  }
}

TEST_F(QuantiseTest, TypesAndShapesThatAreNotReadAreRefused) {
  GgufWriter w = TinyLlama();
  w.AddTensor("grid", {256, 1}, 17, std::string(74, 'x'));
  EXPECT_THAT(std::string(Message(Quantise(dir_.Write("in.gguf", w.Bytes()), "q8_0"))),
              HasSubstr("\"grid\" is of type IQ2_XS"));
}

TEST_F(QuantiseTest, AnErrorOfWhoWatchesEndsTheWork) {
  source_ = *Checkpoint::Open(dir_.Write("in.gguf", TinyLlama().Bytes()), {});
  plan_ = *PlanQuantise(*source_, *FindQuantiseFormat("q8_0"));
  const auto file = *NewFile::Create(out_, false);
  ThreadPool pool(1);
  const absl::Status status = WriteGguf(
      plan_, source_->tensors(), &pool, [](double) { return absl::CancelledError("enough"); },
      file.get());
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
}

}  // namespace
}  // namespace catena
