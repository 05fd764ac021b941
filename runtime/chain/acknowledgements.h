// What a stage tells upstream of how far sequences have come, those of one sender in one message.
//
// Thread rules: plain state, one thread at a time.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "runtime/chain/core.h"
#include "runtime/chain/intake.h"
#include "runtime/chain/limits.h"

namespace catena {

// The lane of what goes up the chain.
inline constexpr Lane kReplyLane = Lane::kDecode;

class Acknowledgements {
 public:
  // `length`: positions of the sequence whose work is done. Adds nothing where it is no news.
  void Add(Intake* intake, int64_t length) {
    if (!intake->told.IsDue(length)) return;
    intake->told.Told(length, intake->inbox.empty());
    Add(intake->upstream, {intake->key, intake->life, length});
  }
  void Add(Incarnation to, const Length& length) {
    auto it = std::find_if(messages_.begin(), messages_.end(), [to](const auto& m) {
      return m.first == to && m.second.lengths.size() < limits::kMaxMessageSteps;
    });
    if (it == messages_.end()) it = messages_.insert(it, {to, {}});
    it->second.lengths.push_back(length);
  }
  void SendTo(CoreOutput* output) {
    for (auto& [to, lengths] : messages_) output->Send(to, kReplyLane, std::move(lengths));
    messages_.clear();
  }

 private:
  std::vector<std::pair<Incarnation, Lengths>> messages_;
};

}  // namespace catena
