#!/usr/bin/env bash
# Every test and benchmark that wants a GPU, in one go, in under five minutes: one table, and JSON
# in build/gpu/gpu.json. Needs an NVIDIA GPU and its driver, Python (with torch and transformers for
# what it compares with; those rows say so where they are missing), and build/gpu/gpu_bench, which
# tests/gpu/build.sh makes. --help shows the options.
set -euo pipefail
export PYTHONDONTWRITEBYTECODE=1
exec python3 "$(dirname "${BASH_SOURCE[0]}")/measure.py" "$@"
