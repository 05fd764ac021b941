// A config.json's text read as ReadConfig reads it, for tests of architectures.
#pragma once

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/arch/arch.h"

namespace catena {

// `base` with the fields of `patch` in place of its own (RFC 7396: null removes a field).
inline absl::StatusOr<ModelConfig> Read(const char* base, const char* patch) {
  nlohmann::json config = nlohmann::json::parse(base);
  config.merge_patch(nlohmann::json::parse(patch));
  CATENA_ASSIGN_OR_RETURN(const auto read, ReadConfig(config, "config.json"));
  return read.config;
}

inline ModelConfig MustRead(const char* base, const char* patch) {
  auto config = Read(base, patch);
  EXPECT_TRUE(config.ok()) << patch << ": " << config.status();
  return config.ok() ? *config : ModelConfig{};
}

struct BadConfig {
  const char *base, *patch;
  absl::StatusCode code;
  const char* message;
};
inline constexpr auto kDataLoss = absl::StatusCode::kDataLoss;
inline constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

inline void ExpectRefused(const BadConfig& bad) {
  const absl::Status status = Read(bad.base, bad.patch).status();
  EXPECT_EQ(status.code(), bad.code) << bad.patch << ": " << status;
  EXPECT_THAT(std::string(Message(status)), ::testing::HasSubstr("config.json")) << bad.patch;
  EXPECT_THAT(std::string(Message(status)), ::testing::HasSubstr(bad.message)) << bad.patch;
}

}  // namespace catena
