// Files as their authors write them: what is odd but harmless loads, what would mislead is refused.
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "model/fingerprint.h"
#include "tests/model/checkpoint_checks.h"
#include "tests/model/gguf_writer.h"
#include "tests/model/tiny_models.h"
#include "tests/temp_dir.h"

namespace catena {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A Llama file whose eight tokens are those of `texts`, of one type.
std::string VocabularyFile(const std::string& arch, const std::vector<std::string>& texts,
                           int32_t type) {
  GgufWriter w;
  AddTinySizes(&w, arch);
  AddTinyFrame(&w, true);
  w.AddString("tokenizer.ggml.model", "gpt2");
  w.AddString("tokenizer.ggml.pre", "smollm");
  w.AddStrings("tokenizer.ggml.tokens", texts);
  w.AddInt32s("tokenizer.ggml.token_type", std::vector<int32_t>(texts.size(), type));
  return w.Bytes();
}

TEST(Checkpoint, EveryEndOfTurnThatPeersKnowEndsOneOnEveryArchitectureAndOfEveryType) {
  const TempDir dir;
  for (const char* name :
       {"<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<EOT>", "_<EOT>",
        "<|eom_id|>", "<|end_of_text|>", "<end_of_utterance>", "[EOT]", "[EOS]", "<|return|>",
        "<\uFF5Cend\u2581of\u2581sentence\uFF5C>"}) {
    for (const char* arch : {"phi3", "llama"}) {
      for (const int32_t type : {1, 3, 4, 5}) {
        const std::vector<std::string> texts = {"a", "b", "c", "d", "e", name, "f", "g"};
        const auto model = MustOpen(dir.Write("m.gguf", VocabularyFile(arch, texts, type)));
        EXPECT_THAT(model->generation().eos_ids, ElementsAre(5)) << name << " " << arch << type;
        EXPECT_EQ(model->gguf_vocabulary()->types[5], kControlToken) << name;
      }
    }
  }
}

TEST(Checkpoint, RefusesWeightsWithMoreBlocksThanTheConfig) {
  const TempDir dir;
  GgufWriter w = TinyLlama();
  w.AddTensor("blk.1.attn_norm.weight", {32}, DType::kF32);
  ExpectRefused(Checkpoint::Open(dir.Write("m.gguf", w.Bytes()), {}).status(),
                absl::StatusCode::kDataLoss, {"m.gguf", "1 blocks", "\"blk.1.attn_norm.weight\""});
  // Names that only look like it are nobody's block.
  GgufWriter other = TinyLlama();
  other.AddTensor("blk.x.weight", {32}, DType::kF32);
  other.AddTensor("blk.7", {32}, DType::kF32);
  EXPECT_NE(MustOpen(dir.Write("o.gguf", other.Bytes())), nullptr);
}

TEST(Checkpoint, TensorsThatNobodyNeedsMayBeOfAnyShape) {
  const TempDir dir;
  GgufWriter w = TinyLlama();
  w.AddTensor("empty", {0}, 0, "");
  w.AddTensor("no.rows", {32, 0}, DType::kQ8_0);
  w.AddTensor("scalar", {}, 0, "abcd");
  w.AddTensor("cube", {2, 2, 2}, DType::kF32);
  w.AddTensor("alien", {100}, 200, "?");
  const auto model = MustOpen(dir.Write("m.gguf", w.Bytes()));
  ReadAll(*model);
  EXPECT_TRUE(Fingerprint(*model, {}).ok());
}

// Stages of two releases share routes as long as they give a model the same fingerprint.
TEST(GgufCheckpoint, AModelKeepsTheFingerprintThatEarlierReleasesGaveIt) {
  const TempDir dir;
  GgufWriter w;
  AddTinySizes(&w, "llama");
  AddTinyVocabulary(&w);
  AddTinyFrame(&w, true);
  AddTinyLlamaBlock(&w);
  const auto model = MustOpen(dir.Write("model.gguf", w.Bytes()));
  EXPECT_EQ(*Fingerprint(*model, {}), "60b4d23e2688a9e8");
}

// The same weights under other multipliers are another model, of which no stage may be mixed in.
TEST(GgufCheckpoint, MultipliersAreOfTheFingerprint) {
  const TempDir dir;
  std::set<std::string> seen;
  const std::string names[] = {"none", "embedding_scale", "residual_scale", "attention.scale",
                               "logit_scale"};
  for (const std::string& name : names) {
    GgufWriter w;
    AddTinySizes(&w, "granite");
    AddTinyVocabulary(&w);
    AddTinyFrame(&w, true);
    AddTinyLlamaBlock(&w);
    if (name != "logit_scale") w.AddF32("granite.logit_scale", 8);
    if (name != "none") w.AddF32("granite." + name, 2);
    const auto model = MustOpen(dir.Write(name + ".gguf", w.Bytes()));
    EXPECT_TRUE(seen.insert(*Fingerprint(*model, {})).second) << name;
  }
}

// TinyLlama in two parts, as llama-gguf-split writes them.
class SplitGguf : public ::testing::Test {
 protected:
  static GgufWriter First() {
    GgufWriter w;
    AddTinySizes(&w, "llama");
    AddTinyVocabulary(&w);
    Number(&w, 0, 2);
    AddTinyFrame(&w, true);
    return w;
  }
  static GgufWriter Second() {
    GgufWriter w;
    Number(&w, 1, 2);
    AddTinyLlamaBlock(&w);
    return w;
  }
  static void Number(GgufWriter* w, uint32_t part, uint32_t parts) {
    w->AddU32("split.no", part);
    w->AddU32("split.count", parts);
  }
  void Write(int part, const GgufWriter& w) const {
    dir_.Write(fmt::format("m-{:05}-of-00002.gguf", part), w.Bytes());
  }
  std::string Path(int part) const {
    return dir_.path() + fmt::format("/m-{:05}-of-00002.gguf", part);
  }

