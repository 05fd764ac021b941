// A "quantization_config" read as a config.json's, for tests.
#pragma once

#include <string>

#include "model/weights/quantised/scheme.h"

namespace catena {

inline absl::StatusOr<QuantScheme> Scheme(const std::string& quantisation) {
  const auto config = nlohmann::json::parse(R"({"quantization_config": )" + quantisation + "}");
  auto scheme = ReadQuantScheme(config, "m/config.json");
  if (!scheme.ok()) return scheme.status();
  return **scheme;
}

}  // namespace catena
