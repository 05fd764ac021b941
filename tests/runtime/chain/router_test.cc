#include "runtime/chain/router.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/chain/limits.h"

namespace catena {
namespace {

using absl::StatusCode;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int kLayers = 8;
constexpr Incarnation kHead = 1000;

ReplicaInfo Any(Incarnation i, Role role) {
  ReplicaInfo r;
  r.replica = {.address = fmt::format("host{}:1", i), .incarnation = i};
  r.role = role;
  r.model = {.name = "m",
             .fingerprint = "f",
             .n_layers = kLayers,
             .vocab_size = 10,
             .hidden_size = 4,
             .context_length = 100,
             .rotary_switch = 0};
  r.numerics_id = "exact";
  r.row_bytes = 16;
  return r;
}

ReplicaInfo Shard(Incarnation i, int begin, int end, int64_t sequences = 0) {
  ReplicaInfo r = Any(i, Role::kShard);
  r.layers = {begin, end};
  r.load.kv_pages = 10;
  r.load.sequences = sequences;
  return r;
}

ReplicaInfo Head(Incarnation i = kHead, int64_t sequences = 0) {
  ReplicaInfo r = Any(i, Role::kHead);
  r.load.sequences = sequences;
  return r;
}

ReplicaInfo OfModel(const std::string& fingerprint, ReplicaInfo r) {
  r.model.fingerprint = fingerprint;
  return r;
}

class RouterTest : public ::testing::Test {
 protected:
  // The incarnations of the route that is chosen; empty where there is none.
  std::vector<Incarnation> Chosen() {
    std::vector<Incarnation> chosen;
    const absl::StatusOr<Route> route = router_.Choose();
    if (!route.ok()) return chosen;
    for (const ReplicaInfo& r : route->stages) chosen.push_back(r.replica.incarnation);
    return chosen;
  }
  void ExpectNone(StatusCode code, std::string_view says) {
    const absl::Status status = router_.Choose().status();
    EXPECT_EQ(status.code(), code);
    EXPECT_THAT(std::string(Message(status)), HasSubstr(std::string(says)));
    EXPECT_EQ(router_.complete(), status);
  }
  Router router_;
};

// --- which chains there are ---

TEST_F(RouterTest, KnowsNoRouteBeforeItKnowsAReplica) {
  EXPECT_EQ(router_.complete().code(), StatusCode::kUnavailable);
  EXPECT_EQ(router_.Choose().status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(router_.model(), ModelInfo());
  router_.Update({});
  ExpectNone(StatusCode::kUnavailable, "no shard and no head");
}

TEST_F(RouterTest, ChainsShardsInLayerOrderAndAHeadBehindThem) {
  router_.Update({Head(), Shard(2, 5, 8), Shard(1, 0, 5)});
  EXPECT_THAT(Chosen(), ElementsAre(1, 2, kHead));
  EXPECT_TRUE(router_.complete().ok());
  const Route route = *router_.Choose();
  EXPECT_EQ(route.head().replica.incarnation, kHead);
  EXPECT_EQ(route.shards(), 2u);
  EXPECT_EQ(route.Find(2), &route.stages[1]);
  EXPECT_EQ(route.Find(3), nullptr);
}

TEST_F(RouterTest, AnyCutsThatTileMakeAChain) {
  router_.Update({Shard(1, 0, 3), Shard(2, 3, 8), Shard(3, 0, 5), Shard(4, 4, 8), Head()});
  EXPECT_THAT(Chosen(), ElementsAre(1, 2, kHead));
}

TEST_F(RouterTest, NamesTheBlocksThatAreMissing) {
  router_.Update({Shard(1, 2, 4), Shard(2, 5, 7), Head()});
  ExpectNone(StatusCode::kUnavailable, "[0, 2), [4, 5), [7, 8)");
  router_.Update({Shard(1, 0, 4), Head()});
  ExpectNone(StatusCode::kUnavailable, "[4, 8)");
  router_.Update({Head()});
  ExpectNone(StatusCode::kUnavailable, "[0, 8)");
}

TEST_F(RouterTest, SaysThatTheHeadIsMissing) {
  router_.Update({Shard(1, 0, 8)});
  ExpectNone(StatusCode::kUnavailable, "no head can be reached");
}

TEST_F(RouterTest, SaysThatCutsDoNotMatch) {
  router_.Update({Shard(1, 0, 5), Shard(2, 4, 8), Head()});
  ExpectNone(StatusCode::kUnavailable, "no chain of the shards' ranges tiles [0, 8)");
}

TEST_F(RouterTest, PassesOverRangesThatAreNone) {
  router_.Update({Shard(1, -1, 3), Shard(2, 5, 5), Shard(3, 6, 4), Shard(4, 0, 9), Head()});
  EXPECT_FALSE(router_.Choose().ok());
  router_.Update(
      {Shard(1, -1, 3), Shard(2, 5, 5), Shard(3, 6, 4), Shard(4, 0, 9), Shard(5, 0, 8), Head()});
  EXPECT_THAT(Chosen(), ElementsAre(5, kHead));
}

// --- which of them is taken ---

TEST_F(RouterTest, TakesTheLeastLoadedReplicas) {
  router_.Update({Shard(1, 0, 8, 3), Shard(2, 0, 8, 2), Head(kHead, 2), Head(kHead + 1, 1)});
  EXPECT_THAT(Chosen(), ElementsAre(2, kHead + 1));
}

TEST_F(RouterTest, LoadWeighsAsManyBlocksAsItRunsThrough) {
  // Two sequences through eight blocks, or three through four and one through four.
  router_.Update({Shard(1, 0, 8, 2), Shard(2, 0, 4, 2), Shard(3, 4, 8, 1), Head()});
  EXPECT_THAT(Chosen(), ElementsAre(2, 3, kHead));
}

TEST_F(RouterTest, AmongEqualsTheShorterChainIsTaken) {
  router_.Update(
      {Shard(1, 0, 1), Shard(2, 1, 2), Shard(3, 2, 8), Shard(4, 0, 5), Shard(5, 5, 8), Head()});
  EXPECT_THAT(Chosen(), ElementsAre(4, 5, kHead));
}

TEST_F(RouterTest, ItsOwnSequencesCountBeforeAReplicaTells) {
  router_.Update({Shard(1, 0, 8), Shard(2, 0, 8), Head()});
  const Route one = *router_.Choose();
  ASSERT_EQ(one.stages[0].replica.incarnation, 1u);
  router_.AddSequence(one);
  const Route two = *router_.Choose();
  ASSERT_EQ(two.stages[0].replica.incarnation, 2u);
  router_.AddSequence(two);
  router_.AddSequence(two);
  EXPECT_THAT(Chosen(), ElementsAre(1, kHead));
  router_.RemoveSequence(two);
  router_.RemoveSequence(two);
  EXPECT_THAT(Chosen(), ElementsAre(2, kHead));
  router_.RemoveSequence(two);  // one that it does not have changes nothing
  EXPECT_THAT(Chosen(), ElementsAre(2, kHead));
}

// What a replica tells has the sequences that this gateway took there before; they are not counted
// twice.
TEST_F(RouterTest, CountsWhatItIsToldAndWhatItTookSince) {
  const std::vector<ReplicaInfo> replicas{Shard(1, 0, 8, 2), Shard(2, 0, 8, 3), Head(kHead, 2)};
  router_.Update(replicas);
  const Route first = *router_.Choose();
  ASSERT_EQ(first.stages[0].replica.incarnation, 1u);
  router_.AddSequence(first);
  router_.AddSequence(first);
  EXPECT_THAT(Chosen(), ElementsAre(2, kHead));
  router_.Update(replicas);
  EXPECT_THAT(Chosen(), ElementsAre(1, kHead));
  router_.AddSequence(first);
  router_.AddSequence(first);
  EXPECT_THAT(Chosen(), ElementsAre(2, kHead));
}

// Of what others send to where least is too, this gateway hears when it asks next.
TEST_F(RouterTest, DoesNotSendAllToWhereLeastWasWhenItAsked) {
  std::vector<ReplicaInfo> replicas{Shard(1, 0, 8, 20), Shard(2, 0, 8, 24), Shard(3, 0, 8, 24),
                                    Head()};
  router_.Update(replicas);
  std::map<Incarnation, int> sent;
  for (int i = 0; i < 12; ++i) {
    const Route route = *router_.Choose();
    router_.AddSequence(route);
    ++sent[route.stages[0].replica.incarnation];
  }
  EXPECT_EQ(sent[1], 7);  // 20 + 7, 24 + 3, 24 + 2

  // Ten gateways like this one, which sends what it does.
  for (size_t i = 0; i < replicas.size(); ++i) {
    replicas[i].load.sequences = std::vector<int64_t>{40, 49, 49, 120}[i];
  }
  router_.Update(replicas);
  for (const Incarnation next : {1, 2, 3}) {
    const Route route = *router_.Choose();
    EXPECT_EQ(route.stages[0].replica.incarnation, next);
    router_.AddSequence(route);
  }
}

TEST_F(RouterTest, AFullCacheIsTakenOnlyWhereThereIsNoOther) {
  ReplicaInfo full = Shard(1, 0, 8);
  full.load.kv_pages_used = full.load.kv_pages;
  router_.Update({full, Shard(2, 0, 8, 500), Head()});
  EXPECT_THAT(Chosen(), ElementsAre(2, kHead));
  router_.Update({full, Head()});
  EXPECT_THAT(Chosen(), ElementsAre(1, kHead));
}

// --- which replicas are used ---

TEST_F(RouterTest, WhatDrainsTakesNothingNew) {
  ReplicaInfo draining = Shard(1, 0, 8);
  draining.draining = true;
  router_.Update({draining, Shard(2, 0, 8, 9), Head()});
  EXPECT_THAT(Chosen(), ElementsAre(2, kHead));
  router_.Update({draining, Head()});
  ExpectNone(StatusCode::kUnavailable, "[0, 8)");
  ReplicaInfo head = Head();
  head.draining = true;
  router_.Update({Shard(2, 0, 8), head});
  ExpectNone(StatusCode::kUnavailable, "no head");
}

TEST_F(RouterTest, StagesOfOneRouteAreOfOneModelAndArithmetic) {
  ReplicaInfo arithmetic = Shard(2, 4, 8);
  arithmetic.numerics_id = "other";
  ReplicaInfo rows = Shard(2, 4, 8);
  rows.row_bytes = 32;
  for (const ReplicaInfo& other : {arithmetic, rows, OfModel("g", Shard(2, 4, 8))}) {
    router_.Update({Shard(1, 0, 4), other, Head()});
    ExpectNone(StatusCode::kFailedPrecondition, "[4, 8)");
    router_.Update({Shard(1, 0, 4), other, Head(), Shard(3, 4, 8, 99)});
    EXPECT_THAT(Chosen(), ElementsAre(1, 3, kHead));
  }
}

TEST_F(RouterTest, SaysOfWhichModelARefusedReplicaIs) {
  router_.Update({Shard(1, 0, 4), OfModel("g", Shard(2, 4, 8)), Head()});
  const std::string why = router_.WhyRefused(2);
  EXPECT_THAT(why, HasSubstr("the shard at host2:1"));
  EXPECT_THAT(why, HasSubstr("(g)"));
  EXPECT_THAT(why, HasSubstr("(f)"));
  EXPECT_THAT(why, HasSubstr("start it with the same model"));
  ExpectNone(StatusCode::kFailedPrecondition, why);
  EXPECT_EQ(router_.WhyRefused(1), "");
  EXPECT_EQ(router_.WhyRefused(kHead), "");
  EXPECT_EQ(router_.WhyRefused(77), "");  // never seen
}

TEST_F(RouterTest, WhatIsServedStaysWhileItIsComplete) {
  router_.Update({Shard(1, 0, 8), Head()});
  std::vector<ReplicaInfo> replicas = {Shard(1, 0, 8), Head()};
  for (Incarnation i = 10; i < 14; ++i) replicas.push_back(OfModel("g", Shard(i, 0, 8)));
  replicas.push_back(OfModel("g", Head(20)));
  router_.Update(replicas);
  EXPECT_EQ(router_.model().fingerprint, "f");
  EXPECT_THAT(Chosen(), ElementsAre(1, kHead));
}

TEST_F(RouterTest, ThenWhateverIsComplete) {
  router_.Update({Shard(1, 0, 8), Head()});
  router_.Update({Shard(1, 0, 8), Shard(2, 0, 8), Shard(3, 0, 8), OfModel("g", Shard(4, 0, 8)),
                  OfModel("g", Head(5))});
  EXPECT_EQ(router_.model().fingerprint, "g");
  EXPECT_THAT(Chosen(), ElementsAre(4, 5));
}

TEST_F(RouterTest, ThenWhateverHasMostReplicas) {
  router_.Update({OfModel("a", Shard(1, 0, 4)), OfModel("b", Shard(2, 0, 4)),
                  OfModel("b", Shard(3, 0, 4)), OfModel("c", Shard(4, 0, 4))});
  EXPECT_EQ(router_.model().fingerprint, "b");
  ExpectNone(StatusCode::kFailedPrecondition, "is of model");
}

// --- what is served ---

TEST_F(RouterTest, TheContextIsWhatEveryReplicaCanTake) {
  ReplicaInfo small = Shard(1, 0, 4);
  small.model.context_length = 50;
  ReplicaInfo other = OfModel("g", Shard(9, 0, 4));
  other.model.context_length = 10;
  router_.Update({small, Shard(2, 4, 8), Head(), other});
  EXPECT_EQ(router_.model().context_length, 50);
  EXPECT_EQ(router_.model().name, "m");
  EXPECT_EQ(router_.model().n_layers, kLayers);
}

TEST_F(RouterTest, TheContextHasABoundWhateverReplicasSay) {
  ReplicaInfo head = Head();
  head.model.context_length = limits::kMaxPositions + 1;
  ReplicaInfo shard = Shard(1, 0, 8);
  shard.model.context_length = limits::kMaxPositions + 1;
  router_.Update({shard, head});
  EXPECT_EQ(router_.model().context_length, limits::kMaxPositions);
}

TEST_F(RouterTest, TheModelKeepsItsNameWhenAllReplicasAreGone) {
  router_.Update({Shard(1, 0, 8), Head()});
  router_.Update({});
  EXPECT_EQ(router_.model().name, "m");
  ExpectNone(StatusCode::kUnavailable, "[0, 8)");
}

TEST_F(RouterTest, TheVersionTellsThatSomethingMayHaveChanged) {
  uint64_t before = router_.version();
  router_.Update({Shard(1, 0, 8), Head()});
  EXPECT_GT(router_.version(), std::exchange(before, router_.version()));
  router_.Disconnected(1, absl::UnavailableError("broke"));
  EXPECT_GT(router_.version(), before);
}

TEST_F(RouterTest, HasAllReplicasInLayerOrder) {
  router_.Update({Shard(3, 4, 8), Shard(2, 0, 4), Shard(1, 0, 4), OfModel("g", Shard(4, 0, 2))});
  std::vector<Incarnation> order;
  for (const ReplicaInfo& r : router_.replicas()) order.push_back(r.replica.incarnation);
  EXPECT_THAT(order, ElementsAre(4, 1, 2, 3));
}

TEST(StageName, SaysWhatItHoldsAndWhere) {
  EXPECT_EQ(StageName(Shard(7, 2, 5)), "the shard of blocks [2, 5) at host7:1");
  EXPECT_EQ(StageName(Head(8)), "the head at host8:1");
}

}  // namespace
}  // namespace catena
