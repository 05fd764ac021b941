// Writes the seeds of each fuzz target into DIR/TARGET/: make_fuzz_seeds DIR.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "catena/v1/generation.pb.h"

#include "services/link/codec.h"
#include "tests/model/safetensors_writer.h"
#include "tests/model/tiny_models.h"
#include "tests/runtime/chain/sample_messages.h"

namespace {

constexpr char kPhi3Config[] = R"({"model_type":"phi3","vocab_size":512,"hidden_size":16,
"intermediate_size":256,"num_hidden_layers":4,"num_attention_heads":4,"num_key_value_heads":2,
"hidden_act":"silu","max_position_embeddings":256,"original_max_position_embeddings":32,
"rms_norm_eps":1e-5,"rope_theta":10000.0,"sliding_window":16,"tie_word_embeddings":false,
"bos_token_id":1,"eos_token_id":[2,3],"partial_rotary_factor":1.0,"head_dim":null,
"rope_scaling":{"type":"longrope","short_factor":[1,1.5],"long_factor":[2,4.0]}})";
constexpr char kLlamaConfig[] = R"({"model_type":"llama","vocab_size":512,"hidden_size":96,
"intermediate_size":256,"num_hidden_layers":6,"num_attention_heads":6,"mlp_bias":false,
"attention_bias":false,"max_position_embeddings":256,"rms_norm_eps":1e-5,"rope_parameters":{
"rope_type":"llama3","rope_theta":500000.0,"factor":8.0,"low_freq_factor":1.0,
"high_freq_factor":4.0,"original_max_position_embeddings":64}})";

constexpr char kSentencePieceJson[] = R"({"added_tokens":[{"id":5,"content":"<x>","special":true,
"lstrip":false,"rstrip":true,"single_word":false,"normalized":false}],"normalizer":{"type":
"Sequence","normalizers":[{"type":"Prepend","prepend":"_"},{"type":"Replace","pattern":{"String":
" "},"content":"_"}]},"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":
{"id":"<x>"}}]},"decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"_"},
"content":" "},{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,
"stop":0}]},"model":{"type":"BPE","unk_token":"c","fuse_unk":true,"byte_fallback":true,"vocab":
{"a":0,"b":1,"c":2,"ab":3,"_":4,"<0xFF>":6},"merges":["a b"]}})";
constexpr char kByteLevelJson[] = R"({"added_tokens":[{"id":5,"content":"<x>","special":false,
"normalized":true,"single_word":true}],"normalizer":{"type":"NFC"},"pre_tokenizer":{"type":
"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},{"type":"Metaspace",
"replacement":"_","prepend_scheme":"first","split":true},{"type":"ByteLevel","add_prefix_space":
true}]},"decoder":{"type":"ByteLevel"},"model":{"type":"BPE","ignore_merges":true,"vocab":{"a":0,
"b":1,"\u0120":2,"\u0120a":3,"aa":4},"merges":[["\u0120","a"],"a a"]}})";
// Its table has one entry, which makes U+0001 an "a".
constexpr char kUnigramJson[] = R"({"added_tokens":[{"id":0,"content":"<x>","special":true}],
"normalizer":{"type":"Sequence","normalizers":[{"type":"Precompiled","precompiled_charsmap":
"EAAAAAAIAAAAAACAAAAAAAEJAABhAA=="},{"type":"Strip","strip_left":true,"strip_right":true},
{"type":"Replace","pattern":{"Regex":" {2,}"},"content":"_"}]},"pre_tokenizer":{"type":
"Metaspace","replacement":"_",
"prepend_scheme":"always","split":true},"decoder":{"type":"Metaspace","replacement":"_",
"prepend_scheme":"always"},"model":{"type":"Unigram","unk_id":0,"byte_fallback":true,"vocab":[
["<x>",0],["_",-1.5],["a",-2],["aa",-3.5],["_a",-2.5],["<0x41>",-9]]}})";

std::string Safetensors(std::string_view header, size_t data_bytes) {
  const uint64_t n = header.size();
  std::string out(reinterpret_cast<const char*>(&n), sizeof n);
  return out.append(header).append(data_bytes, 'x');
}

std::string FrameBytes(const catena::ChainMessage& message) {
  catena::v1::Frame frame;
  Encode(message, {catena::DType::kBF16, catena::kSampleRowBytes}, &frame);
  return frame.SerializeAsString();
}

// As generate_request_fuzz reads it: what the model has, then the request.
std::string GenerateRequestBytes() {
  catena::v1::GenerateRequest request;
  request.set_model("m");
  request.set_text("Once");
  catena::v1::SamplingOptions* s = request.mutable_sampling();
  s->set_temperature(0.7);
  s->set_top_k(40);
  s->set_top_p(0.9);
  s->set_n(2);
  s->set_logprobs(true);
  s->set_top_logprobs(3);
  s->add_stop("end");
  s->add_stop_token_ids(5);
  (*s->mutable_logit_bias())[7] = -1.5f;
  return "\x03" + request.SerializeAsString();
}

