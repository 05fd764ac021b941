// catena bench: figures of this machine and this model.
#include "services/cli/bench_hop.h"
#include "services/cli/bench_kv_cache.h"
#include "services/cli/bench_machine.h"
#include "services/cli/bench_serve.h"
#include "services/cli/bench_speed.h"
#include "services/cli/command.h"

namespace catena::cli {
namespace {

const std::vector<Command> kBenchmarks = {
    {"speed", "How fast one process reads prompts and writes text", DeclareBenchSpeed},
    {"kv-cache", "The same new tokens with the KV cache and recomputing everything",
     DeclareBenchKvCache},
    {"serve", "A cluster under the load of many clients", DeclareBenchServe},
    {"hop", "One hop between two processes, and the gRPC stream below it alone", DeclareBenchHop},
    {"machine", "What this machine can read and compute at most", DeclareBenchMachine},
    {"hop-peer", "The other end of bench hop", DeclareBenchHopPeer},
};

}  // namespace

Action DeclareBench(App& app) { return app.DeclareCommands(kBenchmarks); }

}  // namespace catena::cli
