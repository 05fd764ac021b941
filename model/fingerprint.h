// A name for a model's config and weights: processes whose models have the same fingerprint may
// serve one sequence together.
//
// It covers every fact of the config and, of each tensor, name, type, shape and three samples of
// 4 KiB (start, middle, end), so that it is made in milliseconds from a mapped file of any size and
// differs between finetunes of one model. It guards against mistakes, not against forgery.
//
// Thread rules: a pure function.
#pragma once

#include <string>

#include "model/checkpoint.h"

namespace catena {

// 16 hexadecimal digits. `options`: those that the checkpoint was opened with.
absl::StatusOr<std::string> Fingerprint(const Checkpoint& checkpoint,
                                        const CheckpointOptions& options);

}  // namespace catena
