#include "model/checkpoint.h"

#include <cstring>
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/model/checkpoint_checks.h"
#include "tests/model/gguf_writer.h"
#include "tests/model/tiny_models.h"
#include "tests/shared_data.h"
#include "tests/temp_dir.h"

namespace catena {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct Golden {
  const char* name;
  DType dtype;
  int n_layers, n_kv_heads, rotary_dim;
  int64_t window;
  RopeScaling::Kind rope;
  bool tied;
};

TEST(Checkpoint, ReadsEveryTensorOfEveryGoldenFolder) {
  using Kind = RopeScaling::Kind;
  const Golden table[] = {
      {"golden/phi3-mini-shape", DType::kBF16, 8, 2, 96, 2047, Kind::kNone, false},
      {"golden/phi3-window", DType::kF32, 4, 4, 32, 16, Kind::kNone, false},
      {"golden/phi3-longrope", DType::kF16, 4, 4, 32, 0, Kind::kLongRope, false},
      {"golden/phi4-mini-shape", DType::kBF16, 4, 2, 24, 0, Kind::kNone, true},
      {"golden/llama-gqa-tied", DType::kBF16, 6, 2, 16, 0, Kind::kNone, true},
      {"golden/llama3-rope", DType::kBF16, 4, 2, 32, 0, Kind::kLlama3, false},
      {"stories260k-phi3", DType::kF32, 5, 4, 8, 0, Kind::kNone, false},
  };
  for (const Golden& golden : table) {
    SCOPED_TRACE(golden.name);
    const std::string path = SharedPath(golden.name);
    if (path.empty()) GTEST_SKIP() << kNoSharedData;
    const auto model = MustOpen(path);
    ASSERT_NE(model, nullptr);
    const ModelConfig& c = model->config();
    EXPECT_EQ(c.n_layers, golden.n_layers);
    EXPECT_EQ(c.n_kv_heads, golden.n_kv_heads);
    EXPECT_EQ(c.rotary_dim, golden.rotary_dim);
    EXPECT_EQ(c.sliding_window, golden.window);
    EXPECT_EQ(c.rope_scaling.kind, golden.rope);
    EXPECT_EQ(c.tied_embeddings, golden.tied);
    EXPECT_EQ(model->Embedding()->dtype, golden.dtype);
    EXPECT_EQ(model->Embedding()->bytes.data() == model->LmHead()->bytes.data(), golden.tied);
    EXPECT_EQ(model->Block(0)->qkv[0].interleaved_head_dim, 0);
    ReadAll(*model);
  }
}

TEST(Checkpoint, ReadsWhatPhi3sFilesSayOfTokensAndChat) {
  const std::string path = SharedPath("phi3/config.json");
  if (path.empty()) GTEST_SKIP() << kNoSharedData;
  const auto model = MustOpen(path, {.weights = "random:1"});
  ASSERT_NE(model, nullptr);
  EXPECT_EQ(model->config().n_layers, 32);
  EXPECT_EQ(model->config().sliding_window, 2047);
  EXPECT_EQ(model->tokenizer_config().bos_token, "<s>");
  EXPECT_EQ(model->tokenizer_config().eos_token, "<|endoftext|>");
  EXPECT_THAT(model->tokenizer_config().chat_template, HasSubstr("<|assistant|>"));
  EXPECT_THAT(model->generation().eos_ids, ElementsAre(32000));
  EXPECT_EQ(model->tokenizer_json_path(), SharedPath("phi3/tokenizer.json"));
  EXPECT_EQ(model->gguf_vocabulary(), nullptr);
}

TEST(Checkpoint, ReadsTheDefaultModel) {
  const std::string path = SmolLm2Path();
  if (path.empty()) GTEST_SKIP() << kNoSmolLm2;
  const auto model = MustOpen(path);
  ASSERT_NE(model, nullptr);
  const ModelConfig& c = model->config();
  EXPECT_EQ(c.n_layers, 30);
  EXPECT_EQ(c.vocab_size, 49152);
  EXPECT_EQ(c.context_length, 8192);
  EXPECT_EQ(c.rope_theta, 100000.0);
  EXPECT_TRUE(c.tied_embeddings);
  EXPECT_EQ(model->Embedding()->dtype, DType::kQ8_0);
  EXPECT_EQ(model->Block(7)->down.dtype, DType::kQ4_1);
  const GgufVocabulary* v = model->gguf_vocabulary();
  ASSERT_NE(v, nullptr);
  EXPECT_EQ(v->model, "gpt2");
  EXPECT_EQ(v->pre, "smollm");
  EXPECT_EQ(v->tokens.size(), 49152u);
  EXPECT_EQ(v->types.size(), 49152u);
  EXPECT_EQ(v->merges.size(), 48900u);
  EXPECT_EQ(v->merges[0], "Ġ t");
  EXPECT_EQ(v->add_bos, false);
  EXPECT_EQ(v->unk_id, 0);
  EXPECT_THAT(model->generation().eos_ids, ElementsAre(2, 0));  // 0: <|endoftext|>, by its name
  EXPECT_EQ(model->tokenizer_config().bos_token, "<|im_start|>");
  EXPECT_EQ(model->tokenizer_config().eos_token, "<|im_end|>");
  EXPECT_THAT(model->tokenizer_config().chat_template, HasSubstr("trained by Hugging Face"));
  ReadAll(*model);
}

TEST(Checkpoint, ReadsAGgufFileOfEachArchitecture) {
  const TempDir dir;
  const auto llama = MustOpen(dir.Write("llama.gguf", TinyLlama().Bytes()));
  ReadAll(*llama);
  const auto block = *llama->Block(0);
  ASSERT_EQ(block.qkv.size(), 3u);
  EXPECT_EQ(block.qkv[0].interleaved_head_dim, 16);
  EXPECT_EQ(block.qkv[1].interleaved_head_dim, 16);
  EXPECT_EQ(block.qkv[2].interleaved_head_dim, 0);
  EXPECT_EQ(llama->LmHead()->name, "token_embd.weight");

  const auto phi3 = MustOpen(dir.Write("phi3.gguf", TinyPhi3().Bytes()));
  ReadAll(*phi3);
  EXPECT_EQ(phi3->Block(0)->qkv.size(), 1u);
  EXPECT_EQ(phi3->Block(0)->qkv[0].interleaved_head_dim, 0);
  EXPECT_EQ(phi3->Block(0)->gate_up[0].name, "blk.0.ffn_up.weight");
  EXPECT_EQ(phi3->LmHead()->name, "output.weight");
}

TEST(Checkpoint, APhi3GgufFileMayHaveSeparateProjections) {
  GgufWriter w;
  AddTinySizes(&w, "phi3");
  AddTinyFrame(&w, true);
  w.AddTensor("blk.0.attn_q.weight", {32, 32}, DType::kF16);
  w.AddTensor("blk.0.attn_k.weight", {32, 16}, DType::kF16);
  w.AddTensor("blk.0.attn_v.weight", {32, 16}, DType::kF16);
  w.AddTensor("blk.0.ffn_up.weight", {32, 128}, DType::kF16);
  const TempDir dir;
  const auto model = MustOpen(dir.Write("m.gguf", w.Bytes()));
  ReadAll(*model);
  EXPECT_EQ(model->Block(0)->qkv.size(), 3u);
  EXPECT_EQ(model->gguf_vocabulary(), nullptr);
}

TEST(Checkpoint, AGgufTurnEndsWhereItsTokensAreKnownToSay) {
  const TempDir dir;
  // 5 to 7 by their texts, on every architecture and whatever their types.
  EXPECT_THAT(MustOpen(dir.Write("l.gguf", TinyLlama().Bytes()))->generation().eos_ids,
              ElementsAre(1, 5, 6, 7));
  EXPECT_THAT(MustOpen(dir.Write("p.gguf", TinyPhi3().Bytes()))->generation().eos_ids,
              ElementsAre(1, 5, 6, 7));
  GgufWriter w = TinyLlama();
  w.AddU32("tokenizer.ggml.eot_token_id", 4);
  w.AddU32("tokenizer.ggml.eom_token_id", 800);
  const auto model = MustOpen(dir.Write("e.gguf", w.Bytes()));
  EXPECT_THAT(model->generation().eos_ids, ElementsAre(1, 4, 5, 6, 7));
  EXPECT_THAT(model->tokenizer_config().end_ids, ElementsAre(1, 4, 5, 6, 7));
  ASSERT_EQ(model->warnings().size(), 1u);
  EXPECT_THAT(model->warnings()[0], HasSubstr("eom_token_id"));
}

TEST(Checkpoint, NamesTheTensorOfAnotherShape) {
  const TempDir dir;
  GgufWriter w;
  AddTinySizes(&w, "llama");
  AddTinyFrame(&w, false);
  w.AddTensor("blk.0.attn_q.weight", {32, 48}, DType::kF16);
  const auto model = MustOpen(dir.Write("m.gguf", w.Bytes()));
  ExpectRefused(model->Block(0).status(), absl::StatusCode::kDataLoss,
                {"m.gguf", "\"blk.0.attn_q.weight\"", "(48, 32)", "(32, 32)"});
}

TEST(Checkpoint, NamesTheTensorThatIsMissing) {
  const TempDir dir;
  GgufWriter w;
  AddTinySizes(&w, "llama");
  AddTinyFrame(&w, false);
  const auto model = MustOpen(dir.Write("m.gguf", w.Bytes()));
  ExpectRefused(model->Block(0).status(), absl::StatusCode::kDataLoss,
                {"m.gguf", "no tensor \"blk.0.attn_q.weight\"", "incomplete"});
}

TEST(Checkpoint, RefusesBiasesRatherThanLeaveThemOut) {
  const TempDir dir;
  GgufWriter w = TinyLlama();
  w.AddTensor("blk.0.attn_k.bias", {16}, DType::kF32);
  ExpectRefused(MustOpen(dir.Write("m.gguf", w.Bytes()))->Block(0).status(),
                absl::StatusCode::kInvalidArgument, {"m.gguf", "\"blk.0.attn_k.bias\"", "biases"});
}

TEST(Checkpoint, RefusesAVocabularyWhoseArraysDisagree) {
  const TempDir dir;
  const auto open = [&](const std::function<void(GgufWriter*)>& add) {
    GgufWriter w;
    AddTinySizes(&w, "llama");
    AddTinyFrame(&w, false);
    w.AddString("tokenizer.ggml.model", "llama");
    add(&w);
    return Checkpoint::Open(dir.Write("m.gguf", w.Bytes()), {}).status();
  };
  const std::vector<std::string> nine(9, "t"), eight(8, "t"), four(4, "t");
  const auto kDataLoss = absl::StatusCode::kDataLoss;
  ExpectRefused(open([&](auto* w) { w->AddStrings("tokenizer.ggml.tokens", nine); }), kDataLoss,
                {"m.gguf", "9 tokens in a vocabulary of 8"});
  ExpectRefused(open([&](auto* w) {
                  w->AddStrings("tokenizer.ggml.tokens", eight);
                  w->AddFloats("tokenizer.ggml.scores", {1, 2});
                }),
                kDataLoss, {"m.gguf", "scores", "2 entries for 8"});
  ExpectRefused(open([&](auto* w) {
                  w->AddStrings("tokenizer.ggml.tokens", eight);
                  w->AddInt32s("tokenizer.ggml.token_type", {1, 2, 3});
                }),
                kDataLoss, {"m.gguf", "token_type", "3 entries for 8"});
  // An id of the matrices' padding has no text.
  EXPECT_EQ(open([&](auto* w) {
              w->AddStrings("tokenizer.ggml.tokens", four);
              w->AddU32("tokenizer.ggml.eos_token_id", 5);
              w->AddU32("tokenizer.ggml.unknown_token_id", 6);
            }),
            absl::OkStatus());
}

class RandomFolder : public ::testing::Test {
 protected:
  RandomFolder() { dir_.Write("config.json", kTinyConfig); }
  std::shared_ptr<const Checkpoint> Open() { return MustOpen(dir_.path(), options_); }
  absl::Status OpenStatus() { return Checkpoint::Open(dir_.path(), options_).status(); }

