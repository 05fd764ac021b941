#!/usr/bin/env bash
# deploy/demo.sh ["prompt"]: from a fresh Debian 12 to a cluster that writes. Installs what is
# missing, fetches the default model, builds, starts a tokenizer, two shards, a head and a gateway,
# generates through them, and stops them; prints the text and then the speed.
# BUILD_DIR names the build folder (build/release).
set -euo pipefail
cd "$(dirname "$0")/.."

prompt=${1:-"A distributed system is one in which"}
build_dir=${BUILD_DIR:-build/release}
readonly catena=$build_dir/bin/catena

progress() { echo "== $*" >&2; }

# Builds the catena command; what the compiler says is shown where it fails, or on a terminal.
build() {
  local log=$build_dir/demo-build.log
  mkdir -p "$build_dir"
  if [ -t 2 ]; then
    configure_and_compile >&2
  else
    configure_and_compile >"$log" 2>&1 || { cat "$log" >&2; return 1; }
  fi
}

configure_and_compile() {
  local generator=(-G Ninja)
  [ ! -f "$build_dir/CMakeCache.txt" ] || generator=()  # an existing folder keeps its own
  cmake -S . -B "$build_dir" "${generator[@]}" -DCMAKE_BUILD_TYPE=Release || return 1
  cmake --build "$build_dir" --target catena --parallel "$(nproc)"
}

# Starts a cluster and sets `gateway`, its address, once it serves.
start_cluster() {
  local ready output
  exec {output}< <(exec "$catena" up --model "$model" --stages 2 --json --log-level error)
  cluster_pid=$!
  trap stop_cluster EXIT
  read -r ready <&"$output" || return 1  # it has said why
  gateway=$(python3 -c 'import json, sys; print(json.loads(sys.argv[1])["gateway"])' "$ready")
}

# Ends the cluster as Ctrl-C would, and waits for it.
stop_cluster() {
  trap - EXIT
  kill -INT "$cluster_pid" 2>/dev/null || true
  wait "$cluster_pid"
}

progress "packages"
deploy/install_deps.sh
progress "default model"
model=$(deploy/default_model.sh)
progress "build (a few minutes the first time)"
build
progress "cluster"
start_cluster
"$catena" status --gateway "$gateway" >&2
progress "generate"
"$catena" generate --gateway "$gateway" --prompt "$prompt" --stats </dev/null
progress "stop"
stop_cluster
