#include "runtime/chain/sequence_ids.h"

#include <algorithm>
#include <limits>

#include "runtime/chain/limits.h"
#include "runtime/chain/reached.h"

namespace catena {

SequenceIds::SequenceIds(const SequenceKey& key, std::vector<int32_t> known, int64_t prompt_length,
                         int64_t speculate, int64_t max_length, int64_t rotary_switch)
    : key_(key),
      prompt_length_(prompt_length),
      max_length_(max_length),
      rotary_switch_(rotary_switch),
      rotary_(rotary_switch > 0 && std::ssize(known) > rotary_switch ? 1 : 0),
      ids_(std::move(known)),
      lookup_(speculate),
      outbox_(max_length) {}

void SequenceIds::Append(int32_t id) {
  const int64_t position = known();
  if (drafts_ > 0 && at(position) == id) {
    CATENA_REACHED(kGuessIsRight);
    --drafts_;
    ++accepted_;
    return;
  }
  if (proposed_ > 0) lookup_.Judge(proposed_, proposed_ - drafts_);
  proposed_ = 0;
  if (drafts_ > 0) {
    CATENA_REACHED(kGuessIsWrong);
    drafts_ = 0;
    ids_.resize(static_cast<size_t>(position));
    BeginRound(position);
  }
  ids_.push_back(id);
  if (size() > room_for_rotary()) {
    CATENA_REACHED(kTextPassesTheSwitch);
    rotary_ = 1;
    BeginRound(0);
  }
}

void SequenceIds::BeginRound(int64_t position) {
  ++life_.round;
  rounds_.Begin(life_.round, position);
  outbox_.BeginRound(life_.round, position);
}

void SequenceIds::BeginEpoch() {
  if (drafts_ > 0) {
    CATENA_REACHED(kGuessesAreDropped);
    ids_.resize(static_cast<size_t>(known()));
    drafts_ = proposed_ = 0;
    BeginRound(size());
  }
  ++life_.epoch;
  outbox_.Stop();
}

int64_t SequenceIds::room_for_rotary() const {
  return rotary_switch_ > 0 && rotary_ == 0 ? rotary_switch_ : std::numeric_limits<int64_t>::max();
}

void SequenceIds::Draft() {
  if (drafts_ > 0) return;
  // A guess that is wrong must not cost the whole text: they stay on this side of the switch.
  lookup_.Propose(ids_, std::min(max_length_, room_for_rotary()) - size(), &guesses_);
  ids_.insert(ids_.end(), guesses_.begin(), guesses_.end());
  drafts_ = proposed_ = static_cast<int64_t>(guesses_.size());
  drafted_ += drafts_;
}

std::optional<std::pair<Lane, Step>> SequenceIds::NextStep() {
  const int64_t n = std::min(outbox_.Sendable(size()), limits::kMaxMessageRows);
  if (n == 0) return std::nullopt;
  const int64_t from = outbox_.cursor();
  const Lane lane = outbox_.LaneFor(from >= prompt_length_);
  outbox_.Sent(from + n, lane);
  return std::pair(lane, Step{.sequence = key_,
                              .life = life_,
                              .round_begin = outbox_.round_begin(),
                              .rotary = rotary_,
                              .position = from,
                              .ids = {ids_.begin() + from, ids_.begin() + from + n},
                              .row_hashes = {}});
}

std::optional<std::pair<Lane, Length>> SequenceIds::Unacknowledged() const {
  if (outbox_.cursor() <= outbox_.peer_length()) return std::nullopt;
  return std::pair(outbox_.LaneFor(true), Length{key_, life_, outbox_.cursor()});
}

SequenceView SequenceIds::View() const {
  return {.life = life_,
          .length = known(),
          .queued_end = size(),
          .cursor = outbox_.cursor(),
          .journal_begin = 0,
          .window_end = outbox_.window_end()};
}

}  // namespace catena