  const TempDir dir_;
  CheckpointOptions options_ = {.weights = "random:5"};
};

TEST_F(RandomFolder, HasEveryTensorInEveryFormat) {
  dir_.Write("config.json", R"({"model_type": "llama", "vocab_size": 64, "hidden_size": 256,
    "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 2,
    "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "eos_token_id": 2})");
  for (const DType format : kAllDTypes) {
    options_.random_format = format;
    const auto model = Open();
    ReadAll(*model);
    EXPECT_EQ(model->Embedding()->dtype, format);
    EXPECT_EQ(model->FinalNorm()->dtype, DType::kF32);
  }
}

TEST_F(RandomFolder, RefusesASeedThatIsNone) {
  for (const char* bad : {"random", "random:", "random:x", "random:-1", "random:1 ", "zeros",
                          "random:18446744073709551616"}) {
    options_.weights = bad;
    ExpectRefused(OpenStatus(), absl::StatusCode::kInvalidArgument, {"random:SEED"});
  }
}

TEST_F(RandomFolder, WorksOnAGgufFilesConfigToo) {
  const auto model = MustOpen(dir_.Write("m.gguf", TinyLlama().Bytes()), options_);
  ReadAll(*model);
  EXPECT_EQ(model->Block(0)->qkv[0].interleaved_head_dim, 0);
  EXPECT_NE(model->gguf_vocabulary(), nullptr);
}

TEST_F(RandomFolder, ReadsGenerationConfig) {
  dir_.Write("generation_config.json",
             R"({"do_sample": true, "temperature": 0.7, "top_k": 40, "top_p": 0.9, "min_p": 0.05,
                 "typical_p": 0.95, "repetition_penalty": 1.1, "eos_token_id": [2, 7, 7]})");
  const auto model = Open();
  const GenerationConfig& g = model->generation();
  EXPECT_TRUE(g.do_sample);
  EXPECT_EQ(g.temperature, 0.7);
  EXPECT_EQ(g.top_k, 40);
  EXPECT_EQ(g.top_p, 0.9);
  EXPECT_EQ(g.min_p, 0.05);
  EXPECT_EQ(g.typical_p, 0.95);
  EXPECT_EQ(g.repetition_penalty, 1.1);
  EXPECT_THAT(g.eos_ids, ElementsAre(2, 7));
}

