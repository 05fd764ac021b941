#include "services/cli/command.h"
namespace catena::cli { Action DeclareInspect(CLI::App&) { return [] { return absl::UnimplementedError("x"); }; } }
