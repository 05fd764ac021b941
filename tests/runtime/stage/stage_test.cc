// The exactness contract of stages: the same bits for any cut, chunking, batch mix and number of
// threads, over tiny random models of several architectures, float and quantised.
#include "runtime/stage/stage.h"

#include <cstring>
#include <random>

#include <gtest/gtest.h>

#include "kernels/backends.h"
#include "runtime/local/engine.h"
#include "tests/kernels/far_backend.h"
#include "tests/runtime/tiny_checkpoint.h"

namespace catena {
namespace {

struct Config {
  const char* json;
  DType weights;
  Activations activations;
  DType kv;
};

const Config kConfigs[] = {
    {kTinyPhi3, DType::kQ4_0, Activations::kInt8, DType::kF16},
    {kTinyLlama, DType::kQ8_0, Activations::kInt8, DType::kF16},
    {kTinyLlama, DType::kQ4_1, Activations::kF32, DType::kF32},
    {kTinyPhi3, DType::kBF16, Activations::kInt8, DType::kF32},
    {kTinyLlama, DType::kBF16, Activations::kBf16, DType::kF16},
    {kTinyGemma3, DType::kQ4_0, Activations::kInt8, DType::kF16},
    {kTinyGemma3, DType::kF32, Activations::kF32, DType::kF32},
    {kTinyGemma2, DType::kQ8_0, Activations::kInt8, DType::kF16},
};

std::vector<int32_t> RandomIds(int n, uint32_t seed) {
  std::mt19937 rng(seed);
  std::vector<int32_t> ids(n);
  for (int32_t& id : ids) id = static_cast<int32_t>(rng() % kTinyVocab);
  return ids;
}

std::unique_ptr<Engine> MakeEngine(const Config& c, std::vector<LayerRange> layers,
                                   std::unique_ptr<Backend> backend) {
  return *Engine::Load(
      *TinyCheckpoint(c.json, c.weights),
      {.kv_dtype = c.kv, .layers = std::move(layers), .max_rows = 300, .max_sequences = 8},
      std::move(backend));
}

std::unique_ptr<Engine> MakeEngine(const Config& c, std::vector<LayerRange> layers, int threads) {
  return MakeEngine(c, std::move(layers),
                    *NewBackend("auto", {.threads = threads, .activations = c.activations}));
}

// On a backend whose memory the host cannot touch.
std::unique_ptr<Engine> MakeFarEngine(const Config& c, std::vector<LayerRange> layers) {
  auto near = *NewBackend("auto", {.threads = 2, .activations = c.activations});
  return MakeEngine(c, std::move(layers), testing_kernels::NewFarBackend(std::move(near)));
}

// What comes of the spans, in host memory.
HostRows Forward(Engine& engine, const std::vector<StageSpan>& spans) {
  EXPECT_TRUE(engine.Forward(spans).ok());
  return engine.Fetch();
}

std::vector<uint32_t> Bits(const HostRows& rows, int first, int n) {
  std::vector<uint32_t> bits(n * rows.cols);
  std::memcpy(bits.data(), rows.row(first), bits.size() * 4);
  return bits;
}

void Append(const std::vector<uint32_t>& from, std::vector<uint32_t>* to) {
  to->insert(to->end(), from.begin(), from.end());
}

// The hidden states of every position of `ids`, alone, in the chunks given, then `decode` at a
// time.
std::vector<uint32_t> Alone(Engine& engine, const std::vector<int32_t>& ids,
                            const std::vector<int>& chunks) {
  const SequenceId id = *engine.Open(0);
  std::vector<uint32_t> bits;
  int64_t at = 0;
  for (int n : chunks) {
    const auto span = absl::Span<const int32_t>(ids).subspan(at, n);
    const HostRows hidden = Forward(engine, {{id, at, span}});
    Append(Bits(hidden, 0, n), &bits);
    at += n;
  }
  EXPECT_EQ(at, static_cast<int64_t>(ids.size()));
  engine.Close(id);
  return bits;
}

TEST(Stage, BitsDoNotDependOnCutsChunksOrThreads) {
  const std::vector<int32_t> ids = RandomIds(150, 1);
  for (const Config& c : kConfigs) {
    const auto whole = Alone(*MakeEngine(c, {}, 1), ids, {150});
    const std::vector<LayerRange> each = {{0, 1}, {1, 2}, {2, 3}, {3, 4}};
    EXPECT_EQ(Alone(*MakeEngine(c, each, 2), ids, {64, 64, 22}), whole);
    EXPECT_EQ(Alone(*MakeEngine(c, {{0, 3}, {3, 4}}, 3), ids, {1, 99, 1, 1, 47, 1}), whole);
    EXPECT_EQ(Alone(*MakeEngine(c, {{0, 1}, {1, 4}}, 2), ids, std::vector<int>(150, 1)), whole);
    EXPECT_EQ(Alone(*MakeFarEngine(c, {{0, 1}, {1, 4}}), ids, {1, 99, 1, 1, 47, 1}), whole);
  }
}

TEST(Stage, BitsDoNotDependOnBatchMates) {
  const std::vector<int32_t> a = RandomIds(120, 1), b = RandomIds(120, 2), d = RandomIds(120, 3);
  for (const Config& c : kConfigs) {
    auto engine = MakeEngine(c, {{0, 2}, {2, 4}}, 2);
    const auto alone_a = Alone(*engine, a, {120}), alone_b = Alone(*engine, b, {120});
    const SequenceId sa = *engine->Open(0), sb = *engine->Open(0), sd = *engine->Open(0);
    std::vector<uint32_t> got_a, got_b;
    std::mt19937 rng(5);
    // Rounds of any mix: each sequence advances by 0, 1 or many rows.
    std::vector<int64_t> at(3, 0);
    while (at[0] < 120 || at[1] < 120) {
      std::vector<StageSpan> spans;
      std::vector<int> owner;
      const std::vector<int32_t>* ids[] = {&a, &b, &d};
      const SequenceId sequences[] = {sa, sb, sd};
      for (int s : {2, 0, 1}) {
        const int64_t want = rng() % 3 == 0 ? 0 : rng() % 2 == 0 ? 1 : 1 + rng() % 40;
        const int64_t n = std::min<int64_t>(want, 120 - at[s]);
        if (n == 0) continue;
        spans.push_back(
            {sequences[s], at[s], absl::Span<const int32_t>(*ids[s]).subspan(at[s], n)});
        owner.push_back(s);
        at[s] += n;
      }
      if (spans.empty()) continue;
      const HostRows hidden = Forward(*engine, spans);
      int row = 0;
      for (size_t i = 0; i < spans.size(); ++i) {
        const int n = static_cast<int>(spans[i].ids.size());
        if (owner[i] == 0) Append(Bits(hidden, row, n), &got_a);
        if (owner[i] == 1) Append(Bits(hidden, row, n), &got_b);
        row += n;
      }
    }
    EXPECT_EQ(got_a, alone_a);
    EXPECT_EQ(got_b, alone_b);
  }
}

TEST(Stage, ATruncatedSequenceComputedAgainHasTheSameBits) {
  const std::vector<int32_t> ids = RandomIds(100, 4);
  auto engine = MakeEngine(kConfigs[1], {{0, 2}, {2, 4}}, 2);
  const auto whole = Alone(*engine, ids, {100});
  const SequenceId id = *engine->Open(0);
  std::vector<int32_t> wrong = ids;
  for (size_t i = 70; i < 100; ++i) wrong[i] = (wrong[i] + 1) % kTinyVocab;
  ASSERT_TRUE(engine->Forward({{id, 0, wrong}}).ok());
  ASSERT_TRUE(engine->Truncate(id, 70).ok());
  const auto rest = absl::Span<const int32_t>(ids).subspan(70);
  const HostRows hidden = Forward(*engine, {{id, 70, rest}});
  const std::vector<uint32_t> tail(whole.begin() + 70 * hidden.cols, whole.end());
  EXPECT_EQ(Bits(hidden, 0, 30), tail);
}

TEST(Stage, ARecycledPageLeaksNothingIntoAnotherSequence) {
  const std::vector<int32_t> ids = RandomIds(100, 4);
  auto engine = MakeEngine(kConfigs[0], {}, 1);
  const auto before = Alone(*engine, ids, {100});
  Alone(*engine, RandomIds(300, 9), {300});
  EXPECT_EQ(Alone(*engine, ids, {50, 50}), before);
  EXPECT_EQ(engine->kv_bytes_in_use(), 0);
}

TEST(Stage, ASequenceComputedAnewWithAnotherTableIsAsIfOpenedWithIt) {
  const std::vector<int32_t> ids = RandomIds(60, 4);
  const auto backend = *NewBackend("auto", {.threads = 2});
  const auto stage = *Stage::Load(
      *TinyCheckpoint(kTinyLongRope, DType::kQ8_0),
      {.layers = {0, 4}, .max_rows = 64, .max_positions = 64, .kv_pages = 3}, backend.get());
  auto run = [&](SequenceId id) {
    EXPECT_TRUE(stage->cache().Reserve(id, 60).ok());
    EXPECT_TRUE(stage->Start({{id, 0, ids}}, {}).ok());
    return Bits(stage->Finish(), 0, 60);
  };
  ASSERT_TRUE(stage->Open(1, 0).ok());
  ASSERT_TRUE(stage->Open(2, 1).ok());
  const auto with_short = run(1), with_long = run(2);
  EXPECT_NE(with_short, with_long);
  ASSERT_TRUE(stage->cache().Truncate(1, 0).ok());
  ASSERT_TRUE(stage->ChooseRotary(1, 1).ok());
  EXPECT_EQ(run(1), with_long);
  EXPECT_EQ(stage->ChooseRotary(1, 2).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(stage->ChooseRotary(3, 1).code(), absl::StatusCode::kNotFound);
}

// On a device nothing is done before somebody waits; what a step reads stays as it is till then.
TEST(Stage, WhatIsStartedIsThereWhenItIsFinished) {
  const std::vector<int32_t> ids = RandomIds(40, 4);
  const auto checkpoint = TinyCheckpoint(kTinyLlama, DType::kQ8_0);
  const auto run = [&](std::unique_ptr<Backend> backend, bool far, bool to_host) {
    const StageOptions options{
        .layers = {0, 2}, .max_rows = 40, .max_positions = 100, .kv_pages = 2};
    StageOptions rest = options;
    rest.layers = {2, 4};
    const auto first = *Stage::Load(*checkpoint, options, backend.get());
    const auto last = *Stage::Load(*checkpoint, rest, backend.get());
    for (Stage* stage : {first.get(), last.get()}) {
      EXPECT_TRUE(stage->Open(1, 0).ok());
      EXPECT_TRUE(stage->cache().Reserve(1, 80).ok());
    }
    for (int64_t at : {0, 40}) {  // the second begins before the first is done
      const StageRows hidden = *first->Start({{1, at, ids}}, {}, {.after = last->done()});
      hidden.done->Wait();  // as far as it may go while the other has not looked
      const StageRunOptions run_options{.to_host = to_host};
      EXPECT_TRUE(last->Start({{1, at, ids}}, {.host = {}, .device = hidden}, run_options).ok());
    }
    EXPECT_EQ(last->Ready(), !far);
    const auto bits = Bits(last->Finish(), 0, 40);
    EXPECT_TRUE(last->Ready());
    return bits;
  };
  const auto near = [] { return *NewBackend("auto", {.threads = 2}); };
  const auto expected = run(near(), false, false);
  for (const bool to_host : {false, true}) {
    EXPECT_EQ(run(testing_kernels::NewFarBackend(near()), true, to_host), expected);
  }
}

class StageErrors : public ::testing::Test {
 protected:
  void SetUp() override {
    backend_ = *NewBackend("auto", {.threads = 1});
    const auto checkpoint = TinyCheckpoint(kTinyLlama, DType::kQ8_0);
    stage_ = *Stage::Load(*checkpoint,
                          {.layers = {0, 2}, .max_rows = 8, .max_positions = 70, .kv_pages = 1},
                          backend_.get());
    ASSERT_TRUE(stage_->cache().Open(1, 0).ok());
    ASSERT_TRUE(stage_->cache().Reserve(1, 10).ok());
  }
  absl::StatusCode Run(std::vector<StageSpan> spans) {
    return stage_->Start(spans, {}).status().code();
  }
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Stage> stage_;
};

TEST_F(StageErrors, WrongSpansAreRefusedAndChangeNothing) {
  const std::vector<int32_t> one = {5}, nine(9, 5), bad = {kTinyVocab}, negative = {-1};
  EXPECT_EQ(Run({{2, 0, one}}), absl::StatusCode::kFailedPrecondition);  // not open
  EXPECT_EQ(Run({{1, 1, one}}), absl::StatusCode::kFailedPrecondition);  // a gap
  EXPECT_EQ(Run({{1, 0, one}, {1, 0, one}}), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Run({{1, 0, bad}}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Run({{1, 0, negative}}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Run({{1, 0, nine}}), absl::StatusCode::kInvalidArgument);  // max_rows
  EXPECT_EQ(Run({{1, 0, {}}}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Run({{1, 70, one}}), absl::StatusCode::kInvalidArgument);  // max_positions
  EXPECT_EQ(stage_->cache().Find(1)->length, 0);
  EXPECT_EQ(Run({{1, 0, one}}), absl::StatusCode::kOk);
  EXPECT_EQ(stage_->cache().Find(1)->length, 1);
}

TEST_F(StageErrors, ARotaryTableThatTheModelLacksIsRefused) {
  EXPECT_EQ(stage_->Open(3, 1).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(stage_->Open(3, -1).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(stage_->Open(3, 0).code(), absl::StatusCode::kOk);
}

TEST_F(StageErrors, AFullCacheSaysSo) {
  EXPECT_EQ(stage_->cache().Reserve(1, 65).code(), absl::StatusCode::kResourceExhausted);
  stage_->cache().Close(1);
  EXPECT_EQ(stage_->cache().free_pages(), 1);
}

}  // namespace
}  // namespace catena
