// What a "quantization_config" may say: what is refused, and what is told.
#include "tests/model/quant_scheme.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace catena {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(QuantScheme, WhatIsNotReadIsRefusedByName) {
  const std::string group = R"({"quant_method": "compressed-tensors", "config_groups": {"g": )";
  const std::vector<std::pair<std::string, std::vector<std::string>>> cases = {
      {R"({"quant_method": "bitsandbytes"})", {"\"quant_method\" \"bitsandbytes\"", "GGUF"}},
      {R"({"bits": 4})", {"\"quant_method\" \"\"", "awq, gptq"}},
      {R"({"quant_method": "awq", "version": "gemv"})", {"\"gemv\"", "only \"gemm\""}},
      {R"({"quant_method": "awq", "bits": 3})", {"\"bits\" 3", "4 bits"}},
      {R"({"quant_method": "awq", "zero_point": false})", {"zero_point"}},
      {R"({"quant_method": "awq", "group_size": -2})", {"\"group_size\" -2"}},
      {R"({"quant_method": "gptq", "bits": 3})", {"\"bits\" 3", "4 and 8"}},
      {R"({"quant_method": "gptq", "checkpoint_format": "marlin"})", {"\"marlin\"", "gptq_v2"}},
      {R"({"quant_method": "gptq", "is_marlin_format": true})", {"\"marlin\""}},
      {R"({"quant_method": "gptq", "dynamic": {"-:x": {}}})", {"\"dynamic\""}},
      {R"({"quant_method": "fp8", "fmt": "e5m2"})", {"\"e5m2\"", "\"e4m3\""}},
      {R"({"quant_method": "fp8", "weight_block_size": [0, 128]})", {"weight_block_size"}},
      {R"({"quant_method": "fp8", "weight_block_size": 128})", {"weight_block_size"}},
      {R"({"quant_method": "compressed-tensors", "format": "marlin-24"})", {"\"marlin-24\""}},
      {R"({"quant_method": "compressed-tensors", "sparsity_config": {"format":
           "sparse-24-bitmask"}})",
       {"\"sparse-24-bitmask\"", "dense"}},
      {R"({"quant_method": "compressed-tensors", "transform_config": {"config_groups": {}}})",
       {"transform_config"}},
      {group + R"({"format": "nvfp4-pack-quantized"}}})", {"nvfp4-pack-quantized"}},
      {group + R"({"weights": {"num_bits": 3}}}})", {"3 bits", "4 and 8"}},
      {group + R"({"weights": {"num_bits": 4, "type": "float"}}}})", {"4 bits", "\"float\""}},
      {group + R"({"weights": {"strategy": "token"}}}})", {"\"strategy\" \"token\"", "channel"}},
      {group + R"({"weights": {"strategy": "group"}}}})", {"\"group_size\" 0"}},
      {group + R"({"weights": {"group_size": -2}}}})", {"\"group_size\" -2"}},
  };
  for (const auto& [quantisation, parts] : cases) {
    const absl::Status status = Scheme(quantisation).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << quantisation << status;
    EXPECT_THAT(std::string(Message(status)), HasSubstr("m/config.json: quantization_config: "));
    for (const std::string& part : parts) {
      EXPECT_THAT(std::string(Message(status)), HasSubstr(part)) << quantisation;
    }
  }
  EXPECT_EQ(Scheme("3").status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Scheme(R"({"quant_method": "awq", "bits": "4"})").status().code(),
            absl::StatusCode::kDataLoss);
}

TEST(QuantScheme, WhatIsLeftOutIsTold) {
  const auto fp8 = Scheme(R"({"quant_method": "fp8", "activation_scheme": "static"})");
  ASSERT_TRUE(fp8.ok()) << fp8.status();
  EXPECT_THAT(fp8->warnings, ElementsAre(HasSubstr("bf16"), HasSubstr("static")));
  const auto dynamic = Scheme(
      R"({"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": {"num_bits": 8},
          "input_activations": {"dynamic": true}}}})");
  ASSERT_TRUE(dynamic.ok()) << dynamic.status();
  EXPECT_TRUE(dynamic->warnings.empty());
  EXPECT_FALSE((*ReadQuantScheme(nlohmann::json::object(), "c")).has_value());
}

}  // namespace
}  // namespace catena
