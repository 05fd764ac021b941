// Steps of several sequences that go the same way, put into one message.
//
// Thread rules: plain state, one thread at a time.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "runtime/chain/limits.h"
#include "runtime/chain/messages.h"

namespace catena {

class StepCollector {
 public:
  void Add(Incarnation to, Lane lane, Step step) {
    auto it = std::find_if(collected_.begin(), collected_.end(), [&](const Envelope& e) {
      return e.to == to && e.lane == lane &&
             std::get<Steps>(e.message).steps.size() < limits::kMaxMessageSteps;
    });
    if (it == collected_.end()) it = collected_.insert(it, {to, lane, Steps{}});
    std::get<Steps>(it->message).steps.push_back(std::move(step));
  }
  std::vector<Envelope> Take() { return std::exchange(collected_, {}); }

 private:
  std::vector<Envelope> collected_;
};

}  // namespace catena
