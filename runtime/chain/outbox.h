// The sending end of a hop, for one sequence: which positions went to the next stage, which it has
// computed, how many more it may be sent, and which rounds it may have missed (DESIGN section 4,
// rules 2, 5 and 9). The rows themselves are the journal's.
//
// Thread rules: plain state, one thread at a time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>

#include "runtime/chain/messages.h"
#include "runtime/chain/planted.h"
#include "runtime/chain/reached.h"
#include "runtime/chain/rounds.h"

namespace catena {

class Outbox {
 public:
  explicit Outbox(int64_t window) : window_(window) {}

  int64_t cursor() const { return cursor_; }            // first position not sent
  int64_t peer_length() const { return peer_length_; }  // positions the next stage has computed
  int64_t sent() const { return sent_; }                // positions that were sent once at least
  int64_t window_end() const { return peer_length_ + window_; }
  // As Step says: what the next stage has from there on may be of a round that is no more.
  int64_t round_begin() const { return rounds_.begin(); }

  // The route is about to change: nothing is sent until Start.
  void Stop() {
    stopped_ = true;
    asked_.reset();
    begun_ = std::numeric_limits<int64_t>::max();
  }
  bool stopped() const { return stopped_; }
  // Whoever is next now has computed `length` positions; what comes from there on may be new to it,
  // as may be `round`, the one that this end is in.
  void Start(uint32_t round, int64_t length) {
    stopped_ = false;
    length = std::min(length, begun_);
    cursor_ = peer_length_ = bulk_end_ = length;
    rounds_.Restart(round, length);
    answered_ = 0;
    if (asked_) {
      CATENA_REACHED(kQuestionBeforeGo);
      Rewind(*asked_);
    }
  }

  // How many of the positions [cursor, available) may be sent now.
  int64_t Sendable(int64_t available) const {
    if (stopped_) return 0;
    return std::max<int64_t>(0, std::min(available, window_end()) - cursor_);
  }

  // The lane for the next message. A sequence leaves the bulk lane only when all that went there
  // was received: nothing may overtake it.
  Lane LaneFor(bool decode) const {
    if (decode && bulk_end_ > peer_length_) CATENA_REACHED(kDecodeStaysOnBulkLane);
    return decode && bulk_end_ <= peer_length_ ? Lane::kDecode : Lane::kBulk;
  }
  void Sent(int64_t end, Lane lane) {
    cursor_ = end;
    sent_ = std::max(sent_, end);
    if (lane == Lane::kBulk) bulk_end_ = end;
  }

  // What the next stage says of its length; `available` exist here. False where it is of no
  // interest. A stage that is still in an earlier round missed the first steps of this one.
  bool OnLength(const Length& said, const Life& life, int64_t available) {
    if (stopped_ || said.life.epoch != life.epoch || said.life.round > life.round) return false;
    rounds_.Seen(said.life.round);
    if (said.life.round < life.round) {
      CATENA_REACHED(kPeerIsInOlderRound);
      if (rounds_.empty())
        return false;  // an old message: it has said since that it is in this one
      cursor_ = std::min(cursor_, round_begin());
      return true;
    }
    // It may have come further than this stage, which is one that was lost and is made again.
    peer_length_ = std::clamp<int64_t>(said.length, 0, std::max(available, cursor_));
    return true;
  }

  // The next stage asks for positions from `need.position` on. False where nothing comes of it now:
  // the question is an old one, which rewinds once, or it came before Go.
  bool Rewind(const NeedFrom& need) {
    if (stopped_) {
      asked_ = need;
      return false;
    }
    if (need.number <= answered_) {
      CATENA_REACHED(kQuestionWasAnswered);
      return false;
    }
    answered_ = need.number;
    cursor_ = bulk_end_ = need.position + (CATENA_PLANTED(kRewoundOneTooFar) ? 1 : 0);
    peer_length_ = std::min(peer_length_, need.position);
    return true;
  }

  // A new round, in which positions from `begin` on may be others.
  void BeginRound(uint32_t round, int64_t begin) {
    begun_ = std::min(begun_, begin);
    rounds_.Begin(round, begin);
    cursor_ = std::min(cursor_, begin);
    bulk_end_ = std::min(bulk_end_, begin);
    peer_length_ = std::min(peer_length_, begin);
  }

 private:
  int64_t window_;
  bool stopped_ = false;
  std::optional<NeedFrom> asked_;  // while it was stopped
  int64_t cursor_ = 0;
  int64_t sent_ = 0;
  int64_t peer_length_ = 0;
  int64_t bulk_end_ = 0;  // what the bulk lane carries ends here
  Rounds rounds_;         // that the next stage has not been in, as far as it has said
  uint64_t answered_ = 0;
  int64_t begun_ = 0;  // where the earliest round began since it was stopped
};

}  // namespace catena
