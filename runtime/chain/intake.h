// How the steps of one sequence come to a stage: from whom, in which life of the sequence, what has
// come and what of it is done, as far as upstream was told.
//
// Thread rules: plain state, one thread at a time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "runtime/chain/inbox.h"
#include "runtime/chain/messages.h"

namespace catena {

// A sequence's length as upstream knows it. It hears of bulk rows as soon as they are done (it may
// then change lanes), and of the first rows of a round (which it then knows was seen); of other
// decodes once half a window has gone, so that its window never closes for want of news.
class ToldLength {
 public:
  ToldLength(int64_t length, int64_t window)
      : length_(length), window_(window), every_(std::max<int64_t>(1, window / 2)) {}
  int64_t window() const { return window_; }

  // Rows came, and upstream waits to hear of their end.
  void OweNews() { owed_ = true; }
  bool IsDue(int64_t length) const {
    return length > length_ && (owed_ || length - length_ >= every_);
  }
  // `all`: nothing is queued any more.
  void Told(int64_t length, bool all) {
    length_ = length;
    if (all) owed_ = false;
  }
  // Positions from there on were forgotten.
  void Rewind(int64_t length) { length_ = std::min(length_, length); }

 private:
  int64_t length_;
  int64_t window_;
  int64_t every_;
  bool owed_ = false;
};

struct Intake {
  // `open`: an OpenStage or OpenHead.
  template <class Open>
  Intake(const Open& open, const Inbox::Options& options)
      : key(open.sequence),
        public_id(open.public_id),
        upstream(open.upstream),
        life(open.life),
        trial_end(open.trial_end),
        inbox(options),
        told(options.begin, options.window) {}

  const SequenceKey key;
  const PublicId public_id;  // what the log calls it
  Incarnation upstream;      // who sends the steps
  Life life;
  int64_t trial_end;              // as OpenStage's
  std::optional<int32_t> rotary;  // of the round, as its steps say
  Inbox inbox;                    // begin(): positions given to a batch
  ToldLength told;

  // Its place in the stage's work; BatchQueue's.
  enum class Place { kIdle, kReady, kRunning };
  Place place = Place::kIdle;
  bool closed = false;            // while it ran
  std::optional<int64_t> rewind;  // to there, once it has run
  bool running() const { return place == Place::kRunning; }
};

}  // namespace catena
