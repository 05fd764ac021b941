// JSON as YAML: what is a string stays one, and what is written is what people write.
#include "services/cli/yaml.h"

#include <gtest/gtest.h>

namespace catena::cli {
namespace {

using Json = nlohmann::ordered_json;

TEST(YamlTest, StringsWithASecondMeaningAreQuoted) {
  for (const char* text :
       {"",           "true",     "No", "ON",   "null", "~",     "8080", "1e3", "0x10",
        "2026-01-01", "12:30:45", ".5", "-",    "- a",  "a: b",  "a #b", "a:",  "*a",
        "&a",         "!a",       "@a", "%a",   "{a",   "[a",    "a,b",  "|",   ">",
        "'a",         "\"a",      " a", "a\nb", "---",  "--- a", "?",    "=",   "\t"}) {
    EXPECT_EQ(ToYaml(text), Json(text).dump() + "\n");
  }
}

TEST(YamlTest, PlainWordsStandAsTheyAre) {
  for (const char* text : {"catena", "/weights/a.gguf", "--layers=0-15", "kubernetes.io/h2c",
                           "apps/v1", "catena-head:7000", "None", "v1"}) {
    EXPECT_EQ(ToYaml(text), std::string(text) + "\n");
  }
}

TEST(YamlTest, ListsAndObjectsInBlocks) {
  const Json value = {
      {"kind", "Deployment"},
      {"replicas", 2},
      {"empty", Json::object()},
      {"none", Json::array()},
      {"labels", {{"a", "b"}, {"c", "1"}}},
      {"args", {"shard", "--model=/m"}},
      {"ports", Json::array({{{"name", "grpc"}, {"on", {{"deep", {{"er", true}}}}}}, "x"})}};
  EXPECT_EQ(ToYaml(value),
            "kind: Deployment\n"
            "replicas: 2\n"
            "empty: {}\n"
            "none: []\n"
            "labels: {a: b, c: \"1\"}\n"
            "args:\n"
            "- shard\n"
            "- --model=/m\n"
            "ports:\n"
            "- name: grpc\n"
            "  \"on\":\n"
            "    deep: {er: true}\n"
            "- x\n");
}

TEST(YamlTest, ListsInListsKeepTheirDepth) {
  const Json value = Json::array({Json::array({1, 2}), Json::array({Json::array({"a"})})});
  EXPECT_EQ(ToYaml(value), "- [1, 2]\n-\n  - [a]\n");
}

}  // namespace
}  // namespace catena::cli
