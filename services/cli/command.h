// The subcommands of `catena`: one file each, one row each in the table of main.cc. A command
// declares its options and returns what to run once they are parsed.
#pragma once

#include "services/cli/app.h"

namespace catena::cli {

Action DeclareGenerate(App& app);
Action DeclareChat(App& app);
Action DeclareGateway(App& app);
Action DeclareTokenizer(App& app);
Action DeclareShard(App& app);
Action DeclareHead(App& app);
Action DeclareInspect(App& app);
Action DeclarePlan(App& app);
Action DeclareQuantise(App& app);
Action DeclareLook(App& app);
Action DeclarePerplexity(App& app);
Action DeclareLogits(App& app);
Action DeclareTokenize(App& app);
Action DeclareUp(App& app);
Action DeclareStatus(App& app);
Action DeclareDebug(App& app);
Action DeclareDrain(App& app);
Action DeclareBench(App& app);

}  // namespace catena::cli
