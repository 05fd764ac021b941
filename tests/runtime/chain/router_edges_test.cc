// Which routes are taken where stages do not reach each other, or fail.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/chain/router.h"
#include "tests/runtime/chain/six_replicas.h"

namespace catena {
namespace {

using std::chrono::seconds;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class RouterEdgesTest : public ::testing::Test {
 protected:
  RouterEdgesTest() { Update(); }
  void Update() { router_.Update(replicas_); }
  ReplicaInfo& replica(Incarnation i) { return replicas_[i - 1]; }
  static Edge To(Incarnation i) { return {i, absl::UnavailableError("no way")}; }

  std::vector<Incarnation> Chosen(std::optional<Incarnation> through = {}) const {
    std::vector<Incarnation> chosen;
    const absl::StatusOr<Route> route = router_.Choose(through);
    if (!route.ok()) return chosen;
    for (const ReplicaInfo& r : route->stages) chosen.push_back(r.replica.incarnation);
    return chosen;
  }

  std::vector<ReplicaInfo> replicas_ = SixReplicas();
  Router router_;
};

TEST_F(RouterEdgesTest, PassesByAnEdgeThatAStageSaysIsBrokenUntilItSaysOtherwise) {
  EXPECT_THAT(Chosen(), ElementsAre(1, 3, 5));
  router_.SetBrokenEdges(1, {To(3)});
  EXPECT_THAT(Chosen(), ElementsAre(1, 4, 5));
  router_.SetBrokenEdges(1, {To(3), To(4)});
  EXPECT_THAT(Chosen(), ElementsAre(2, 3, 5));
  router_.SetBrokenEdges(3, {To(5)});
  EXPECT_THAT(Chosen(), ElementsAre(2, 3, 6));
  router_.SetBrokenEdges(1, {});
  router_.SetBrokenEdges(3, {});
  EXPECT_THAT(Chosen(), ElementsAre(1, 3, 5));
}

TEST_F(RouterEdgesTest, WhatReplicasDescribeCountsForAsLongAsTheyDo) {
  replica(1).broken_edges = {To(3)};
  Update();
  EXPECT_THAT(Chosen(), ElementsAre(1, 4, 5));
  Update();
  EXPECT_THAT(Chosen(), ElementsAre(1, 4, 5));
  replica(1).broken_edges.clear();
  Update();
  EXPECT_THAT(Chosen(), ElementsAre(1, 3, 5));
}

TEST_F(RouterEdgesTest, WhereNoRouteIsLeftTheEdgesAreNamed) {
  for (const Incarnation i : {1, 2}) replica(i).broken_edges = {To(3), To(4)};
  Update();
  EXPECT_TRUE(absl::IsUnavailable(router_.complete()));
  EXPECT_THAT(std::string(Message(router_.complete())),
              AllOf(HasSubstr("the shard of blocks [0, 2) at host1:1 cannot reach the shard of "
                              "blocks [2, 4) at host3:1 (no way)"),
                    HasSubstr("host2:1"), Not(HasSubstr("start"))));
  EXPECT_THAT(router_.BrokenAt(replica(2)), HasSubstr("host2:1 cannot reach"));
  EXPECT_EQ(router_.BrokenAt(replica(3)), "");
}

TEST_F(RouterEdgesTest, AnEdgeToOneThatIsGoneIsNobodysTrouble) {
  replica(1).broken_edges = {To(77)};
  Update();
  EXPECT_EQ(router_.BrokenAt(replica(1)), "");
  EXPECT_THAT(Chosen(), ElementsAre(1, 3, 5));
  router_.SetBrokenEdges(77, {To(1)});
  EXPECT_THAT(Chosen(), ElementsAre(1, 3, 5));
}

TEST_F(RouterEdgesTest, WhomWeDoNotReachIsPassedByUntilTheLinkIsUp) {
  router_.Disconnected(1, absl::UnavailableError("refused"));
  EXPECT_THAT(Chosen(), ElementsAre(2, 3, 5));
  Update();  // it describes itself all the same
  EXPECT_THAT(Chosen(), ElementsAre(2, 3, 5));
  ASSERT_EQ(router_.Unreachable().size(), 1u);
  EXPECT_EQ(router_.Unreachable()[0].address, "host1:1");
  router_.Disconnected(2, absl::UnavailableError("refused"));
  EXPECT_THAT(
      std::string(Message(router_.complete())),
      HasSubstr("the gateway cannot reach the shard of blocks [0, 2) at host1:1 (refused)"));
  router_.Connected(1);
  EXPECT_THAT(Chosen(), ElementsAre(1, 3, 5));
}

TEST_F(RouterEdgesTest, AnotherProcessAtTheAddressIsReachedUntilThatFails) {
  router_.Disconnected(1, absl::UnavailableError("died"));
  replica(1).replica.incarnation = 100;
  Update();
  EXPECT_THAT(Chosen(), ElementsAre(100, 3, 5));
}

TEST_F(RouterEdgesTest, ARouteMayBeAskedToGoThroughAReplica) {
  replica(2).load.sequences = 50;
  replica(4).load.sequences = 50;
  Update();
  EXPECT_THAT(Chosen(2), ElementsAre(2, 3, 5));
  EXPECT_THAT(Chosen(4), ElementsAre(1, 4, 5));
  EXPECT_THAT(Chosen(6), ElementsAre(1, 3, 6));
  router_.SetBrokenEdges(1, {To(4)});
  EXPECT_THAT(Chosen(4), ElementsAre(2, 4, 5));
  EXPECT_THAT(Chosen(77), IsEmpty());
  EXPECT_TRUE(absl::IsUnavailable(router_.Choose(77).status()));
}

TEST_F(RouterEdgesTest, ARouteThroughAReplicaWithOtherCutsIsFoundToo) {
  ReplicaInfo whole = replica(1);
  whole.replica = {.address = "host9:1", .incarnation = 9};
  whole.layers = {0, 4};
  replicas_.push_back(whole);
  Update();
  EXPECT_THAT(Chosen(9), ElementsAre(9, 5));
  EXPECT_THAT(Chosen(2), ElementsAre(2, 3, 5));
}

TEST_F(RouterEdgesTest, AReplicaThatFailsDoesNotAttractWhatComesNext) {
  for (const Incarnation i : {2, 4, 6})
    replica(i).load.sequences = 200;  // those that work are busy
  Update();
  ASSERT_THAT(Chosen(), ElementsAre(1, 3, 5));
  router_.Failed(replica(1));
  EXPECT_THAT(Chosen(), ElementsAre(2, 3, 5));
  router_.Pass(Instant(seconds(5)));
  EXPECT_THAT(Chosen(), ElementsAre(2, 3, 5));
  Update();
  EXPECT_THAT(Chosen(), ElementsAre(2, 3, 5));
  router_.Pass(Instant(seconds(120)));
  EXPECT_THAT(Chosen(), ElementsAre(1, 3, 5)) << "it is given another chance";
}

TEST_F(RouterEdgesTest, WhatFailsAgainAndAgainIsPassedByForLonger) {
  for (const Incarnation i : {2, 4, 6}) replica(i).load.sequences = 50;
  Update();
  const auto passed_by = [&](Instant from) {
    Instant now = from;
    for (; Chosen()[0] != 1; now += seconds(1)) router_.Pass(now);
    return now - from;
  };
  router_.Failed(replica(1));
  const Nanoseconds once = passed_by(Instant());
  router_.Failed(replica(1));
  const Instant later{seconds(1000)};
  router_.Pass(later);
  router_.Failed(replica(1));
  EXPECT_GT(passed_by(later), 2 * once);
}

TEST_F(RouterEdgesTest, OneThatGetsThroughEndsThePenalty) {
  const Route route = *router_.Choose();
  router_.Failed(replica(1));
  router_.EdgeFailed(replica(1), replica(3));
  EXPECT_THAT(Chosen()[0], 2);
  router_.Worked(route);
  EXPECT_THAT(Chosen(), ElementsAre(1, 3, 5));
}

TEST_F(RouterEdgesTest, AnEdgeThatFailedIsPassedByAndItsEndsAreNot) {
  router_.EdgeFailed(replica(1), replica(3));
  EXPECT_THAT(Chosen(), ElementsAre(1, 4, 5));
  EXPECT_THAT(Chosen(3), ElementsAre(2, 3, 5));
}

TEST_F(RouterEdgesTest, WhereThereIsNoOtherWayAPenaltyBarsNothing) {
  for (const Incarnation i : {1, 2, 3, 4, 5, 6}) router_.Failed(replica(i));
  EXPECT_FALSE(Chosen().empty());
  EXPECT_TRUE(router_.complete().ok());
}

TEST_F(RouterEdgesTest, ManyReplicasAreSearchedInOnePass) {
  replicas_.clear();
  for (Incarnation i = 1; i <= 1000; ++i) {
    ReplicaInfo& r = replicas_.emplace_back();
    r.replica = {.address = fmt::format("host{}:1", i), .incarnation = i};
    r.role = i == 1000 ? Role::kHead : Role::kShard;
    if (i < 1000) r.layers = i < 500 ? LayerRange{0, 2} : LayerRange{2, 4};
    r.model.n_layers = 4;
    r.load.kv_pages = 1;
    if (i < 499) r.broken_edges = {To(500)};
  }
  Update();
  EXPECT_THAT(Chosen(500), ElementsAre(499, 500, 1000));
}

}  // namespace
}  // namespace catena
