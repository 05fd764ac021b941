// What programs read of an error, beside its code and its message: a reason that does not change
// with the wording, which stage it is of, when to try again. They travel as payloads of the status,
// through whatever hands it on; services/common/status.h says them as google.rpc details.
//
// Thread rules: pure functions, any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "kernels/base/status.h"
#include "runtime/chain/instant.h"

namespace catena {

// A new one is a value here and a row in error_facts.cc.
enum class ErrorReason {
  kQueueFull,      // so many requests wait that no more may
  kQueueTooLong,   // the wait would exceed the request's deadline
  kNoRoute,        // no chain of replicas covers the model
  kStageLost,      // a process that had a part of the request is gone
  kStageStalled,   // it answers, and the request makes no progress there
  kEdgeBroken,     // a stage cannot reach the next one
  kKvCacheFull,    // no pages are free for the request
  kDraining,       // the process takes no new requests
  kAwaitsTrial,    // what may make stages fail is tried one by one, and it is not its turn
  kDeadline,       // it passed
  kCancelled,      // by the client, or it has gone
  kSlowClient,     // too much output waits for it
  kDiverged,       // one position came twice with other bits
  kInvalidField,   // of the request; a BadRequest says which
  kPromptTooLong,  // for the model's context
  kUnknownModel,
  kUnknownSequence,  // it does not run here, or no longer
  kNoTokenizer,      // the model has none, or none answers
  kModelMismatch,    // replicas are of different models
  kApiKeyMissing,
  kApiKeyWrong,
  kTooManyCalls,  // of this kind at a time
};

std::string_view ReasonName(ErrorReason reason);  // "QUEUE_FULL"
std::optional<ErrorReason> ReasonByName(std::string_view name);

// The same status with the fact; one that it has already is kept, since whoever came first was
// nearer to the fault. OK stays OK.
absl::Status WithReason(absl::Status status, ErrorReason reason);
absl::Status WithStage(absl::Status status, std::string_view stage);
absl::Status WithRetryAfter(absl::Status status, Nanoseconds delay);

std::optional<ErrorReason> ReasonOf(const absl::Status& status);
std::string StageOf(const absl::Status& status);  // "" where none is named
std::optional<Nanoseconds> RetryAfter(const absl::Status& status);

}  // namespace catena
