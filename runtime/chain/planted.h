// Faults that can be planted in the protocol, to see that a simulation finds them.
// CATENA_PLANTED(kName) stands where one would be, and is false, except in a build with
// CATENA_COUNT_REACHED (tests/sim): there it is true while that fault is planted.
//
// Thread rules: each thread has a fault of its own.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#define CATENA_FAULTS(X)     \
  X(kStepsOfOldRoundsCount)  \
  X(kHeartbeatsOnRoutesOnly) \
  X(kDeathsAreNotCounted)    \
  X(kSuspectsRunTogether)    \
  X(kOldestMakesPlace)       \
  X(kOverlapCountsTwice)     \
  X(kRewoundOneTooFar)       \
  X(kMemoryIsKept)           \
  X(kWindowOpensUnnoticed)   \
  X(kOldRouteStays)          \
  X(kTokensOfOneLifeOnly)    \
  X(kGoBeforeAllAnswered)    \
  X(kGoBeginsNoRound)        \
  X(kOldRoundsCount)         \
  X(kHeadGetsOneIdMore)      \
  X(kLeaseNeverEnds)         \
  X(kOldRotaryStays)         \
  X(kJournalOutlivesItsRows) \
  X(kHashesAreNotCompared)   \
  X(kOnlyTheNewestRound)     \
  X(kStrandedForGood)        \
  X(kStrandedGoesOn)

namespace catena {

enum class Planted : size_t {
#define CATENA_FAULT(name) name,
  CATENA_FAULTS(CATENA_FAULT)
#undef CATENA_FAULT
      kNone
};

inline constexpr std::array<std::string_view, static_cast<size_t>(Planted::kNone)> kPlantedNames = {
#define CATENA_FAULT(name) #name,
    CATENA_FAULTS(CATENA_FAULT)
#undef CATENA_FAULT
};

}  // namespace catena

#ifdef CATENA_COUNT_REACHED
namespace catena {
inline thread_local Planted planted = Planted::kNone;
}
#define CATENA_PLANTED(fault) (::catena::planted == ::catena::Planted::fault)
#else
#define CATENA_PLANTED(fault) (static_cast<void>(::catena::Planted::fault), false)
#endif
