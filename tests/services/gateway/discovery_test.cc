// What a gateway knows of its replicas, and what it does where one dies, freezes or is of another
// model.
#include "services/gateway/discovery.h"

#include <condition_variable>
#include <future>
#include <mutex>

#include <gmock/gmock.h>

#include "services/common/log.h"
#include "tests/services/gateway/fake_replicas.h"
#include "tests/services/log_lines.h"
#include "tests/temp_dir.h"

namespace catena {
namespace {

using testing::HasSubstr;

constexpr std::chrono::seconds kPatience{20};

// A name server that says what a test wants.
class FakeResolver {
 public:
  using Answer = absl::StatusOr<std::vector<std::string>>;

  Answer Resolve() {
    std::unique_lock lock(mutex_);
    ++asked_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !hangs_; });
    return answer_;
  }
  void Say(const Answer& answer, bool hangs = false) {
    const std::lock_guard lock(mutex_);
    answer_ = answer;
    hangs_ = hangs;
    changed_.notify_all();
  }
  // Until it was asked `more` times from now on.
  void AwaitAsked(int more) {
    std::unique_lock lock(mutex_);
    const int times = asked_ + more;
    EXPECT_TRUE(changed_.wait_for(lock, kPatience, [&] { return asked_ >= times; }));
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  Answer answer_;
  bool hangs_ = false;
  int asked_ = 0;
};

class DiscoveryTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(InitLog({.role = "test", .level = "error"}).ok()); }
  void TearDown() override {
    if (discovery_ != nullptr) discovery_->Stop();
    actor_.Stop();
  }

  std::string Address(const std::string& name) const {
    return "unix:" + folder_.path() + "/" + name;
  }
  std::unique_ptr<FakeReplica> Make(Role role, const std::string& fingerprint = "f1") {
    const Incarnation incarnation = (incarnations_ += 10);
    return std::make_unique<FakeReplica>(role, Address(fmt::format("{}", incarnation)), fingerprint,
                                         incarnation);
  }
  void Start() {
    options_.credentials = grpc::InsecureChannelCredentials();
    actor_.Start(&links_);
    discovery_ = std::make_unique<Discovery>(options_, &actor_);
    discovery_->Start();
  }
  // The host of names that end in ".test" is what the resolver says, which threads may ask to the
  // end of the process.
  std::shared_ptr<FakeResolver> UseFakeResolver() {
    auto resolver = std::make_shared<FakeResolver>();
    options_.resolve = [resolver](const std::string&) { return resolver->Resolve(); };
    options_.resolve_every = std::chrono::milliseconds(5);
    return resolver;
  }
  // A shard and a head of the model f1, and a discovery that looks for them and the tokenizers.
  void StartWith(const std::vector<const FakeReplica*>& tokenizers) {
    if (shard_ == nullptr) shard_ = Make(Role::kShard);
    head_ = Make(Role::kHead);
    if (options_.shards.empty()) options_.shards = {shard_->address()};
    options_.heads = {head_->address()};
    for (const FakeReplica* t : tokenizers) options_.tokenizers.push_back(t->address());
    Start();
  }
  // The view after all replicas were asked once more.
  GatewayView Ask() {
    std::promise<GatewayView> view;
    discovery_->AskNow([&] { actor_.AskView([&](const GatewayView& v) { view.set_value(v); }); });
    return view.get_future().get();
  }

  TempDir folder_;
  Incarnation incarnations_ = 0;  // in tens: a replica that is another process has the next one
  DiscoveryOptions options_;
  NoLinks links_;
  GatewayActor actor_{{.self = 99}};
  std::unique_ptr<FakeReplica> shard_, head_;
  std::unique_ptr<Discovery> discovery_;
};

TEST_F(DiscoveryTest, WithoutATokenizerThereAreNoFacts) {
  const auto tokenizer = Make(Role::kTokenizer);
  StartWith({tokenizer.get()});
  EXPECT_TRUE(Ask().route.ok());
  const auto facts = discovery_->Facts();
  ASSERT_TRUE(facts.ok()) << facts.status();
  EXPECT_EQ((*facts)->model.fingerprint, "f1");
  EXPECT_EQ(discovery_->Serving().size(), 1u);
  tokenizer->Stop();
  Ask();
  EXPECT_TRUE(absl::IsUnavailable(discovery_->Facts().status())) << discovery_->Facts().status();
  EXPECT_THAT(std::string(discovery_->Facts().status().message()),
              HasSubstr("no tokenizer can be reached"));
  const auto last = discovery_->LastFacts();
  ASSERT_TRUE(last.ok()) << last.status();
  EXPECT_EQ((*last)->model.fingerprint, "f1");
  tokenizer->Listen();
  while (!discovery_->Facts().ok()) Ask();
}