TEST_F(RandomFolder, RefusesAGenerationConfigOutOfRange) {
  for (const char* bad : {R"({"temperature": -1})", R"({"top_p": 1.5})", R"({"top_k": -3})",
                          R"({"repetition_penalty": 0})", R"({"top_k": 1e12})"}) {
    dir_.Write("generation_config.json", bad);
    ExpectRefused(OpenStatus(), absl::StatusCode::kInvalidArgument, {"generation_config.json"});
  }
  for (const char* bad : {"[]", "{", R"({"do_sample": 3})", R"({"top_k": "x"})",
                          R"({"eos_token_id": "x"})", R"({"eos_token_id": {}})"}) {
    dir_.Write("generation_config.json", bad);
    ExpectRefused(OpenStatus(), absl::StatusCode::kDataLoss, {"generation_config.json"});
  }
}

TEST_F(RandomFolder, ReadsSpecialTokensAndChatTemplatesInAllTheirForms) {
  EXPECT_THAT(Open()->tokenizer_config().chat_template, IsEmpty());
  EXPECT_EQ(Open()->tokenizer_json_path(), std::nullopt);
  dir_.Write("tokenizer_config.json",
             R"({"bos_token": {"content": "<s>"}, "eos_token": "</s>", "chat_template": "one"})");
  EXPECT_EQ(Open()->tokenizer_config().bos_token, "<s>");
  EXPECT_EQ(Open()->tokenizer_config().eos_token, "</s>");
  EXPECT_EQ(Open()->tokenizer_config().chat_template, "one");
  dir_.Write("tokenizer_config.json",
             R"({"bos_token": null, "chat_template": [
                 {"name": "rag", "template": "no"}, {"name": "default", "template": "two"},
                 {"name": "tool_use", "template": "no"}]})");
  EXPECT_EQ(Open()->tokenizer_config().bos_token, "");
  EXPECT_EQ(Open()->tokenizer_config().chat_template, "two");
  dir_.Write("chat_template.jinja", "three\n");
  EXPECT_EQ(Open()->tokenizer_config().chat_template, "three\n");
}

