// Tokenizer speed: load time, and MB/s of text on one core.
//
//   tokenizer_bench tokenizer.json|model.gguf text.txt [google benchmark flags]
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>

#include <benchmark/benchmark.h>

#include "model/checkpoint.h"
#include "model/tokenizer/tokenizer.h"

namespace catena {
namespace {

std::string ReadText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

absl::StatusOr<std::shared_ptr<const Tokenizer>> Load(const std::string& path) {
  if (!path.ends_with(".gguf")) return Tokenizer::FromTokenizerJson(ReadText(path), path);
  CATENA_ASSIGN_OR_RETURN(const auto checkpoint, Checkpoint::Open(path, {}));
  return Tokenizer::FromCheckpoint(*checkpoint);
}

void BenchLoad(benchmark::State& state, const std::string& path) {
  for (auto _ : state) benchmark::DoNotOptimize(Load(path));
}

void BenchEncode(benchmark::State& state, const Tokenizer& tokenizer, const std::string& text) {
  for (auto _ : state) benchmark::DoNotOptimize(tokenizer.Encode(text));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text.size()));
}

void BenchDecode(benchmark::State& state, const Tokenizer& tokenizer, const std::string& text) {
  const std::vector<int32_t> ids = *tokenizer.Encode(text);
  for (auto _ : state) benchmark::DoNotOptimize(tokenizer.Decode(ids, true));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text.size()));
}

int Main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: tokenizer_bench tokenizer.json|model.gguf text.txt [flags]\n";
    return 1;
  }
  const std::string path = argv[1], text = ReadText(argv[2]);
  const auto tokenizer = Load(path);
  if (!tokenizer.ok()) {
    std::cerr << tokenizer.status() << "\n";
    return 1;
  }
  const Tokenizer& t = **tokenizer;
  constexpr size_t kLine = 1'000'000;
  benchmark::RegisterBenchmark("load", BenchLoad, path)->Unit(benchmark::kMillisecond);
  benchmark::RegisterBenchmark("encode/text", BenchEncode, std::cref(t), text);
  benchmark::RegisterBenchmark("decode/text", BenchDecode, std::cref(t), text);
  for (const char* unit : {" ", "a", "\n", "0", "ab", "e\u0301", "\U0001F999"}) {
    std::string line;
    while (line.size() < kLine) line += unit;
    benchmark::RegisterBenchmark(fmt::format("encode/1MB of \"{}\"", unit).c_str(), BenchEncode,
                                 std::cref(t), line)
        ->Unit(benchmark::kMillisecond);
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace
}  // namespace catena

int main(int argc, char** argv) { return catena::Main(argc, argv); }