TEST_F(DiscoveryTest, ATokenizerOfAnotherModelIsRefusedByName) {
  const auto other = Make(Role::kTokenizer, "f2");
  StartWith({other.get()});
  const GatewayView view = Ask();
  const absl::Status status = discovery_->Facts().status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_EQ(discovery_->LastFacts().status(), status);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr(other->address()), HasSubstr("f1"), HasSubstr("f2"),
                    HasSubstr("start it with the same model")));
  EXPECT_TRUE(discovery_->Serving().empty());
  for (const KnownReplica& r : discovery_->replicas()) {
    EXPECT_EQ(WhyRefused(r, view), r.role == Role::kTokenizer ? status.message() : "");
  }
}

TEST_F(DiscoveryTest, RefusedReplicasAreSaidInTheLogOnce) {
  const LogLines log;
  const auto tokenizer = Make(Role::kTokenizer, "f2");
  const auto other = Make(Role::kShard, "f2");
  shard_ = Make(Role::kShard);
  options_.shards = {shard_->address(), other->address()};
  StartWith({tokenizer.get()});
  for (int i = 0; i < 5; ++i) Ask();
  const std::vector<std::string> refused = log.With("refused");
  ASSERT_EQ(refused.size(), 2u) << testing::PrintToString(refused);
  for (const std::string& line : refused) {
    EXPECT_THAT(line, AllOf(HasSubstr("f1"), HasSubstr("f2"), HasSubstr("start it with the same")));
  }
  other->Become("f2");  // another process of the same model is no news
  for (int i = 0; i < 5; ++i) Ask();
  EXPECT_EQ(log.With("refused").size(), 2u);
  tokenizer->Become("f1");
  for (int i = 0; i < 5; ++i) Ask();
  EXPECT_EQ(log.With("tokenizer " + tokenizer->address() + " is no longer refused").size(), 1u);
  EXPECT_EQ(log.With("refused").size(), 3u);
  discovery_->Stop();
}

TEST_F(DiscoveryTest, OfTwoTokenizersTheOneOfTheServedModelIsUsed) {
  const auto other = Make(Role::kTokenizer, "f2"), ours = Make(Role::kTokenizer);
  StartWith({other.get(), ours.get()});
  Ask();
  const auto facts = discovery_->Facts();
  ASSERT_TRUE(facts.ok()) << facts.status();
  EXPECT_EQ((*facts)->model.name, "model-f1");
  ASSERT_EQ(discovery_->Serving().size(), 1u);
  EXPECT_EQ(discovery_->Serving()[0].address, ours->address());
}

TEST_F(DiscoveryTest, AFrozenReplicaDoesNotMakeOneWhoAsksWaitForTwoRounds) {
  options_.answer_within = options_.detection.probe_timeout = std::chrono::milliseconds(2'000);
  const auto tokenizer = Make(Role::kTokenizer);
  tokenizer->Freeze(true);
  StartWith({tokenizer.get()});
  tokenizer->AwaitAsked(1);
  std::promise<int> asked;
  discovery_->AskNow([&] { asked.set_value(tokenizer->asked()); });
  EXPECT_EQ(asked.get_future().get(), 1) << "another round was begun, which takes as long";
  tokenizer->Freeze(false);
  Ask();
  EXPECT_TRUE(discovery_->Facts().ok());
}

TEST_F(DiscoveryTest, ANameKeepsItsAddressesWhileItsServerFails) {
  const auto resolver = UseFakeResolver();
  resolver->Say(std::vector<std::string>{"127.0.0.1"});
  shard_ = std::make_unique<FakeReplica>(Role::kShard, "127.0.0.1:0", "f1", ++incarnations_);
  const std::string port = shard_->address().substr(shard_->address().rfind(':'));
  options_.shards = {"shards.test" + port};
  StartWith({});
  resolver->AwaitAsked(2);
  EXPECT_TRUE(Ask().route.ok());
  resolver->Say(absl::UnavailableError("temporary failure in name resolution"));
  resolver->AwaitAsked(3);
  const GatewayView view = Ask();
  EXPECT_TRUE(view.route.ok()) << view.route;
  resolver->Say(absl::NotFoundError("no such name"));
  resolver->AwaitAsked(3);
  EXPECT_FALSE(Ask().route.ok()) << "a name that is gone takes no new sequences";
}

TEST_F(DiscoveryTest, AResolverThatHangsHoldsUpNothingElse) {
  const auto resolver = UseFakeResolver();
  resolver->Say(std::vector<std::string>{}, true);
  const auto tokenizer = Make(Role::kTokenizer);
  options_.tokenizers = {"hanging.test:1"};
  StartWith({tokenizer.get()});
  EXPECT_TRUE(Ask().route.ok());
  EXPECT_TRUE(discovery_->Facts().ok());
  discovery_.reset();
  resolver->Say(std::vector<std::string>{});
}

}  // namespace
}  // namespace catena