TEST_F(RandomFolder, IdsThatTheVocabularyDoesNotHaveBecomeWarnings) {
  dir_.Write("generation_config.json", R"({"eos_token_id": [7, 64, 3000000000], "top_k": -1})");
  const auto model = Open();
  EXPECT_THAT(model->generation().eos_ids, ElementsAre(2, 7));
  EXPECT_EQ(model->generation().top_k, -1);  // off, as vLLM spells it
  ASSERT_EQ(model->warnings().size(), 2u);
  EXPECT_THAT(model->warnings()[0],
              HasSubstr("generation_config.json: \"eos_token_id\" names the token 64"));
}

TEST_F(RandomFolder, SpecialTokensAreThoseOfAllFilesAsTransformersReadsThem) {
  const auto tokens = [&] {
    const auto model = Open();
    const TokenizerConfig& c = model->tokenizer_config();
    return std::pair(c.bos_token, c.eos_token);
  };
  using Pair = std::pair<std::string, std::string>;
  dir_.Write("special_tokens_map.json",
             R"({"bos_token": "<m>", "eos_token": {"content": "</m>"}})");
  EXPECT_EQ(tokens(), Pair("<m>", "</m>"));
  // Without added_tokens_decoder the map counts more, with it only where the other file is silent.
  dir_.Write("tokenizer_config.json", R"({"bos_token": "<t>", "eos_token": null})");
  EXPECT_EQ(tokens(), Pair("<m>", "</m>"));
  dir_.Write("tokenizer_config.json", R"({"bos_token": "<t>", "added_tokens_decoder": {}})");
  EXPECT_EQ(tokens(), Pair("<t>", "</m>"));
  dir_.Write("tokenizer_config.json", R"({"bos_token": null, "added_tokens_decoder": {}})");
  EXPECT_EQ(tokens(), Pair("", "</m>"));
}

