// catena bench speed: how fast one process reads prompts and writes text.
#pragma once

#include "services/cli/command.h"

namespace catena::cli {

Action DeclareBenchSpeed(App& app);

}  // namespace catena::cli
