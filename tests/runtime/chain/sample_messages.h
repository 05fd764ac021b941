// One message of each kind with a value of its own in every field, and every field of a message as
// text, so that what crossed a wire can be compared with what was sent.
//
// Thread rules: pure functions, any thread.
#pragma once

#include <string>
#include <vector>

#include <fmt/ranges.h>

#include "runtime/chain/error_facts.h"
#include "runtime/chain/messages.h"

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
      OpenStage{key, life, 76, {"unix:/run/next", 77}, true, 12, 40, 11, 256, 4, PublicId{78}},
      OpenHead{key, life, 76, {1, 450, 31999}, 2, 40, 1, 3, 128, 5, 6, params, PublicId{79}},
      Close{key},
      Heartbeat{19, {{key, 21}, {{9, 8}, 0}}},
      Opened{key, life, 33},
      Refused{key, life,
              WithReason(absl::ResourceExhaustedError("no KV pages; try again"),
                         ErrorReason::kKvCacheFull),
              true},
      Unknown{key},
      Edges{{{77, absl::UnavailableError("its link broke")}}},
      Edges{},
      Tokens{{token, none}},
      Steps{6, {prompt, decode}, std::make_shared<const std::string>("0123456789abcde\xFF")},
      Steps{7, {decode}, nullptr},
      SentLengths{{{key, life, 12}, {{9, 8}, {0, 0}, 0}}},
      Lengths{{{key, life, 11}}},
      NeedFrom{key, life, 5, 9},
  };
}

namespace sample_text {

inline std::string Text(const SequenceKey& k) {
  return fmt::format("{:x}-{}", k.gateway, k.number);
}

template <typename M>
std::string Begin(const char* name, const M& m) {
  return fmt::format("{} {} epoch {} round {}", name, Text(m.sequence), m.life.epoch, m.life.round);
}

template <typename T>
std::string Text(const std::vector<T>& values) {
  return fmt::format("[{}]", fmt::join(values, ","));
}

inline std::string Text(const SamplingParams& p) {
  std::string out = fmt::format(
      "temperature {} top_k {} top_p {} min_p {} typical_p {} penalties {} {} {} tokens {} to {} "
      "ignore_eos {} eos {} stop {} logprobs {} {} n {} seed {} bias",
      p.temperature, p.top_k, p.top_p, p.min_p, p.typical_p, p.repetition_penalty,
      p.presence_penalty, p.frequency_penalty, p.min_tokens, p.max_tokens, p.ignore_eos,
      Text(p.eos_token_ids), Text(p.stop_token_ids), p.logprobs, p.top_logprobs, p.n, p.seed);
  for (const auto& [id, bias] : p.logit_bias) out += fmt::format(" {}:{}", id, bias);
  return out;
}

inline std::string Text(const OpenStage& m) {
  return fmt::format(
      "{} from {} next {} {} head {} prompt {} max {} wanted {} window {} groups {} id {}",
      Begin("OpenStage", m), m.upstream, m.next.address, m.next.incarnation, m.next_is_head,
      m.prompt_length, m.max_length, m.first_wanted, m.window_rows, m.decode_groups,
      ToString(m.public_id));
}

inline std::string Text(const OpenHead& m) {
  return fmt::format(
      "{} from {} ids {} prompt {} max {} wanted {} first {} window {} score {} index {} "
      "sampling {} id {}",
      Begin("OpenHead", m), m.upstream, Text(m.ids), m.prompt_length, m.max_length, m.first_wanted,
      m.first_token, m.window_rows, m.score_top, m.sequence_index, Text(m.params),
      ToString(m.public_id));
}

inline std::string Text(const Close& m) { return "Close " + Text(m.sequence); }
inline std::string Text(const Unknown& m) { return "Unknown " + Text(m.sequence); }

inline std::string Text(const Heartbeat& m) {
  std::string out = fmt::format("Heartbeat {}", m.newest);
  for (const auto& e : m.open) out += fmt::format(" {}:{}", Text(e.sequence), e.next_token);
  return out;
}

inline std::string Text(const Opened& m) {
  return fmt::format("{} length {}", Begin("Opened", m), m.length);
}

inline std::string Text(const Refused& m) {
  return fmt::format("{} {} draining {}", Begin("Refused", m), m.status.ToString(), m.draining);
}

inline std::string Text(const Edges& m) {
  std::string out = "Edges";
  for (const Edge& e : m.broken) out += fmt::format("; {} {}", e.to, e.why.ToString());
  return out;
}

inline std::string Text(const Tokens& m) {
  std::string out = "Tokens";
  for (const Token& t : m.tokens) {
    out += fmt::format("; {} at {} id {} logprob {} top", Begin("", t), t.position, t.token.id,
                       t.token.logprob);
    for (const TokenLogprob& top : t.token.top) out += fmt::format(" {}:{}", top.id, top.logprob);
  }
  return out;
}

inline std::string Text(const Steps& m) {
  std::string out = fmt::format("Steps batch {}", m.batch);
  for (const Step& s : m.steps) {
    out += fmt::format("; {} begun {} rotary {} at {} ids {} hashes {}", Begin("", s),
                       s.round_begin, s.rotary, s.position, Text(s.ids), Text(s.row_hashes));
  }
  if (m.rows != nullptr) {
    out += "; rows";
    for (const unsigned char c : *m.rows) out += fmt::format(" {:02x}", c);
  }
  return out;
}

inline std::string TextOfLengths(const char* name, const std::vector<Length>& lengths) {
  std::string out = name;
  for (const Length& l : lengths) out += fmt::format("; {} length {}", Begin("", l), l.length);
  return out;
}
inline std::string Text(const SentLengths& m) { return TextOfLengths("SentLengths", m.lengths); }
inline std::string Text(const Lengths& m) { return TextOfLengths("Lengths", m.lengths); }

inline std::string Text(const NeedFrom& m) {
  return fmt::format("{} number {} from {}", Begin("NeedFrom", m), m.number, m.position);
}

}  // namespace sample_text

inline std::string TextOf(const ChainMessage& message) {
  return std::visit([](const auto& m) { return sample_text::Text(m); }, message);
}

}  // namespace catena
