// One message of each kind with a value of its own in every field.
//
// Thread rules: pure functions, any thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/chain/error_facts.h"
#include "runtime/chain/messages.h"
#include "tests/runtime/chain/message_text.h"

namespace catena {

inline constexpr int64_t kSampleRowBytes = 8;

// REQUIRES: all rows have kSampleRowBytes.
inline std::vector<ChainMessage> SampleMessages() {
  const SequenceKey key{0xFEDCBA9876543210u, 7};
  const Life life{3, 5};
  SamplingParams params;
  params.temperature = 0.7;
  params.top_k = 40;
  params.top_p = 0.95;
  params.min_p = 0.05;
  params.typical_p = 0.9;
  params.repetition_penalty = 1.1;
  params.presence_penalty = -0.5;
  params.frequency_penalty = 0.25;
  params.logit_bias = {{3, -1.5f}, {70000, 2.5f}};
  params.min_tokens = 2;
  params.max_tokens = 99;
  params.ignore_eos = true;
  params.eos_token_ids = {2, 32000};
  params.stop_token_ids = {11, 12};
  params.logprobs = true;
  params.top_logprobs = 4;
  params.n = 3;
  params.seed = 0xFFFFFFFFFFFFFFFFu;
  const Token token{key, life, 17, {123, -0.125f, {{123, -0.125f}, {9, -2.5f}}}};
  const Token none{key, life, 18, {-1, 0, {}}};
  const Step prompt{key, life, 2, 1, 4, {5, 6, 7}, {0x1122334455667788u, 42}};
  const Step decode{{9, 8}, {1, 2}, 70, 0, 70, {31999}, {}};
  return {
      OpenStage{key,
                life,
                76,
                {"unix:/run/next", 77},
                true,
                12,
                40,
                11,
                256,
                4,
                PublicId{78},
                30,
                1'700'000'000'000'000'000,
                true,
                39},
      OpenHead{key, life, 76, {1, 450, 31999}, 2, 40, 1, 3, 128, 5, 6, params, PublicId{79}, 38},
      Go{key, life, 31, 29, 35},
      Close{key},
      Heartbeat{19, {{key, life, 21, true}, {{9, 8}, {0, 1}, 0}}},
      Opened{key, life, 33, true},
      Refused{key, life,
              WithReason(absl::ResourceExhaustedError("no KV pages; try again"),
                         ErrorReason::kKvCacheFull),
              true},
      Unknown{key, life},
      Condition{{{77, absl::UnavailableError("its link broke")}}, true},
      Condition{},
      Tokens{{token, none}},
      Steps{6, {prompt, decode}, std::make_shared<const std::string>("0123456789abcde\xFF")},
      Steps{7, {decode}, nullptr},
      SentLengths{{{key, life, 12}, {{9, 8}, {0, 0}, 0}}},
      Lengths{{{key, life, 11}}},
      NeedFrom{key, life, 5, 9},
  };
}

}  // namespace catena
