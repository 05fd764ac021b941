// Marks at the branches of the protocol that a simulation must have taken, since what it never
// reaches it does not test. CATENA_REACHED(kName) stands where a branch is taken. It is nothing,
// except in a build of these sources with CATENA_COUNT_REACHED, where it counts: tests/sim runs
// that one, and fails for each name here that it has not come to.
//
// Thread rules: each thread has counts of its own.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#define CATENA_BRANCHES(X)     \
  X(kQueueIsFull)              \
  X(kOfAnotherModelWaitsAside) \
  X(kOneThatStartedIsRefused)  \
  X(kMakesPlaceForGrowth)      \
  X(kMakesPlaceForAMove)       \
  X(kWaitIsOverTheDeadline)    \
  X(kOpenFindsNoMemory)        \
  X(kGuessIsRight)             \
  X(kGuessIsWrong)             \
  X(kGuessesAreDropped)        \
  X(kTextPassesTheSwitch)      \
  X(kDecodeStaysOnBulkLane)    \
  X(kPeerIsInOlderRound)       \
  X(kQuestionWasAnswered)      \
  X(kWindowHoldsRowsBack)      \
  X(kClosedWhileRunning)       \
  X(kHeartbeatForgets)         \
  X(kHeartbeatOfUnknown)       \
  X(kQuestionBeforeGo)         \
  X(kEpochWhileRunning)        \
  X(kGoBeginsARound)           \
  X(kGoFindsLess)              \
  X(kGoAgain)                  \
  X(kGoIsAwaited)              \
  X(kQuestionIsOpenAtTick)     \
  X(kLeaseExpires)             \
  X(kStepOfUnknown)            \
  X(kStepWhileGoingBack)       \
  X(kStepLeavesGap)            \
  X(kStepIsDuplicate)          \
  X(kStepOfOldRound)           \
  X(kRoundOfOtherRotary)       \
  X(kRoundBeginsBeforeItsStep) \
  X(kLengthOfUnknown)          \
  X(kLengthOfNewerRound)       \
  X(kLengthShowsLoss)          \
  X(kGoesBackAfterTheBatch)    \
  X(kRowsAreCorrupt)           \
  X(kReplayRuns)               \
  X(kSuspectWaits)             \
  X(kSuspectGivesItsTrialUp)   \
  X(kTrialIsOver)              \
  X(kStepOverlaps)             \
  X(kDecodesAwaitCompany)      \
  X(kGroupsStayApart)          \
  X(kPrefillBesideDecodes)     \
  X(kOpenAgain)                \
  X(kOpenAwaitsItsEdge)        \
  X(kOpenedTooLate)            \
  X(kJournalLacksRows)         \
  X(kOpenOverABrokenEdge)      \
  X(kEdgeIsTriedAgain)         \
  X(kEdgeHeals)                \
  X(kBatchOfOldRound)          \
  X(kJournalDropsRows)         \
  X(kTruncatedPastTheWindow)   \
  X(kResultIsRepeated)         \
  X(kHeadTakesIdsAlone)        \
  X(kScoreAwaitsItsId)         \
  X(kRowWasSampledBefore)      \
  X(kLinkIsTriedAgain)         \
  X(kDeadlinePassedBefore)     \
  X(kNoRouteWhenItComes)       \
  X(kCancelled)                \
  X(kStagesAreAskedInTurn)     \
  X(kStageSaysHowFarItIs)      \
  X(kRefusedByDraining)        \
  X(kRefusedForItsEdge)        \
  X(kEdgeBreaksWhileOpening)   \
  X(kStageHasLostIt)           \
  X(kTokenIsRepeated)          \
  X(kTokenBeforeItWasLost)     \
  X(kTextFillsTheContext)      \
  X(kIdsAreAskedFor)           \
  X(kQuestionOfAnotherLife)    \
  X(kReplicaIsAbsentForLong)   \
  X(kLivesAfterAll)            \
  X(kReplicaFails)             \
  X(kTokenOfAnotherHead)       \
  X(kTokenWhileMoving)         \
  X(kGoIsSaidAgain)            \
  X(kNoRouteWhenItsTurnComes)  \
  X(kWaitsForARoute)           \
  X(kOpensAnew)                \
  X(kMakesPlace)               \
  X(kBreaksWhileOpening)       \
  X(kFailsEverywhere)          \
  X(kMoves)                    \
  X(kStrandedWithoutRoute)     \
  X(kMovesToEvenTheLoad)       \
  X(kLeavesInTime)             \
  X(kRouteIsAwaitedInVain)     \
  X(kLateWhileRunning)         \
  X(kLateWhileWaiting)         \
  X(kSlowIsNotStuck)           \
  X(kSequenceIsStuck)          \
  X(kOpenIsSentAgain)          \
  X(kLinkHeals)                \
  X(kOtherModelIsPassedBy)     \
  X(kDrainingIsPassedBy)       \
  X(kUnreachableIsPassedBy)    \
  X(kRouteGoesThroughAnother)  \
  X(kFullCacheCosts)           \
  X(kFailedReplicaCosts)       \
  X(kBrokenEdgeIsPassedBy)     \
  X(kFailedEdgeCosts)          \
  X(kOnlyBrokenEdgesAreLeft)   \
  X(kBlocksAreMissing)         \
  X(kHeadIsMissing)            \
  X(kCutsDoNotTile)            \
  X(kReplicaOfTheWishIsGone)   \
  X(kOtherModelIsNamed)

namespace catena {

enum class Branch : size_t {
#define CATENA_BRANCH(name) name,
  CATENA_BRANCHES(CATENA_BRANCH)
#undef CATENA_BRANCH
      kCount
};
inline constexpr size_t kBranches = static_cast<size_t>(Branch::kCount);

inline constexpr std::array<std::string_view, kBranches> kBranchNames = {
#define CATENA_BRANCH(name) #name,
    CATENA_BRANCHES(CATENA_BRANCH)
#undef CATENA_BRANCH
};

using ReachedCounts = std::array<uint64_t, kBranches>;

}  // namespace catena

#ifdef CATENA_COUNT_REACHED
namespace catena {
inline thread_local ReachedCounts reached{};
}
#define CATENA_REACHED(branch) \
  static_cast<void>(++::catena::reached[static_cast<size_t>(::catena::Branch::branch)])
#else
#define CATENA_REACHED(branch) static_cast<void>(::catena::Branch::branch)
#endif
