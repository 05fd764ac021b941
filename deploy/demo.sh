#!/usr/bin/env bash
# deploy/demo.sh ["prompt"]: from a fresh Debian 12 to a cluster that writes. Installs what is
# missing, fetches the default model, builds, starts a tokenizer, two shards, a head and a gateway
# as processes of their own, generates through them, prints the text and then the speed, and stops
# them. BUILD_DIR names the build folder (build/release).
set -euo pipefail
cd "$(dirname "$0")/.."

prompt=${1:-"A distributed system is one in which"}
build_dir=${BUILD_DIR:-build/release}

progress() { echo "== $*" >&2; }

# Builds the catena command. What the tools say is shown where they fail.
build() {
  local log=$build_dir/demo-build.log how=(--preset release -B "$build_dir")
  mkdir -p "$build_dir"
  [ ! -f "$build_dir/CMakeCache.txt" ] || how=("$build_dir")  # an existing folder keeps its own
  cmake "${how[@]}" >"$log" 2>&1 ||
    { cat "$log" >&2; return 1; }
  cmake --build "$build_dir" --target catena --parallel "$(nproc)" 2>&1 |
    deploy/build_progress.sh "$log"
}

# Starts the cluster; it ends with this script, however that ends. Its log is shown where it fails.
start_cluster() {
  scratch=$(mktemp -d)
  trap stop_cluster EXIT
  mkfifo "$scratch/ready"
  "$build_dir/bin/catena" up --model "$model" --stages 2 --json </dev/null \
    >"$scratch/ready" 2>"$scratch/log" &
  cluster=$!
  local line
  # The line comes when a token has gone all the way round; the pipe closes if that fails.
  read -r line <"$scratch/ready" || { cat "$scratch/log" >&2; return 1; }
  gateway=$(python3 -c 'import json, sys; print(json.loads(sys.argv[1])["gateway"])' "$line")
}

stop_cluster() {
  if [ -n "${cluster:-}" ] && kill -INT "$cluster" 2>/dev/null; then
    wait "$cluster" || echo "demo: the cluster did not stop as it should" >&2
  fi
  rm -rf "$scratch"
}

generate() {
  "$build_dir/bin/catena" generate --gateway "$gateway" --prompt "$prompt" --stats </dev/null
}

progress "packages"
deploy/install_deps.sh
progress "default model"
model=$(deploy/default_model.sh)
progress "build (a few minutes the first time)"
build
progress "cluster: a tokenizer, two shards, a head, a gateway"
start_cluster
"$build_dir/bin/catena" status --gateway "$gateway" >&2
progress "generate"
generate
