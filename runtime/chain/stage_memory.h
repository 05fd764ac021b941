// A stage's KV cache as its core needs it. Implemented by Stage and by the simulation's toy.
//
// Thread rules: one thread at a time.
#pragma once

#include <cstdint>

#include "kernels/base/status.h"

namespace catena {

class StageMemory {
 public:
  virtual ~StageMemory() = default;
  // A new sequence that may come to have `max_length` positions. Room for the first `reserve` of
  // them is set aside: RESOURCE_EXHAUSTED where there is none now. INVALID_ARGUMENT where there
  // never is room for all.
  virtual absl::Status Open(uint64_t id, int64_t max_length, int64_t reserve) = 0;
  // Whether there would be room for such a one if those were closed.
  virtual bool Fits(int64_t reserve, absl::Span<const uint64_t> without) const = 0;
  // Its positions are computed with these rotary factors (Step::rotary). INVALID_ARGUMENT where the
  // model has none such. REQUIRES: its length is 0.
  virtual absl::Status ChooseRotary(uint64_t id, int32_t rotary) = 0;
  // Makes the next positions, up to `length`, ready to be written. RESOURCE_EXHAUSTED where they
  // are not among those set aside, and there is no room.
  virtual absl::Status Extend(uint64_t id, int64_t length) = 0;
  // Forgets positions from `length` on. FAILED_PRECONDITION where the sequence must be computed
  // from an earlier position; 0 always works.
  virtual absl::Status Truncate(uint64_t id, int64_t length) = 0;
  virtual void Close(uint64_t id) = 0;
};

}  // namespace catena
