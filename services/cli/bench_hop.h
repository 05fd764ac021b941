// catena bench hop: what one hop between two processes costs, beside the gRPC stream below it.
#pragma once

#include "services/cli/command.h"

namespace catena::cli {

Action DeclareBenchHop(App& app);

// The process at the other end, which bench hop starts.
Action DeclareBenchHopPeer(App& app);

}  // namespace catena::cli