// A tensor of every type, in what says that it is one part of several.
catena::GgufWriter EveryFormat() {
  catena::GgufWriter w;
  w.AddU32("split.no", 1);
  w.AddU32("split.count", 2);
  for (const catena::DType t : catena::kAllDTypes) w.AddTensor(catena::Name(t), {256, 2}, t);
  return w;
}

// As quantised_fuzz reads it: how, then the file. One weight of eight rows in each layout.
std::string QuantisedBytes(std::string_view scheme) {
  catena::SafetensorsWriter w;
  const auto zeros = [](size_t n) { return std::string(n, '\0'); };
  w.Add("a.qweight", "I32", {32, 1}, zeros(128));
  w.Add("a.qzeros", "I32", {1, 1}, zeros(4));
  w.Add("a.scales", "F16", {1, 8}, zeros(16));
  w.Add("b.qweight", "I32", {4, 8}, zeros(128));
  w.Add("b.qzeros", "I32", {1, 1}, zeros(4));
  w.Add("b.scales", "F16", {1, 8}, zeros(16));
  w.Add("b.g_idx", "I32", {32}, zeros(128));
  w.Add("c.weight_packed", "I32", {8, 4}, zeros(128));
  w.Add("c.weight_shape", "I64", {2}, std::vector<int64_t>{8, 32});
  w.Add("c.weight_scale", "BF16", {8, 1}, zeros(16));
  w.Add("c.weight_zero_point", "I32", {1, 1}, zeros(4));
  w.Add("d.weight", "I8", {8, 32}, zeros(256));
  w.Add("d.weight_scale", "F32", {8, 1}, zeros(32));
  w.Add("d.weight_zero_point", "I8", {8, 1}, zeros(8));
  w.Add("e.weight", "F8_E4M3", {8, 32}, zeros(256));
  w.Add("e.weight_scale_inv", "F32", {4, 1}, zeros(16));
  w.Add("f.weight", "F8_E4M3", {8, 32}, zeros(256));
  w.Add("f.weight_scale", "F32", {1}, zeros(4));
  return std::string(scheme) + '\0' + w.Bytes();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: make_fuzz_seeds DIR\n");
    return 1;
  }
  const std::filesystem::path dir = argv[1];
  const auto write = [&](const char* target, const char* name, const std::string& bytes) {
    std::filesystem::create_directories(dir / target);
    std::ofstream(dir / target / name, std::ios::binary) << bytes;
  };
  write("config_fuzz", "phi3", kPhi3Config);
  write("config_fuzz", "llama", kLlamaConfig);
  write("json_fuzz", "config", kPhi3Config);
  write("gguf_fuzz", "llama", catena::TinyLlama().Bytes());
  write("gguf_fuzz", "phi3", catena::TinyPhi3().Bytes());
  write("gguf_fuzz", "formats", EveryFormat().Bytes());
  write("gguf_fuzz", "empty", catena::GgufWriter().Bytes());
  write("safetensors_fuzz", "two",
        Safetensors(R"({"__metadata__":{"format":"pt"},)"
                    R"("a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},)"
                    R"("b":{"dtype":"BF16","shape":[3],"data_offsets":[16,22]}})",
                    22));
  write("safetensors_fuzz", "none", Safetensors("{}", 0));
  write("quantised_fuzz", "awq", QuantisedBytes(R"({"quant_method":"awq","group_size":32})"));
  write("quantised_fuzz", "gptq", QuantisedBytes(R"({"quant_method":"gptq","bits":4})"));
  write("quantised_fuzz", "compressed", QuantisedBytes(R"({"quant_method":"compressed-tensors"})"));
  write("quantised_fuzz", "fp8",
        QuantisedBytes(R"({"quant_method":"fp8","weight_block_size":[2,32]})"));
  const std::vector<catena::ChainMessage> messages = catena::SampleMessages();
  for (size_t i = 0; i < messages.size(); ++i) {
    write("frame_fuzz", std::to_string(i).c_str(), FrameBytes(messages[i]));
  }
  write("generate_request_fuzz", "sampled", GenerateRequestBytes());
  const std::string text = std::string(1, '\0') + "ab <x> it's 12 A\u0301bC \U0001F999\n";
  write("tokenizer_json_fuzz", "sentencepiece", kSentencePieceJson + text);
  write("tokenizer_json_fuzz", "byte_level", kByteLevelJson + text);
  write("tokenizer_json_fuzz", "unigram", kUnigramJson + text + "\x01");
  write("tokenizer_gguf_fuzz", "llama", "0\n1a\n1b\n1ab\n3<x>\n" + text);
  write("tokenizer_gguf_fuzz", "gpt2", "1\n1a\n1b\n1ab\n3<x>\n\na b" + text);
  write("utf8_fuzz", "text", text);
  write("regex_fuzz", "words",
        R"((?i:'s)|[^\r\n\p{L}]?\p{L}+|\s+(?!\S)|[[:punct:]&&[^a]]++)" + text);
  write("regex_fuzz", "costly", "(a+)+$" + std::string(1, '\0') + std::string(40, 'a') + "b");
  return 0;
}
