// The subcommands of `catena`: one file each, one row each in the table of main.cc.
//
// A command declares its options on a CLI::App and returns what to run once they are parsed. Its
// status becomes the exit status and, where it is an error, one line on stderr.
#pragma once

#include <functional>
#include <string_view>

#include <CLI/CLI.hpp>

#include "kernels/base/status.h"

namespace catena::cli {

using Action = std::function<absl::Status()>;

struct Command {
  const char* name;
  const char* summary;
  Action (*declare)(CLI::App& app);
};

Action DeclareGenerate(CLI::App& app);
Action DeclareChat(CLI::App& app);
Action DeclareGateway(CLI::App& app);
Action DeclareTokenizer(CLI::App& app);
Action DeclareShard(CLI::App& app);
Action DeclareHead(CLI::App& app);
Action DeclareInspect(CLI::App& app);
Action DeclarePlan(CLI::App& app);
Action DeclareLook(CLI::App& app);
Action DeclarePerplexity(CLI::App& app);
Action DeclareLogits(CLI::App& app);
Action DeclareTokenize(CLI::App& app);
Action DeclareUp(CLI::App& app);
Action DeclareStatus(CLI::App& app);
Action DeclareDebug(CLI::App& app);
Action DeclareBench(CLI::App& app);

}  // namespace catena::cli
