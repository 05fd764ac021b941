// catena bench machine: the most that this machine can read and compute.
#pragma once

#include "services/cli/command.h"

namespace catena::cli {

Action DeclareBenchMachine(App& app);

}  // namespace catena::cli
