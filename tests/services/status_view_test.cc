// What `catena status` and `catena debug` show of what the gateway says.
#include "services/cli/status_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace catena::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

v1::ReplicaStatus* Add(v1::GetStatusResponse* status, v1::Role role, const std::string& address,
                       int begin = 0, int end = 0) {
  v1::ReplicaStatus* s = status->add_replicas();
  s->set_health(v1::REPLICA_HEALTH_SERVING);
  s->mutable_replica()->set_role(role);
  s->mutable_replica()->set_address(address);
  s->mutable_replica()->set_layer_begin(begin);
  s->mutable_replica()->set_layer_end(end);
  return s;
}

v1::GetStatusResponse Cluster() {
  v1::GetStatusResponse status;
  status.set_ready(true);
  Add(&status, v1::ROLE_HEAD, "h");
  Add(&status, v1::ROLE_SHARD, "b", 10, 12);
  v1::ReplicaLoad* load =
      Add(&status, v1::ROLE_SHARD, "a", 2, 10)->mutable_replica()->mutable_load();
  status.mutable_replicas(2)->mutable_replica()->mutable_model()->set_name("tiny");
  load->set_kv_pages(4);
  load->set_kv_pages_used(1);
  load->set_kv_page_bytes(1 << 20);
  load->set_sequences(7);
  Add(&status, v1::ROLE_TOKENIZER, "t");
  return status;
}

std::vector<std::string> Addresses(const nlohmann::ordered_json& json) {
  std::vector<std::string> all;
  for (const auto& p : json["processes"]) all.push_back(p["address"]);
  return all;
}

TEST(StatusViewTest, JsonHasTheProcessesInTheOrderOfData) {
  const auto json = StatusJson(Cluster(), "gw:1");
  EXPECT_THAT(Addresses(json), ElementsAre("gw:1", "t", "a", "b", "h"));
  EXPECT_EQ(json["gateway"], "gw:1");
  EXPECT_EQ(json["ready"], true);
  EXPECT_TRUE(json["problem"].is_null());
  const auto& shard = json["processes"][2];
  EXPECT_EQ(shard["role"], "shard");
  EXPECT_EQ(shard["layers"], "2-9");  // the last block, not one past it
  EXPECT_EQ(shard["health"], "serving");
  EXPECT_EQ(shard["load"]["kv_pages_used"], 1);
  EXPECT_EQ(shard["load"]["sequences"], 7);
  EXPECT_TRUE(json["processes"][0]["layers"].is_null());
}

TEST(StatusViewTest, TableShowsEachReplicaWithItsUse) {
  const std::string table = StatusTable(Cluster(), "gw:1");
  EXPECT_THAT(table, testing::StartsWith("ready · tiny"));
  EXPECT_THAT(table, testing::ContainsRegex("shard 2-9 +a +serving +██ +25 % of 4.0 MiB +7 +0 "));
  EXPECT_LT(table.find("tokenizer"), table.find("shard 2-9"));
  EXPECT_LT(table.find("shard 2-9"), table.find("shard 10-11"));
  EXPECT_THAT(table, Not(HasSubstr("!")));
}

TEST(StatusViewTest, WhatIsWrongIsNamed) {
  v1::GetStatusResponse status = Cluster();
  status.set_ready(false);
  status.set_problem("no replica holds blocks [10, 12)");
  status.mutable_replicas(1)->set_health(v1::REPLICA_HEALTH_UNREACHABLE);
  status.mutable_replicas(1)->set_problem("no answer");
  status.mutable_replicas(2)->mutable_replica()->mutable_load()->set_divergences(3);
  status.mutable_replicas(2)->mutable_replica()->mutable_load()->set_corrupt(4);
  const std::string table = StatusTable(status, "gw:1");
  EXPECT_THAT(table, testing::StartsWith("NOT READY: no replica holds blocks [10, 12)"));
  EXPECT_THAT(table, HasSubstr("! shard 10-11 at b: no answer\n"));
  EXPECT_THAT(table, HasSubstr("! shard 2-9 at a: 3 rows came twice with other bits\n"));
  EXPECT_THAT(table, HasSubstr("! shard 2-9 at a: 4 times rows were not what was sent or kept\n"));
  EXPECT_EQ(WhyNotReady(status), "no replica holds blocks [10, 12)");
  EXPECT_EQ(StatusJson(status, "gw:1")["processes"][3]["health"], "unreachable");
}

TEST(StatusViewTest, AReplicaThatDrainsIsNotSaidToServe) {
  v1::GetStatusResponse status = Cluster();
  status.mutable_replicas(0)->mutable_replica()->set_draining(true);
  EXPECT_EQ(StatusJson(status, "gw:1")["processes"][4]["health"], "draining");
}

TEST(StatusViewTest, WhatRunsIsShownWithItsAgeAndHowLongNothingWasDone) {
  v1::ListSequencesResponse running;
  v1::RunningSequence* s = running.add_sequences();
  s->set_sequence_id("01f3a5c2d4e60789");
  s->set_state(v1::SEQUENCE_STATE_RUNNING);
  s->set_age_ns(12'345'000'000);
  s->set_since_progress_ns(200'000'000);
  s->set_prompt_tokens(7);
  s->set_output_tokens(42);
  s->add_route("unix:a");
  s->add_route("unix:b");
  running.set_total(3);
  EXPECT_EQ(RunningTable(running),
            "sequence          state       age  nothing done for  prompt  output  route\n"
            "01f3a5c2d4e60789  running  12.3 s             0.2 s       7      42  unix:a → unix:b\n"
            "and 2 more\n");
  const auto json = RunningJson(running);
  EXPECT_EQ(json["total"], 3);
  EXPECT_EQ(json["sequences"][0]["route"], nlohmann::ordered_json({"unix:a", "unix:b"}));
  EXPECT_EQ(json["sequences"][0]["state"], "running");
}

TEST(StatusViewTest, ASequenceIsShownAtEachStage) {
  v1::DebugSequenceResponse sequence;
  v1::SequenceAtStage* a = sequence.add_stages();
  a->set_role(v1::ROLE_SHARD);
  a->set_address("a");
  a->set_layer_end(4);
  a->set_open(true);
  a->set_epoch(2);
  a->set_queued_end(19);
  a->set_length(18);
  a->set_cursor(17);
  a->set_journal_begin(5);
  a->set_window_end(99);
  v1::SequenceAtStage* head = sequence.add_stages();
  head->set_role(v1::ROLE_HEAD);
  head->set_address("h");
  const std::string table = SequenceTable(sequence);
  EXPECT_THAT(table, testing::ContainsRegex("shard 0-3 +a +open +2 +0 +19 +18 +17 +5-18 +99\n"));
  EXPECT_THAT(table, testing::ContainsRegex("head +h +not open\n"));
  EXPECT_EQ(SequenceJson(sequence)["stages"][0]["cursor"], 17);
}

}  // namespace
}  // namespace catena::cli
