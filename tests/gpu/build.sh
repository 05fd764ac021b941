#!/usr/bin/env bash
# Builds build/gpu/gpu_bench, stripped and linked statically: what tests/gpu/run.sh needs on a host
# with a GPU, beside the sources, is this one file. Needs what the build needs, and nvcc.
# BUILD_DIR names the build folder (build/release).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build_dir=${BUILD_DIR:-build/release}
[ -f "$build_dir/CMakeCache.txt" ] || cmake --preset release -B "$build_dir"
if ! grep -q '^CATENA_NVCC:FILEPATH=/' "$build_dir/CMakeCache.txt"; then
  echo "tests/gpu/build.sh: there is no nvcc, so the binary would know no GPU: install CUDA" >&2
  exit 1
fi
cmake --build "$build_dir" --target gpu_bench_static --parallel "$(nproc)"
mkdir -p build/gpu
strip -o build/gpu/gpu_bench "$build_dir/bin/gpu_bench_static"
ls -l build/gpu/gpu_bench
