// Time of one Sample over a vocabulary, for the settings that users choose. Logits are normal with
// a few likely tokens above, as a trained model's are; "flat" has none, the worst case of top-p.
#include <random>

#include <benchmark/benchmark.h>

#include "model/sampler/sampler.h"

namespace catena {
namespace {

std::vector<float> Logits(int64_t vocab_size, bool flat) {
  std::mt19937 rng(1);
  std::normal_distribution<float> noise(0, flat ? 1 : 2);
  std::vector<float> logits(vocab_size);
  for (float& z : logits) z = noise(rng);
  if (!flat) {
    for (int i = 0; i < 200; ++i) logits[rng() % vocab_size] += 10;
  }
  return logits;
}

void RunSample(benchmark::State& state, SamplingParams params, bool flat = false) {
  const int64_t vocab_size = state.range(0);
  const std::vector<float> logits = Logits(vocab_size, flat);
  auto sampler = Sampler::Make(params, vocab_size);
  SamplerScratch scratch;
  TokenHistory history(100);
  for (int32_t i = 0; i < 200; ++i) history.Append(i * 7);
  uint32_t sequence_index = 0;
  for (auto _ : state) {
    auto token = sampler->Sample(logits, history, sequence_index++, &scratch);
    benchmark::DoNotOptimize(token);
  }
}

void Greedy(benchmark::State& state) { RunSample(state, {}); }
void GreedyPenalised(benchmark::State& state) { RunSample(state, {.repetition_penalty = 1.1}); }
void Temperature(benchmark::State& state) { RunSample(state, {.temperature = 1}); }
void TopKTopP(benchmark::State& state) {
  RunSample(state, {.temperature = 1, .top_k = 40, .top_p = 0.95});
}
void TopP(benchmark::State& state) { RunSample(state, {.temperature = 1, .top_p = 0.95}); }
void TopPFlat(benchmark::State& state) {
  RunSample(state, {.temperature = 1, .top_p = 0.95}, /*flat=*/true);
}
void MinP(benchmark::State& state) { RunSample(state, {.temperature = 1, .min_p = 0.05}); }
void TypicalP(benchmark::State& state) { RunSample(state, {.temperature = 1, .typical_p = 0.9}); }
void GreedyLogprobs(benchmark::State& state) {
  RunSample(state, {.logprobs = true, .top_logprobs = 5});
}

BENCHMARK(Greedy)->Arg(32064)->Arg(128256)->Unit(benchmark::kMicrosecond);
BENCHMARK(GreedyPenalised)->Arg(32064)->Arg(128256)->Unit(benchmark::kMicrosecond);
BENCHMARK(GreedyLogprobs)->Arg(32064)->Arg(128256)->Unit(benchmark::kMicrosecond);
BENCHMARK(Temperature)->Arg(32064)->Arg(128256)->Unit(benchmark::kMicrosecond);
BENCHMARK(TopKTopP)->Arg(32064)->Arg(128256)->Unit(benchmark::kMicrosecond);
BENCHMARK(TopP)->Arg(32064)->Arg(128256)->Unit(benchmark::kMicrosecond);
BENCHMARK(TopPFlat)->Arg(32064)->Arg(128256)->Unit(benchmark::kMicrosecond);
BENCHMARK(MinP)->Arg(32064)->Arg(128256)->Unit(benchmark::kMicrosecond);
BENCHMARK(TypicalP)->Arg(32064)->Arg(128256)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace catena
