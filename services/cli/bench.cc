// catena bench: figures of this machine and this model.
#include "services/cli/bench_kv_cache.h"
#include "services/cli/bench_serve.h"
#include "services/cli/command.h"

namespace catena::cli {

Action DeclareBench(CLI::App& app) {
  app.require_subcommand(1);
  auto chosen = std::make_shared<Action>();
  CLI::App* kv_cache = app.add_subcommand(
      "kv-cache", "The same new tokens with the KV cache and recomputing everything");
  const Action run_kv_cache = DeclareBenchKvCache(*kv_cache);
  kv_cache->callback([chosen, run_kv_cache] { *chosen = run_kv_cache; });
  CLI::App* serve = app.add_subcommand("serve", "A cluster under the load of many clients");
  const Action run_serve = DeclareBenchServe(*serve);
  serve->callback([chosen, run_serve] { *chosen = run_serve; });
  return [chosen] { return (*chosen)(); };
}

}  // namespace catena::cli
