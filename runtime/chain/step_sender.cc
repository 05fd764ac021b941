#include "runtime/chain/step_sender.h"

#include <algorithm>
#include <utility>

#include "runtime/chain/limits.h"
#include "runtime/chain/reached.h"

namespace catena {

void StepSender::Add(StageSequence* s) {
  while (const int64_t sendable = s->outbox.Sendable(s->sendable_end())) {
    const int64_t from = s->outbox.cursor();
    const bool decode = from >= s->open.prompt_length && sendable <= StageSequence::kMaxDecodeRows;
    const Lane lane = s->outbox.LaneFor(decode);
    Message* m = MessageFor(s->next(), lane);
    const int64_t n = std::min(sendable, limits::kMaxMessageRows - m->n_positions);
    Step step{.sequence = s->intake.key,
              .life = s->intake.life,
              .round_begin = s->outbox.round_begin(),
              .rotary = *s->intake.rotary,
              .position = from,
              .ids = {s->ids().begin() + from, s->ids().begin() + from + n},
              .row_hashes = {}};
    const int64_t first_row = std::clamp(s->rows_from, from, from + n);
    if (first_row < from + n) {
      s->journal.Read(first_row, from + n, m->rows.get(), &step.row_hashes);
    }
    m->n_positions += n;
    m->steps.steps.push_back(std::move(step));
    s->outbox.Sent(from + n, lane);
  }
}

StepSender::Message* StepSender::MessageFor(Incarnation to, Lane lane) {
  for (Message& m : messages_) {
    if (m.to == to && m.lane == lane && m.n_positions < limits::kMaxMessageRows) return &m;
  }
  return &messages_.emplace_back(
      Message{.to = to, .lane = lane, .steps = {}, .rows = std::make_shared<std::string>()});
}

void StepSender::SendTo(CoreOutput* output, uint64_t batch) {
  for (Message& m : messages_) {
    m.steps.batch = batch;
    if (!m.rows->empty()) m.steps.rows = std::move(m.rows);
    output->Send(m.to, m.lane, std::move(m.steps));
  }
  messages_.clear();
}

}  // namespace catena
