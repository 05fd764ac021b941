#!/usr/bin/env bash
# deploy/demo.sh ["prompt"]: from a fresh Debian 12 to a model that writes. Installs what is
# missing, fetches the default model, builds, and generates; prints the text and then the speed.
# BUILD_DIR names the build folder (build/release).
set -euo pipefail
cd "$(dirname "$0")/.."

prompt=${1:-"A distributed system is one in which"}
build_dir=${BUILD_DIR:-build/release}

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

generate() {
  "$build_dir/bin/catena" generate --model "$model" --prompt "$prompt" --stats </dev/null
}

progress "packages"
deploy/install_deps.sh
progress "default model"
model=$(deploy/default_model.sh)
progress "build (a few minutes the first time)"
build
progress "generate"
generate
