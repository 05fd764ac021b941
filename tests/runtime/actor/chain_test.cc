// A whole chain in one process: real stages and a real head as actors, the in-process transport
// between them. What a client gets is what one engine gives, bit by bit, and afterwards nothing is
// held.
#include <condition_variable>
#include <map>
#include <mutex>

#include <gtest/gtest.h>

#include "model/rope_frequencies.h"
#include "runtime/actor/gateway_actor.h"
#include "runtime/actor/head_actor.h"
#include "runtime/actor/stage_actor.h"
#include "runtime/chain/local_transport.h"
#include "runtime/local/generate.h"
#include "tests/kernels/far_backend.h"
#include "tests/runtime/tiny_checkpoint.h"

namespace catena {
namespace {

constexpr int64_t kPositions = 128;

class Waiter final : public LoopListener {
 public:
  void OnStart(PublicId) override {}
  void OnToken(const Token& token) override {
    const std::lock_guard lock(mutex_);
    tokens_.push_back(token.token);
    changed_.notify_all();
  }
  void OnEnd(const absl::Status& status, FinishReason, const LoopStats&) override {
    const std::lock_guard lock(mutex_);
    status_ = status;
    ended_ = true;
    changed_.notify_all();
  }
  absl::Status Wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return ended_; });
    return status_;
  }
  void WaitForTokens(size_t n) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ended_ || tokens_.size() >= n; });
  }
  std::vector<SampledToken> tokens() {
    const std::lock_guard lock(mutex_);
    return tokens_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<SampledToken> tokens_;
  absl::Status status_;
  bool ended_ = false;
};

// Actors that are found without asking anybody.
class Chain {
 public:
  // `far`: on devices whose work the actors do not wait for.
  Chain(const Checkpoint& checkpoint, const std::vector<LayerRange>& cuts, int kv_pages = 64,
        bool far = false)
      : config_(checkpoint.config()) {
    const auto make_backend = [far] {
      auto near = *NewBackend("auto", {.threads = 2});
      return far ? testing_kernels::NewFarBackend(std::move(near)) : std::move(near);
    };
    for (const LayerRange& layers : cuts) {
      StageActorOptions options{
          .compute = {},
          .stage = {.layers = layers, .max_rows = 16, .max_positions = kPositions},
          .journal_bytes = 1 << 20};
      const KvShape page = KvShapeOf(config_, options.stage);
      options.kv_bytes = kv_pages * (*NewBackend("auto", {.threads = 1}))->KvPageBytes(page);
      auto stage = StageActor::Load(checkpoint, options, make_backend());
      stages_.push_back(*std::move(stage));
      Join(stages_.back().get(), Role::kShard, layers, stages_.back()->row_bytes());
    }
    head_ = *HeadActor::Load(
        checkpoint, {.compute = {}, .max_rows = 4, .max_positions = kPositions}, make_backend());
    Join(head_.get(), Role::kHead, {}, head_->row_bytes());
    const Incarnation self = 1000;
    gateway_ = std::make_unique<GatewayActor>(GatewayCoreOptions{.self = self});
    transports_.push_back(
        std::make_unique<LocalTransport>(&hub_, Replica{"gateway", self}, gateway_.get()));
    gateway_->SetReplicas(replicas_);
    gateway_->Start(transports_.back().get());
  }
  ~Chain() {
    gateway_->Stop();
    for (auto& stage : stages_) stage->Stop();
    head_->Stop();
    transports_.clear();
  }

  std::pair<std::shared_ptr<Waiter>, uint64_t> Submit(std::vector<int32_t> prompt,
                                                      const SamplingParams& params,
                                                      uint32_t index = 0) {
    auto waiter = std::make_shared<Waiter>();
    LoopRequest request;
    request.prompt = std::move(prompt);
    request.params = params;
    request.sequence_index = index;
    return {waiter, gateway_->Submit(std::move(request), waiter)};
  }
  GatewayActor& gateway() { return *gateway_; }
  LocalHub& hub() { return hub_; }

  // Waits until no stage holds anything.
  void WaitUntilEmpty() {
    for (auto& stage : stages_) {
      while (stage->load().sequences > 0 || stage->load().kv_pages_used > 0)
        std::this_thread::yield();
      EXPECT_EQ(stage->load().journal_bytes, 0);
    }
    while (head_->load().sequences > 0) std::this_thread::yield();
  }

 private:
  void Join(Actor* actor, Role role, LayerRange layers, int64_t row_bytes) {
    const Incarnation id = replicas_.size() + 1;
    ReplicaInfo info;
    info.replica = {.address = "replica" + std::to_string(id), .incarnation = id};
    info.role = role;
    info.layers = layers;
    info.row_bytes = row_bytes;
    info.model.n_layers = config_.n_layers;
    info.model.vocab_size = config_.vocab_size;
    info.model.context_length = kPositions;
    info.load.kv_pages = 1;
    replicas_.push_back(info);
    transports_.push_back(std::make_unique<LocalTransport>(&hub_, info.replica, actor));
    actor->Start(transports_.back().get());
  }

