// What generation.proto tells of ranges, limits and defaults is what the code holds to.
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/base/status.h"
#include "model/sampler/params.h"
#include "model/sampler/sampling_limits.h"
#include "runtime/chain/limits.h"
#include "services/common/request_limits.h"

namespace catena {
namespace {

// The proto as one line of words: comments run over lines.
std::string ProtoText() {
  const char* source = std::getenv("CATENA_SOURCE");
  std::ifstream file(std::string(source == nullptr ? "." : source) +
                     "/proto/catena/v1/generation.proto");
  std::string text, word;
  while (file >> word) {
    if (word != "//") text += word + " ";
  }
  return text;
}

TEST(ApiCommentsTest, RangesAndLimitsAreTheCodes) {
  const std::string text = ProtoText();
  ASSERT_FALSE(text.empty());
  const SamplingParams d;
  for (const std::string& said : {
           fmt::format("0 to {}, by which logits are divided", kMaxTemperature),
           fmt::format("below {:.5f}: greedy", kGreedyTemperature),
           fmt::format("Above 0 to {}, over prompt and output; {}, the default",
                       kMaxRepetitionPenalty, d.repetition_penalty),
           fmt::format("presence_penalty = 7; -{0} to {0}, over the output; {1}, the default",
                       kMaxAdditivePenalty, d.presence_penalty),
           fmt::format("frequency_penalty = 8; -{0} to {0}, over the output; {1}, the default",
                       kMaxAdditivePenalty, d.frequency_penalty),
           fmt::format("{}, the default, and -1: all", d.top_k),
           fmt::format("top_p = 3; 0 to 1; {}, the default", d.top_p),
           fmt::format("{}, the default: off optional double typical_p", d.min_p),
           fmt::format("At most {}, of 1 to {} bytes each", kMaxStopStrings, kMaxStopBytes),
           fmt::format("beside the model's own; at most {}", kMaxStopTokenIds),
           fmt::format("1 to {} tokens of output, a final stop id included; default {}.",
                       kMaxNewTokens, d.max_tokens),
           fmt::format("{}, the default, to max_tokens", d.min_tokens),
           fmt::format("of the one prompt: {}, the default, to {}", d.n, kMaxSequences),
           fmt::format("alternatives beside each: {}, the default, to {}", d.top_logprobs,
                       kMaxTopLogprobs),
           fmt::format("of ids: -{0} to {0}, at most {1} of them", kMaxLogitBias, kMaxLogitBiases),
           fmt::format("checked in one pass: {}, the default, to {}.", d.speculate, kMaxDrafts),
           fmt::format("likeliest ids of each position: 0, the default, to {}",
                       limits::kMaxTopLogprobs),
           fmt::format("A message has at most {} MiB", limits::kMaxPublicMessageBytes >> 20),
           fmt::format("has at most {} MiB, a conversation at most {} messages",
                       limits::kMaxTextBytes >> 20, limits::kMaxChatMessages),
           fmt::format("the role of one at most {} bytes", limits::kMaxRoleBytes),
       }) {
    EXPECT_THAT(text, testing::HasSubstr(said));
  }
}

}  // namespace
}  // namespace catena
