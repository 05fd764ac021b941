// catena bench kv-cache: what the KV cache is worth.
#pragma once

#include "services/cli/command.h"

namespace catena::cli {

Action DeclareBenchKvCache(App& app);

}  // namespace catena::cli
