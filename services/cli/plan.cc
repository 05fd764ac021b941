#include "services/cli/command.h"
namespace catena::cli { Action DeclarePlan(CLI::App&) { return [] { return absl::UnimplementedError("x"); }; } }
