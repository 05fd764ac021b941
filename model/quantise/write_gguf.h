// Writes what a QuantisePlan says. Memory is bounded whatever the model: tensors go through a
// buffer of a few MiB, and the pages of the source are given back as they are done.
//
// Thread rules: one thread; the pool's are used.
#pragma once

#include <functional>

#include "kernels/cpu/thread_pool.h"
#include "model/new_file.h"
#include "model/quantise/quantise_plan.h"

namespace catena {

// Told now and then which share is done; an error ends the work.
using QuantiseProgress = std::function<absl::Status(double done)>;

// `source`: where the plan's tensors come from. DATA_LOSS that names the tensor where a value that
// must be rounded is infinite or no number; the file's own errors.
absl::Status WriteGguf(const QuantisePlan& plan, const TensorSource& source, ThreadPool* pool,
                       const QuantiseProgress& progress, NewFile* file);

}  // namespace catena