  const ModelConfig config_;
  LocalHub hub_;
  std::vector<std::unique_ptr<StageActor>> stages_;
  std::unique_ptr<HeadActor> head_;
  std::unique_ptr<GatewayActor> gateway_;
  std::vector<std::unique_ptr<LocalTransport>> transports_;
  std::vector<ReplicaInfo> replicas_;
};

std::vector<int32_t> Prompt(int length, int seed) {
  std::vector<int32_t> prompt;
  for (int i = 0; i < length; ++i) prompt.push_back((i * 7 + seed) % kTinyVocab);
  return prompt;
}

std::vector<SampledToken> InOneProcess(const Checkpoint& checkpoint,
                                       const std::vector<int32_t>& prompt, SamplingParams params) {
  auto engine =
      *Engine::Load(checkpoint, {.threads = 1, .layers = {}, .max_positions = kPositions});
  const Sampler sampler = *Sampler::Make(params, kTinyVocab);
  std::vector<SampledToken> tokens;
  const GenerateRequest request{
      .prompt = prompt, .sampler = &sampler, .on_token = [&](const TokenEvent& e) {
        tokens.push_back(e.token);
        return true;
      }};
  EXPECT_TRUE(Generate(request, engine.get()).ok());
  return tokens;
}

void ExpectSame(const std::vector<SampledToken>& a, const std::vector<SampledToken>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].id, b[i].id) << i;
    EXPECT_EQ(a[i].logprob, b[i].logprob) << i;
  }
}

void ExpectTheBitsOfOneProcess(bool far) {
  const auto checkpoint = TinyCheckpoint(kTinyPhi3, DType::kQ8_0);
  const std::vector<std::vector<LayerRange>> all_cuts = {{{0, 4}},
                                                         {{0, 1}, {1, 4}},
                                                         {{0, 1}, {1, 2}, {2, 3}, {3, 4}},
                                                         {{0, 2}, {0, 2}, {2, 4}, {0, 4}}};
  for (const auto& cuts : all_cuts) {
    Chain chain(*checkpoint, cuts, 64, far);
    struct Client {
      std::vector<int32_t> prompt;
      SamplingParams params;
      std::shared_ptr<Waiter> waiter;
    };
    std::vector<Client> clients;
    for (int i = 0; i < 12; ++i) {
      Client c{.prompt = Prompt(1 + i * 9, i),
               .params = {.temperature = i % 2 == 0 ? 0.0 : 1.0,
                          .max_tokens = 5 + i * 2,
                          .logprobs = true,
                          .seed = static_cast<uint64_t>(i)},
               .waiter = nullptr};
      c.waiter = chain.Submit(c.prompt, c.params).first;
      clients.push_back(std::move(c));
    }
    for (Client& c : clients) {
      EXPECT_TRUE(c.waiter->Wait().ok());
      ExpectSame(c.waiter->tokens(), InOneProcess(*checkpoint, c.prompt, c.params));
    }
    chain.WaitUntilEmpty();
  }
}

TEST(ChainTest, GivesTheBitsOfOneProcessWhateverTheCutsAndTheCompany) {
  ExpectTheBitsOfOneProcess(false);
}

TEST(ChainTest, SoDoesAChainOfDevicesThatTakeTheirTime) { ExpectTheBitsOfOneProcess(true); }

TEST(ChainTest, LinksBetweenStagesMayBreakInTheMiddleOfASentence) {
  const auto checkpoint = TinyCheckpoint(kTinyPhi3, DType::kQ8_0);
  Chain chain(*checkpoint, {{0, 2}, {2, 4}});
  const std::vector<int32_t> prompt = Prompt(20, 3);
  const SamplingParams params{.max_tokens = 60, .logprobs = true};
  const auto waiter = chain.Submit(prompt, params).first;
  waiter->WaitForTokens(10);
  chain.hub().BreakLinks("replica1", "replica2");
  waiter->WaitForTokens(30);
  chain.hub().BreakLinks("replica2", "replica3");
  EXPECT_TRUE(waiter->Wait().ok());
  ExpectSame(waiter->tokens(), InOneProcess(*checkpoint, prompt, params));
  chain.WaitUntilEmpty();
}

TEST(ChainTest, ACancelFreesEverythingEverywhere) {
  const auto checkpoint = TinyCheckpoint(kTinyPhi3, DType::kQ8_0);
  for (const bool far : {false, true}) {
    Chain chain(*checkpoint, {{0, 2}, {2, 4}}, 8, far);
    for (int i = 0; i < 10; ++i) {
      const auto [waiter, ticket] = chain.Submit(Prompt(8, i), {.max_tokens = 120});
      if (i % 2 == 0) waiter->WaitForTokens(static_cast<size_t>(i));
      chain.gateway().Cancel(ticket);
      const absl::Status status = waiter->Wait();
      EXPECT_TRUE(status.ok() || absl::IsCancelled(status)) << status;
    }
    chain.WaitUntilEmpty();
  }
}

}  // namespace
}  // namespace catena
