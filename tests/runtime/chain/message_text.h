// Messages of the chain as one line each, with all that they say, so that what crossed a wire can
// be compared with what was sent, and read.
//
// Thread rules: pure functions, any thread.
#pragma once

#include <string>
#include <vector>

#include <fmt/ranges.h>

#include "runtime/chain/messages.h"

namespace catena {

namespace message_text {

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
      "{} from {} next {} {} head {} prompt {} max {} wanted {} window {} groups {} id {} reserve "
      "{} "
      "came {} started {} trial {}",
      Begin("OpenStage", m), m.upstream, m.next.address, m.next.incarnation, m.next_is_head,
      m.prompt_length, m.max_length, m.first_wanted, m.window_rows, m.decode_groups,
      ToString(m.public_id), m.reserve, m.came, m.started, m.trial_end);
}

inline std::string Text(const OpenHead& m) {
  return fmt::format(
      "{} from {} ids {} prompt {} max {} wanted {} first {} window {} score {} index {} "
      "sampling {} id {} trial {}",
      Begin("OpenHead", m), m.upstream, Text(m.ids), m.prompt_length, m.max_length, m.first_wanted,
      m.first_token, m.window_rows, m.score_top, m.sequence_index, Text(m.params),
      ToString(m.public_id), m.trial_end);
}

inline std::string Text(const Close& m) { return "Close " + Text(m.sequence); }
inline std::string Text(const Unknown& m) { return Begin("Unknown", m); }

inline std::string Text(const Go& m) {
  return fmt::format("{} length {} next {} replay to {}", Begin("Go", m), m.length, m.next_length,
                     m.replay_end);
}

inline std::string Text(const Heartbeat& m) {
  std::string out = fmt::format("Heartbeat {}", m.newest);
  for (const auto& e : m.open) {
    out += fmt::format("; {} next {} tell {}", Begin("", e), e.next_token, e.tell);
  }
  return out;
}

inline std::string Text(const Opened& m) {
  return fmt::format("{} length {} waits {}", Begin("Opened", m), m.length, m.waits);
}

inline std::string Text(const Refused& m) {
  return fmt::format("{} {} draining {}", Begin("Refused", m), m.status.ToString(), m.draining);
}

inline std::string Text(const Condition& m) {
  std::string out = fmt::format("Condition draining {}", m.draining);
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

}  // namespace message_text

inline std::string TextOf(const ChainMessage& message) {
  return std::visit([](const auto& m) { return message_text::Text(m); }, message);
}

}  // namespace catena
