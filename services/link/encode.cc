#include <algorithm>

#include "runtime/chain/error_facts.h"
#include "runtime/chain/limits.h"
#include "services/common/edge_codec.h"
#include "services/common/sampling_codec.h"
#include "services/link/codec.h"

namespace catena {
namespace {

// The type names of the wire and of messages.h are the same: Put(message, frame part).
void Put(const SequenceKey& key, v1::SequenceKey* out) {
  out->set_gateway(key.gateway);
  out->set_number(key.number);
}

void Put(const Life& life, v1::Life* out) {
  out->set_epoch(life.epoch);
  out->set_round(life.round);
}

// What every message about a life of a sequence begins with.
template <typename M, typename Out>
void PutLife(const M& m, Out* out) {
  Put(m.sequence, out->mutable_sequence());
  Put(m.life, out->mutable_life());
}

void Put(const OpenStage& m, v1::OpenStage* out) {
  PutLife(m, out);
  out->mutable_next()->set_address(ValidText(m.next.address, limits::kMaxAddressBytes));
  out->mutable_next()->set_incarnation(m.next.incarnation);
  out->set_next_is_head(m.next_is_head);
  out->set_prompt_length(m.prompt_length);
  out->set_max_length(m.max_length);
  out->set_first_wanted(m.first_wanted);
  out->set_window_rows(m.window_rows);
  out->set_decode_groups(m.decode_groups);
  out->set_upstream(m.upstream);
  out->set_public_id(static_cast<uint64_t>(m.public_id));
  out->set_reserve(m.reserve);
  out->set_came(m.came);
  out->set_started(m.started);
  out->set_trial_end(m.trial_end);
}

void Put(const OpenHead& m, v1::OpenHead* out) {
  PutLife(m, out);
  out->mutable_ids()->Add(m.ids.begin(), m.ids.end());
  out->set_prompt_length(m.prompt_length);
  out->set_max_length(m.max_length);
  out->set_first_wanted(m.first_wanted);
  out->set_first_token(m.first_token);
  out->set_window_rows(m.window_rows);
  out->set_score_top(m.score_top);
  out->set_sequence_index(m.sequence_index);
  EncodeSampling(m.params, out->mutable_sampling());
  out->set_upstream(m.upstream);
  out->set_public_id(static_cast<uint64_t>(m.public_id));
  out->set_trial_end(m.trial_end);
}

void Put(const Go& m, v1::Go* out) {
  PutLife(m, out);
  out->set_length(m.length);
  out->set_next_length(m.next_length);
  out->set_replay_end(m.replay_end);
}

void Put(const Close& m, v1::Close* out) { Put(m.sequence, out->mutable_sequence()); }

void Put(const Heartbeat& m, v1::Heartbeat* out) {
  out->set_newest(m.newest);
  for (const Heartbeat::Entry& entry : m.open) {
    v1::OpenSequence* open = out->add_open();
    PutLife(entry, open);
    open->set_next_token(entry.next_token);
    open->set_tell(entry.tell);
  }
}

void Put(const Opened& m, v1::Opened* out) {
  PutLife(m, out);
  out->set_length(m.length);
  out->set_waits(m.waits);
}

void Put(const Refused& m, v1::Refused* out) {
  PutLife(m, out);
  out->set_code(m.status.raw_code());
  out->set_message(ValidText(catena::Message(m.status), limits::kMaxErrorBytes));
  out->set_draining(m.draining);
  if (const auto reason = ReasonOf(m.status)) out->set_reason(std::string(ReasonName(*reason)));
}

void Put(const Condition& m, v1::Condition* out) {
  for (const Edge& edge : m.broken) EncodeEdge(edge, out->add_broken());
  out->set_draining(m.draining);
}

void Put(const Unknown& m, v1::Unknown* out) { PutLife(m, out); }

void Put(const Tokens& m, v1::Tokens* out) {
  for (const Token& token : m.tokens) {
    v1::Token* t = out->add_tokens();
    PutLife(token, t);
    t->set_position(token.position);
    t->set_id(token.token.id);
    t->set_logprob(token.token.logprob);
    for (const TokenLogprob& top : token.token.top) {
      v1::IdLogprob* entry = t->add_top();
      entry->set_id(top.id);
      entry->set_logprob(top.logprob);
    }
  }
}

void Put(const Length& m, v1::Length* out) {
  PutLife(m, out);
  out->set_length(m.length);
}

void Put(const SentLengths& m, v1::SentLengths* out) {
  for (const Length& length : m.lengths) Put(length, out->add_lengths());
}

void Put(const Lengths& m, v1::Lengths* out) {
  for (const Length& length : m.lengths) Put(length, out->add_lengths());
}

void Put(const NeedFrom& m, v1::NeedFrom* out) {
  PutLife(m, out);
  out->set_number(m.number);
  out->set_position(m.position);
}

v1::RowDtype WireDtype(DType dtype) {
  CATENA_CHECK(dtype == DType::kF32 || dtype == DType::kBF16);
  return dtype == DType::kF32 ? v1::ROW_DTYPE_F32 : v1::ROW_DTYPE_BF16;
}

void PutSteps(const Steps& m, const RowFormat& format, v1::Steps* out) {
  out->set_batch(m.batch);
  int64_t rows = 0;
  for (const Step& step : m.steps) {
    v1::Step* s = out->add_steps();
    PutLife(step, s);
    s->set_round_begin(step.round_begin);
    s->set_rotary(step.rotary);
    s->set_position(step.position);
    s->mutable_ids()->Add(step.ids.begin(), step.ids.end());
    s->mutable_row_hashes()->Add(step.row_hashes.begin(), step.row_hashes.end());
    rows += step.rows();
  }
  const size_t bytes = m.rows == nullptr ? 0 : m.rows->size();
  CATENA_CHECK(bytes == static_cast<size_t>(rows * format.row_bytes));
  if (rows == 0) return;
  out->set_row_dtype(WireDtype(format.dtype));
  out->set_row_count(rows);
  out->set_row_bytes(format.row_bytes);
}

// The frame's field for each message.
v1::OpenStage* Field(const OpenStage&, v1::Frame* f) { return f->mutable_open_stage(); }
v1::OpenHead* Field(const OpenHead&, v1::Frame* f) { return f->mutable_open_head(); }
v1::Go* Field(const Go&, v1::Frame* f) { return f->mutable_go(); }
v1::Close* Field(const Close&, v1::Frame* f) { return f->mutable_close(); }
v1::Heartbeat* Field(const Heartbeat&, v1::Frame* f) { return f->mutable_heartbeat(); }
v1::Opened* Field(const Opened&, v1::Frame* f) { return f->mutable_opened(); }
v1::Refused* Field(const Refused&, v1::Frame* f) { return f->mutable_refused(); }
v1::Unknown* Field(const Unknown&, v1::Frame* f) { return f->mutable_unknown(); }
v1::Condition* Field(const Condition&, v1::Frame* f) { return f->mutable_condition(); }
v1::Tokens* Field(const Tokens&, v1::Frame* f) { return f->mutable_tokens(); }
v1::SentLengths* Field(const SentLengths&, v1::Frame* f) { return f->mutable_sent_lengths(); }
v1::Lengths* Field(const Lengths&, v1::Frame* f) { return f->mutable_lengths(); }
v1::NeedFrom* Field(const NeedFrom&, v1::Frame* f) { return f->mutable_need_from(); }

}  // namespace

void EncodeWithoutRows(const ChainMessage& message, const RowFormat& format, v1::Frame* frame) {
  if (const auto* steps = std::get_if<Steps>(&message)) {
    return PutSteps(*steps, format, frame->mutable_steps());
  }
  std::visit(
      [&](const auto& m) {
        if constexpr (!std::is_same_v<decltype(m), const Steps&>) Put(m, Field(m, frame));
      },
      message);
}

void Encode(const ChainMessage& message, const RowFormat& format, v1::Frame* frame) {
  EncodeWithoutRows(message, format, frame);
  const auto* steps = std::get_if<Steps>(&message);
  if (steps != nullptr && steps->rows != nullptr) frame->mutable_steps()->set_rows(*steps->rows);
}

}  // namespace catena