  const TempDir dir_;
};

TEST_F(SplitGguf, IsOneModelByItsFirstPart) {
  Write(1, First());
  Write(2, Second());
  const auto model = MustOpen(Path(1));
  ReadAll(*model);
  const auto whole = MustOpen(dir_.Write("whole.gguf", TinyLlama(true).Bytes()));
  EXPECT_EQ(model->tensors().Names(), whole->tensors().Names());
  EXPECT_EQ(*Fingerprint(*model, {}), *Fingerprint(*whole, {}));
}

TEST_F(SplitGguf, WhatIsMissingOrMixedUpIsNamed) {
  const auto open = [this](int part) { return Checkpoint::Open(Path(part), {}).status(); };
  Write(1, First());
  ExpectRefused(open(1), absl::StatusCode::kNotFound, {"m-00002-of-00002.gguf", "missing"});
  Write(2, Second());
  ExpectRefused(open(2), absl::StatusCode::kInvalidArgument,
                {"part 2 of 2", "give the first", "m-00001-of-00002.gguf"});
  GgufWriter stranger;
  Number(&stranger, 2, 3);
  Write(2, stranger);
  ExpectRefused(open(1), absl::StatusCode::kDataLoss, {"m-00002", "part 3 of 3"});
  GgufWriter twice = Second();
  twice.AddTensor("output_norm.weight", {32}, DType::kF32);
  Write(2, twice);
  ExpectRefused(open(1), absl::StatusCode::kDataLoss, {"m-00002", "output_norm.weight", "m-00001"});
  GgufWriter endless;
  AddTinySizes(&endless, "llama");
  Number(&endless, 0, 1u << 31);
  ExpectRefused(Checkpoint::Open(dir_.Write("e.gguf", endless.Bytes()), {}).status(),
                absl::StatusCode::kDataLoss, {"e.gguf", "1024"});
  ExpectRefused(Checkpoint::Open(dir_.Write("renamed.gguf", First().Bytes()), {}).status(),
                absl::StatusCode::kInvalidArgument, {"renamed.gguf", "-00001-of-00002.gguf"});
}

// A Hugging Face folder of the smallest Llama, written tensor by tensor.
class WeightsFolder : public ::testing::Test {
 protected:
  WeightsFolder() {
    Config(true);
    Add("model.embed_tokens.weight", {8, 4}, 'e');
    Add("model.norm.weight", {4}, 'n');
    for (const char* norm : {"input_layernorm", "post_attention_layernorm"}) {
      Add(fmt::format("model.layers.0.{}.weight", norm), {4}, 'n');
    }
    for (const char* part : {"q", "k", "v", "o"}) {
      Add(fmt::format("model.layers.0.self_attn.{}_proj.weight", part), {4, 4}, part[0]);
    }
    for (const char* part : {"gate", "up"}) {
      Add(fmt::format("model.layers.0.mlp.{}_proj.weight", part), {8, 4}, part[0]);
    }
    Add("model.layers.0.mlp.down_proj.weight", {4, 8}, 'd');
  }

  void Config(bool tied) {
    dir_.Write("config.json", fmt::format(R"({{"model_type": "llama", "vocab_size": 8,
        "hidden_size": 4, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
        "tie_word_embeddings": {}}})",
                                          tied));
  }
  // Values of one byte; F32, or BF16 of the same number of values.
  void Add(const std::string& name, const std::vector<int64_t>& shape, char byte,
           const char* dtype = "F32") {
    size_t bytes = dtype == std::string("F32") ? 4 : 2;
    for (const int64_t d : shape) bytes *= static_cast<size_t>(d);
    header_ += fmt::format(R"({}"{}":{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                           header_.empty() ? "" : ",", name, dtype, fmt::join(shape, ","),
                           data_.size(), data_.size() + bytes);
    data_.append(bytes, byte);
  }
  void Write(const char* file = "model.safetensors") {
    const std::string header = "{" + header_ + "}";
    const uint64_t n = header.size();
    dir_.Write(file, std::string(reinterpret_cast<const char*>(&n), sizeof n) + header + data_);
  }
  void Index(const std::vector<std::pair<std::string, std::string>>& entries) {
    nlohmann::json map = nlohmann::json::object();
    for (const auto& [name, file] : entries) map[name] = file;
    dir_.Write("model.safetensors.index.json", nlohmann::json{{"weight_map", map}}.dump());
  }

  TempDir dir_;
  std::string header_, data_;
};

