// catena bench: figures of this machine and this model.
#include "services/cli/bench_hop.h"
#include "services/cli/bench_kv_cache.h"
#include "services/cli/command.h"

namespace catena::cli {

Action DeclareBench(CLI::App& app) {
  app.require_subcommand(1);
  auto chosen = std::make_shared<Action>();
  CLI::App* kv_cache = app.add_subcommand(
      "kv-cache", "The same new tokens with the KV cache and recomputing everything");
  const Action run_kv_cache = DeclareBenchKvCache(*kv_cache);
  kv_cache->callback([chosen, run_kv_cache] { *chosen = run_kv_cache; });
  CLI::App* hop = app.add_subcommand(
      "hop", "One hop between two processes, and the gRPC stream below it alone");
  const Action run_hop = DeclareBenchHop(*hop);
  hop->callback([chosen, run_hop] { *chosen = run_hop; });
  CLI::App* hop_peer = app.add_subcommand("hop-peer", "The other end of bench hop");
  const Action run_hop_peer = DeclareBenchHopPeer(*hop_peer);
  hop_peer->callback([chosen, run_hop_peer] { *chosen = run_hop_peer; });
  return [chosen] { return (*chosen)(); };
}

}  // namespace catena::cli
