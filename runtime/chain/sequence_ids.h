// The ids of one sequence at the gateway, which are the journal of last resort: the prompt, the
// tokens that came, and behind them guesses (drafts) of what comes next, which are computed
// together with the newest token. Knows what of them the first stage has been sent.
//
// Thread rules: plain state, one thread at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "runtime/chain/core.h"
#include "runtime/chain/outbox.h"
#include "runtime/text/prompt_lookup.h"

namespace catena {

class SequenceIds {
 public:
  // A sequence of `known` ids, the prompt's `prompt_length` first, that guesses up to `speculate`
  // tokens at a time and never has more than `max_length` positions. Where it has more than
  // `rotary_switch`, if that is not 0, it is computed with the second rotary factors, all of it.
  SequenceIds(const SequenceKey& key, std::vector<int32_t> known, int64_t prompt_length,
              int64_t speculate, int64_t max_length, int64_t rotary_switch);

  const Life& life() const { return life_; }
  // Positions whose ids are certain, and all, guesses too.
  int64_t known() const { return size() - drafts_; }
  int64_t size() const { return static_cast<int64_t>(ids_.size()); }
  // REQUIRES: position < known().
  int32_t at(int64_t position) const { return ids_[static_cast<size_t>(position)]; }
  // REQUIRES: n <= known().
  std::vector<int32_t> First(int64_t n) const { return {ids_.begin(), ids_.begin() + n}; }

  // The token for position known(). Where another was guessed, a new round begins: it and what was
  // guessed after it are rolled back. So it does, from position 0, with other rotary factors.
  void Append(int32_t id);
  // Guesses what follows. Does nothing while older guesses are open.
  void Draft();

  // It goes to another route. Guesses are dropped, and nothing is sent until Start.
  void BeginEpoch();
  // What of the positions that a stage has computed, and in which round, are as they are here.
  int64_t ValidLength(uint32_t round, int64_t length) const {
    return rounds_.Kept(round, std::min(length, size()));
  }
  // All stages of the route are in the epoch; the first one has so many positions.
  void Start(int64_t first_length) { outbox_.Start(life_.round, first_length); }

  // The next part that the first stage may be sent, which is taken as sent.
  std::optional<std::pair<Lane, Step>> NextStep();
  // What the first stage says. False where it is of no interest.
  bool OnLength(const Length& length) { return outbox_.OnLength(length, life_, size()); }
  bool OnNeedFrom(const NeedFrom& need) { return outbox_.Rewind(need); }
  // What was sent and not acknowledged, where there is some, and the lane of it.
  std::optional<std::pair<Lane, Length>> Unacknowledged() const;

  int64_t drafted() const { return drafted_; }    // guesses, in all,
  int64_t accepted() const { return accepted_; }  // and those of them that were right
  SequenceView View() const;

 private:
  // Positions that there may be with the rotary factors of this round.
  int64_t room_for_rotary() const;
  void BeginRound(int64_t position);

  SequenceKey key_;
  Life life_;
  int64_t prompt_length_;
  int64_t max_length_;
  int64_t rotary_switch_;
  int32_t rotary_;  // of the round
  std::vector<int32_t> ids_;
  int64_t drafts_ = 0;    // guesses at the end that no token has confirmed yet,
  int64_t proposed_ = 0;  // of so many that were made at a time
  int64_t drafted_ = 0, accepted_ = 0;
  PromptLookup lookup_;
  Outbox outbox_;
  Rounds rounds_;                 // of all stages
  std::vector<int32_t> guesses_;  // scratch
};

}  // namespace catena