TEST_F(RandomFolder, AddedTokensAreThoseOfAllFiles) {
  dir_.Write("tokenizer_config.json",
             R"({"added_tokens_decoder": {"7": {"content": "<a>", "rstrip": true, "special": true},
                                          "x": {"content": "<b>"}, "8": "<c>", "9": {}},
                 "additional_special_tokens": ["<d>", {"content": "<e>"}, 3],
                 "extra_special_tokens": {"image_token": "<f>"}, "pad_token": "<p>"})");
  dir_.Write("added_tokens.json", R"({"<g>": 11, "<h>": -1, "<i>": "x"})");
  std::vector<std::string> seen;
  const auto model = Open();
  for (const AddedToken& t : model->tokenizer_config().added) {
    seen.push_back(fmt::format("{} {} {}{}", t.content, t.id, t.special ? "special" : "plain",
                               t.rstrip ? " rstrip" : ""));
  }
  EXPECT_THAT(seen, ::testing::UnorderedElementsAre(
                        "<a> 7 special rstrip", "<c> 8 plain", "<p> -1 special", "<d> -1 special",
                        "<e> -1 special", "<f> -1 special", "<g> 11 plain"));
}

TEST_F(RandomFolder, RefusesATokenizerConfigOfOtherTypes) {
  for (const char* bad : {R"({"bos_token": 3})", R"({"eos_token": {"content": 3}})",
                          R"({"chat_template": {"default": "x"}})",
                          R"({"chat_template": [{"name": "default", "template": 3}]})"}) {
    dir_.Write("tokenizer_config.json", bad);
    ExpectRefused(OpenStatus(), absl::StatusCode::kDataLoss, {"tokenizer_config.json"});
  }
}

TEST(CheckpointPath, SaysWhatToDoWhereThereIsNoModel) {
  const TempDir dir;
  const auto status = [](const std::string& path) { return Checkpoint::Open(path, {}).status(); };
  ExpectRefused(status(dir.path() + "/absent"), absl::StatusCode::kNotFound, {"absent", "GGUF"});
  ExpectRefused(status(""), absl::StatusCode::kNotFound, {"GGUF"});
  ExpectRefused(status(dir.path()), absl::StatusCode::kNotFound, {"config.json", "GGUF file"});
  const std::string gguf = dir.Write("a.gguf", "");
  ExpectRefused(status(dir.path()), absl::StatusCode::kNotFound, {"a.gguf"});
  ExpectRefused(status(gguf), absl::StatusCode::kDataLoss, {"a.gguf", "empty"});
  ExpectRefused(status(dir.Write("x.txt", "hello world")), absl::StatusCode::kDataLoss,
                {"x.txt", "not a GGUF file"});
  const std::string config = dir.Write("config.json", kTinyConfig);
  ExpectRefused(status(config), absl::StatusCode::kNotFound, {"random:SEED"});
  ExpectRefused(status(dir.path()), absl::StatusCode::kNotFound, {"model.safetensors"});
  dir.Write("pytorch_model.bin", "x");
  ExpectRefused(status(dir.path()), absl::StatusCode::kNotFound, {"convert them to safetensors"});
  ExpectRefused(status(dir.Write("model.safetensors", "x")), absl::StatusCode::kInvalidArgument,
                {"folder"});
  ExpectRefused(status(dir.path()), absl::StatusCode::kDataLoss, {"model.safetensors"});
  ExpectRefused(status("/dev/null"), absl::StatusCode::kInvalidArgument, {"regular file"});
}

// What a reader of the rows of q and k gets back from GGUF's order (llama.cpp's permute).
TEST(StoredRow, UndoesTheInterleavingOfGguf) {
  TensorView t;
  t.rows = 16;
  t.interleaved_head_dim = 8;
  std::vector<int64_t> rows;
  for (int64_t r = 0; r < t.rows; ++r) rows.push_back(StoredRow(t, r));
  EXPECT_THAT(rows, ElementsAre(0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15));
}

}  // namespace
}  // namespace catena
