// A Hugging Face folder as the GGUF file that llama.cpp's converter would make of it.
//
// Thread rules: a function without state.
#pragma once

#include "model/quantise/quantise_plan.h"

namespace catena {

// REQUIRES: every tensor of `folder` is there (Checkpoint::Block …). What the plan's metadata say
// is read back before anything is written: INVALID_ARGUMENT where it is not what the folder says.
absl::StatusOr<QuantisePlan> PlanFolder(const Checkpoint& folder, const QuantiseFormat& format);

}  // namespace catena
