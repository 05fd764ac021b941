// Which processes `catena up` runs, and how it calls them.
#include "services/up/cluster.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

namespace catena::up {
namespace {

using testing::Contains;
using testing::ElementsAre;

ClusterOptions TwoStages() {
  ClusterOptions options;
  options.program = "catena";
  options.layers = {{0, 3}, {3, 5}};
  options.listen = "127.0.0.1:0";
  options.model_flags = {"--model", "m"};
  options.stage_flags = {"--threads", "1"};
  options.shard_flags = {"--kv-memory", "1GiB"};
  options.gateway_flags = {"--api-keys", "k"};
  options.tokenizer_flags = {"--chat-template", "chatml"};
  options.role_flags = {"--tls-cert", "c"};
  return options;
}

TEST(ClusterTest, EachRoleGetsItsFlagsAndTheGatewayAllAddresses) {
  const auto all = PlanCluster(TwoStages(), "dir");
  ASSERT_EQ(all.size(), 5u);
  EXPECT_THAT(all[0].spec.argv,
              ElementsAre("catena", "gateway", "--tokenizer", "unix:dir/tokenizer", "--shard",
                          "unix:dir/shard-0", "--shard", "unix:dir/shard-1", "--head",
                          "unix:dir/head", "--api-keys", "k", "--tls-cert", "c"));
  EXPECT_EQ(all[0].spec.listen, "127.0.0.1:0");
  EXPECT_THAT(all[1].spec.argv, ElementsAre("catena", "tokenizer", "--model", "m",
                                            "--chat-template", "chatml", "--tls-cert", "c"));
  EXPECT_THAT(all[3].spec.argv, ElementsAre("catena", "shard", "--model", "m", "--layers", "3-5",
                                            "--next", "unix:dir/head", "--threads", "1",
                                            "--kv-memory", "1GiB", "--tls-cert", "c"));
  EXPECT_EQ(all[3].spec.listen, "unix:dir/shard-1");
  EXPECT_EQ(all[3].layers, (LayerRange{3, 5}));
  EXPECT_THAT(all[4].spec.argv,
              ElementsAre("catena", "head", "--model", "m", "--threads", "1", "--tls-cert", "c"));
}

TEST(ClusterTest, TheGatewayStopsFirst) {
  const auto all = PlanCluster(TwoStages(), "dir");
  for (size_t i = 1; i < all.size(); ++i) {
    EXPECT_LT(all[0].spec.stop_phase, all[i].spec.stop_phase) << all[i].spec.name;
  }
}

TEST(ClusterTest, ReplicasOfAStageAreToldApart) {
  ClusterOptions options = TwoStages();
  options.replicas = {{1, 2}};
  const auto all = PlanCluster(options, "dir");
  std::vector<std::string> names, addresses;
  for (const ClusterProcess& p : all) {
    names.push_back(p.spec.name);
    addresses.push_back(p.spec.listen);
  }
  EXPECT_THAT(all[2].spec.argv, Contains("unix:dir/shard-1.0,unix:dir/shard-1.1"));
  EXPECT_THAT(names,
              ElementsAre("gateway", "tokenizer", "shard 0", "shard 1.0", "shard 1.1", "head"));
  EXPECT_EQ(ShardCount(options), 3);
  EXPECT_EQ(std::set<std::string>(addresses.begin(), addresses.end()).size(), addresses.size());
}

TEST(ClusterTest, ShardsTakeOneGpuAfterAnother) {
  ClusterOptions options = TwoStages();
  options.replicas = {{1, 2}};
  options.devices = {4, 6};
  std::vector<std::string> devices;
  for (const ClusterProcess& p : PlanCluster(options, "dir")) {
    const auto flag = std::find(p.spec.argv.begin(), p.spec.argv.end(), "--device");
    devices.push_back(flag == p.spec.argv.end() ? "" : *(flag + 1));
  }
  EXPECT_THAT(devices, ElementsAre("", "", "4", "6", "4", "6"));
}

TEST(ClusterTest, HeadsAndTokenizersAreToldApart) {
  ClusterOptions options = TwoStages();
  options.heads = 2;
  options.tokenizers = 2;
  const auto all = PlanCluster(options, "dir");
  std::vector<std::string> names;
  for (const ClusterProcess& p : all) names.push_back(p.spec.name);
  EXPECT_THAT(names, ElementsAre("gateway", "tokenizer.0", "tokenizer.1", "shard 0", "shard 1",
                                 "head.0", "head.1"));
  EXPECT_THAT(all[4].spec.argv, Contains("unix:dir/head.0,unix:dir/head.1"));
  EXPECT_EQ(all[6].spec.listen, "unix:dir/head.1");
  EXPECT_THAT(all[0].spec.argv, Contains("unix:dir/tokenizer.1"));
}

TEST(ClusterTest, TheFolderOfSocketsIsOursAloneAndGoesWithItsOwner) {
  std::string path;
  {
    auto folder = SocketFolder::Make();
    ASSERT_TRUE(folder.ok());
    path = folder->path();
    struct stat info {};
    ASSERT_EQ(stat(path.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0700u);
    const SocketFolder moved = std::move(*folder);
    EXPECT_TRUE(std::filesystem::exists(path));
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace catena::up
