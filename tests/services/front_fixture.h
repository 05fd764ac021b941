// A gateway's public API with a scripted token loop, and tokenizers, on unix sockets in a temporary
// folder; the real tokenizer of Phi-3.
#pragma once

#include <fstream>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <vector>

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "runtime/text/text_stream.h"
#include "services/gateway/generation_service.h"
#include "services/tokenizer/tokenizer_service.h"
#include "tests/services/fake_token_loop.h"
#include "tests/shared_data.h"
#include "tests/temp_dir.h"

namespace catena {

inline std::shared_ptr<const Tokenizer> Phi3Tokenizer() {
  static const std::shared_ptr<const Tokenizer> tokenizer =
      []() -> std::shared_ptr<const Tokenizer> {
    const std::string path = SharedPath("phi3/tokenizer.json");
    if (path.empty()) return nullptr;
    std::stringstream text;
    text << std::ifstream(path).rdbuf();
    return *Tokenizer::FromTokenizerJson(text.str(), path);
  }();
  return tokenizer;
}

inline constexpr int64_t kTestVocab = 32064;
inline constexpr int64_t kTestContext = 1000;

inline ReplicaInfo TestTokenizerInfo() {
  ReplicaInfo info;
  info.replica = {.address = "unix:somewhere", .incarnation = 7};
  info.role = Role::kTokenizer;
  info.model = {.name = "phi3-test",
                .fingerprint = "f1",
                .n_layers = 32,
                .vocab_size = kTestVocab,
                .hidden_size = 3072,
                .context_length = kTestContext,
                .rotary_switch = 512};
  return info;
}

// A server of one service on a socket of its own.
class TestServer {
 public:
  TestServer(const std::string& address, grpc::Service* service) : address_(address) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address, grpc::InsecureServerCredentials());
    builder.RegisterService(service);
    server_ = builder.BuildAndStart();
    EXPECT_NE(server_, nullptr);
  }
  ~TestServer() { Stop(); }

  // Breaks what runs.
  void Stop() { server_->Shutdown(std::chrono::system_clock::now()); }
  const std::string& address() const { return address_; }
  std::shared_ptr<grpc::Channel> Connect() const {
    return grpc::CreateChannel(address_, grpc::InsecureChannelCredentials());
  }

 private:
  std::string address_;
  std::unique_ptr<grpc::Server> server_;
};

class TestReplicas final : public TokenizerReplicas {
 public:
  std::vector<TokenizerReplica> Serving() override {
    std::lock_guard lock(mutex_);
    return serving_;
  }
  void Set(const std::vector<const TestServer*>& servers) {
    std::vector<TokenizerReplica> serving;
    for (const TestServer* s : servers) serving.push_back({s->address(), s->Connect()});
    std::lock_guard lock(mutex_);
    serving_ = std::move(serving);
  }

 private:
  std::mutex mutex_;
  std::vector<TokenizerReplica> serving_;
};

class TestFacts final : public ModelFactsSource {
 public:
  absl::StatusOr<std::shared_ptr<const ModelFacts>> Facts() const override {
    return std::make_shared<const ModelFacts>(facts);
  }
  absl::StatusOr<std::shared_ptr<const ModelFacts>> LastFacts() const override { return Facts(); }
  ModelFacts facts{.model = TestTokenizerInfo().model,
                   .generation = {},
                   .has_tokenizer = true,
                   .has_chat_template = true};
};

class FrontTest : public ::testing::Test {
 protected:
  explicit FrontTest(const MessageGuardOptions& options = {}) : front_(options) {}

  void SetUp() override {
    if (Phi3Tokenizer() == nullptr) GTEST_SKIP() << kNoSharedData;
    tokenizer_service_ = std::make_unique<TokenizerServiceImpl>(TokenizerOptions());
    tokenizer_ = MakeTokenizer("tokenizer");
    replicas_.Set({tokenizer_.get()});
    client_options_.decode.first_pause = std::chrono::milliseconds(1);
  }

  void TearDown() override {
    gateway_.reset();
    pool_.Stop();
  }

  TokenizerServiceOptions TokenizerOptions() {
    return {.tokenizer = Phi3Tokenizer(),
            .chat = *ChatTemplate::ByName("phi3", "<s>", "<|endoftext|>"),
            .no_chat = absl::OkStatus(),
            .generation = {},
            .describe = TestTokenizerInfo,
            .pool = &pool_};
  }
  std::unique_ptr<TestServer> MakeTokenizer(const std::string& name) {
    return std::make_unique<TestServer>(Address(name), tokenizer_service_.get());
  }
  std::string Address(const std::string& name) const {
    return "unix:" + folder_.path() + "/" + name;
  }

  // The API asks for one of these.
  void UseKeys(const std::string& text) {
    keys_.emplace(*ApiKeys::Parse(text, "keys"));
    front_.keys = &*keys_;
  }

  // The gateway's API; made with the options as they are at the first call.
  v1::GenerationService::Stub& api() {
    if (!stub_) {
      client_ = std::make_unique<TokenizerClient>(&replicas_, client_options_);
      front_.loop = &loop_;
      front_.tokenizer = client_.get();
      front_.facts = &facts_;
      front_.house.pool = &pool_;
      service_ = std::make_unique<GenerationServiceImpl>(&front_);
      gateway_ = std::make_unique<TestServer>(Address("gateway"), service_.get());
      stub_ = v1::GenerationService::NewStub(gateway_->Connect());
    }
    return *stub_;
  }

  // The text of ids in one process, and how many of them it took to a stop string.
  struct Expected {
    std::string text;
    std::vector<int32_t> ids;
    bool stopped = false;
  };
  static Expected InOneProcess(const std::vector<int32_t>& ids, const SamplingParams& params) {
    TextStream stream(Phi3Tokenizer().get(), params);
    Expected out;
    for (const int32_t id : ids) {
      if (stream.stopped()) break;
      out.text += stream.Push(id);
      out.ids.push_back(id);
    }
    out.text += stream.Flush();
    out.stopped = stream.stopped();
    return out;
  }

  TempDir folder_;
  WorkerPool pool_{2};
  FakeTokenLoop loop_;
  TestFacts facts_;
  std::optional<KeyRing> keys_;
  Front front_;
  TokenizerClientOptions client_options_;
  TestReplicas replicas_;
  std::unique_ptr<TokenizerServiceImpl> tokenizer_service_;
  std::unique_ptr<TestServer> tokenizer_;
  std::unique_ptr<TokenizerClient> client_;
  std::unique_ptr<GenerationServiceImpl> service_;
  std::unique_ptr<TestServer> gateway_;
  std::unique_ptr<v1::GenerationService::Stub> stub_;
};

}  // namespace catena
