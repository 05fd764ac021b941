// Where tests find data that is not in the repository. Include it in tests only.
//
//   const std::string dir = SharedPath("golden/phi3-window");
//   if (dir.empty()) GTEST_SKIP() << kNoSharedData;
//
// Absent data skips the test, so that a user's clone passes; where CI=true it fails it instead
// (SharedPath and SmolLm2Path add the failure themselves), so that a skip never hides in CI.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

namespace catena {

inline constexpr char kNoSharedData[] =
    "the shared test data is absent: set CATENA_SHARED to its folder";
inline constexpr char kNoSmolLm2[] =
    "the default model is absent: set CATENA_SMOLLM2_GGUF to smollm2.gguf";

// The value of an environment variable, "" where it is not set.
inline std::string TestEnv(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// `path` where it exists, else "", and a failure of the running test where CI=true.
inline std::string PresentOrEmpty(const std::string& path, const char* what_is_absent) {
  std::error_code ignored;
  if (!path.empty() && std::filesystem::exists(path, ignored)) return path;
  if (TestEnv("CI") == "true") ADD_FAILURE() << path << ": " << what_is_absent;
  return "";
}

// The path of a file or folder of the shared data ($CATENA_SHARED, which tests/CMakeLists.txt sets
// to ../shared beside the checkout), for example SharedPath("golden/phi3-window/config.json").
inline std::string SharedPath(std::string_view relative) {
  const std::string root = TestEnv("CATENA_SHARED");
  return PresentOrEmpty(root.empty() ? "" : root + "/" + std::string(relative), kNoSharedData);
}

// The GGUF file of the default model, SmolLM2-135M-Instruct ($CATENA_SMOLLM2_GGUF).
inline std::string SmolLm2Path() {
  return PresentOrEmpty(TestEnv("CATENA_SMOLLM2_GGUF"), kNoSmolLm2);
}

}  // namespace catena
