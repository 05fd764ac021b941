// catena bench serve: a cluster under the load of many clients.
#pragma once

#include "services/cli/command.h"

namespace catena::cli {

Action DeclareBenchServe(App& app);

}  // namespace catena::cli