TEST_F(WeightsFolder, AHeadOfItsOwnWinsOverAConfigThatTiesIt) {
  Add("lm_head.weight", {8, 4}, 'h');
  Write();
  const auto model = MustOpen(dir_.path());
  EXPECT_FALSE(model->config().tied_embeddings);
  EXPECT_EQ(model->LmHead()->bytes[0], 'h');
  ASSERT_EQ(model->warnings().size(), 1u);
  EXPECT_THAT(model->warnings()[0], HasSubstr("lm_head.weight"));
}

TEST_F(WeightsFolder, OneValueThatDiffersMakesAHeadItsOwn) {
  Add("lm_head.weight", {8, 4}, 'e');
  data_.back() = 'E';
  Write();
  EXPECT_FALSE(MustOpen(dir_.path())->config().tied_embeddings);
}

TEST_F(WeightsFolder, AHeadThatIsACopyIsTied) {
  Add("lm_head.weight", {8, 4}, 'e');
  Write();
  const auto model = MustOpen(dir_.path());
  EXPECT_TRUE(model->config().tied_embeddings);
  EXPECT_EQ(model->LmHead()->name, "model.embed_tokens.weight");
  EXPECT_THAT(model->warnings(), IsEmpty());
}

TEST_F(WeightsFolder, AHeadOfAnotherTypeIsItsOwn) {
  Add("lm_head.weight", {8, 4}, 'e', "BF16");
  Write();
  EXPECT_EQ(MustOpen(dir_.path())->LmHead()->dtype, DType::kBF16);
}

TEST_F(WeightsFolder, RefusesMoreBlocksThanTheConfigHas) {
  Add("model.layers.1.input_layernorm.weight", {4}, 'x');
  Write();
  ExpectRefused(Checkpoint::Open(dir_.path(), {}).status(), absl::StatusCode::kDataLoss,
                {"1 blocks", "\"model.layers.1.input_layernorm.weight\""});
}

TEST_F(WeightsFolder, EntriesOfAnIndexThatNobodyNeedsAreNoFault) {
  Write("model-1.safetensors");
  Index({{"model.norm.weight", "model-1.safetensors"},
         {"lm_head.weight", "model-1.safetensors"},           // is not in it
         {"model.layers.3.x.weight", "model-1.safetensors"},  // nor is that
         {"vision.weight", "vision.safetensors"}});           // and this file was never fetched
  const auto model = MustOpen(dir_.path());
  ReadAll(*model);  // also of tensors that the index forgets
  EXPECT_TRUE(model->config().tied_embeddings);
  EXPECT_TRUE(Fingerprint(*model, {}).ok());
}

TEST_F(WeightsFolder, AShardThatIsNeededAndMissingIsNamed) {
  Write("model-1.safetensors");
  Config(false);
  Index({{"model.norm.weight", "model-1.safetensors"}, {"lm_head.weight", "model-2.safetensors"}});
  const auto model = MustOpen(dir_.path());
  EXPECT_TRUE(model->Block(0).ok());
  ExpectRefused(model->LmHead().status(), absl::StatusCode::kDataLoss,
                {"\"lm_head.weight\"", "model-2.safetensors", "index.json", "fetch it"});
}

TEST_F(WeightsFolder, AStandInIsNamedForWhatItIs) {
  constexpr char kPointer[] =
      "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5368709120\n";
  const auto kDataLoss = absl::StatusCode::kDataLoss;
  Write("model-1.safetensors");
  dir_.Write("model-2.safetensors", kPointer);
  Config(false);
  Index({{"model.norm.weight", "model-1.safetensors"}, {"lm_head.weight", "model-2.safetensors"}});
  ExpectRefused(MustOpen(dir_.path())->LmHead().status(), kDataLoss,
                {"model-2.safetensors", "git lfs pull"});
  for (const char* file :
       {"model.safetensors", "config.json", "generation_config.json", "tokenizer_config.json",
        "special_tokens_map.json", "added_tokens.json", "chat_template.jinja"}) {
    const TempDir one;
    one.Write("config.json", kTinyConfig);
    one.Write(file, kPointer);
    const bool weights = file == std::string("model.safetensors");
    ExpectRefused(Checkpoint::Open(one.path(), {.weights = weights ? "" : "random:1"}).status(),
                  kDataLoss, {file, "git lfs pull"});
  }
  const TempDir other;
  ExpectRefused(Checkpoint::Open(other.Write("m.gguf", kPointer), {}).status(), kDataLoss,
                {"m.gguf", "git lfs pull"});
  ExpectRefused(Checkpoint::Open(other.Write("n.gguf", "<!DOCTYPE html><p>404"), {}).status(),
                kDataLoss, {"n.gguf", "web page"});
}

}  // namespace
}  // namespace catena
