// Sampling parameters as they cross a hop.
//
// Thread rules: pure functions, any thread.
#pragma once

#include "catena/v1/chain.pb.h"

#include "model/sampler/params.h"

namespace catena {

// All but the stop strings.
void EncodeSampling(const SamplingParams& params, v1::SamplingValues* values);

// INVALID_ARGUMENT where Validate says so for the largest vocabulary there can be: the head, which
// knows its own, asks again.
absl::StatusOr<SamplingParams> DecodeSampling(const v1::SamplingValues& values);

}  // namespace catena
