// A case's greedy ids, as the scripts that made the expected results write them.
#pragma once

#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "runtime/local/engine.h"
#include "runtime/local/generate.h"

namespace catena {

// Up to the first step whose margin is under `tolerance` the ids are those of the case.
inline void ExpectGreedy(const nlohmann::json& c, double tolerance, Engine* engine) {
  const auto expected = c["greedy"].get<std::vector<int32_t>>();
  SamplingParams params;
  params.max_tokens = static_cast<int32_t>(expected.size());
  params.ignore_eos = true;
  const Sampler sampler = *Sampler::Make(params, engine->config().vocab_size);
  std::vector<int32_t> ids;
  const GenerateRequest request{.prompt = c["prompt"].get<std::vector<int32_t>>(),
                                .sampler = &sampler,
                                .on_token = [&](const TokenEvent& e) {
                                  ids.push_back(e.token.id);
                                  return true;
                                }};
  const auto stats = Generate(request, engine);
  ASSERT_TRUE(stats.ok()) << stats.status();
  ASSERT_EQ(ids.size(), expected.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    if (c["greedy_margin"][i].get<double>() < tolerance) break;
    ASSERT_EQ(ids[i], expected[i]) << "step " << i;
  }
}

}  // namespace catena
