// The sliding window of Qwen 2 and 3, which their configs turn on by a switch, from some block on.
#pragma once

#include "model/arch/decoder_config.h"

namespace catena {

// INVALID_ARGUMENT where some blocks have the window and others not, which is not supported.
absl::Status ReadQwenWindow(const JsonFields& fields, ModelConfig* config);

}  // namespace catena
