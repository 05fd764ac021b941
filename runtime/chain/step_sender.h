// Puts rows that go to the next stages together: those of several sequences for one next stage and
// lane travel in one message.
//
// Thread rules: plain state, one thread at a time.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/chain/core.h"
#include "runtime/chain/stage_sequence.h"

namespace catena {

class StepSender {
 public:
  // What the sequence has and its next stage has not been sent, as far as that has room.
  // REQUIRES: no row of it is missing.
  void Add(StageSequence* s);
  // Sends all that was added. `batch`: the sender's count (Steps::batch).
  void SendTo(CoreOutput* output, uint64_t batch);

 private:
  struct Message {
    Incarnation to;
    Lane lane;
    Steps steps;
    std::shared_ptr<std::string> rows;
    int64_t n_positions = 0;
  };
  Message* MessageFor(Incarnation to, Lane lane);

  std::vector<Message> messages_;
};

}  // namespace catena
