#include "services/cli/command.h"
namespace catena::cli { Action DeclareBench(CLI::App&) { return [] { return absl::UnimplementedError("x"); }; } }
