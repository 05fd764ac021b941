#!/usr/bin/env bash
# tests/package_test.sh FOLDER: tries the packages of deploy/package.sh, each in a bare Debian 12
# of its own folder: the command says its version there, and generates with the default model, whose
# path CATENA_SMOLLM2_GGUF names. Needs root and debootstrap; ends with 77 where this machine cannot
# have such a folder.
set -euo pipefail

packages=$(realpath "$1")
model=${CATENA_SMOLLM2_GGUF:?the path of the default model}
scratch=$(mktemp -d)
trap 'umount "$scratch"/*/proc 2>/dev/null; rm -rf "$scratch"' EXIT

# Where this machine itself has its packages from.
# shellcheck disable=SC2016  # apt's format, not the shell's
mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' |
  awk '$2 == "bookworm" || $2 == "stable" {print $1; exit}')

bare_debian() {
  if ! { debootstrap --variant=minbase --no-check-gpg bookworm "$1" "$mirror" &&
    mount -t proc proc "$1/proc"; } >"$scratch/log" 2>&1; then
    tail -n 20 "$scratch/log" >&2
    echo "package_test: no bare Debian can be made here" >&2
    exit 77
  fi
  cp "$model" "$1/model.gguf"
}

# try ROOT COMMAND: as a user would first.
try() {
  local said
  said=$(chroot "$1" "$2" --version)
  [[ $said == "catena "* ]] || { echo "$2 --version: $said" >&2; return 1; }
  said=$(chroot "$1" "$2" generate --model /model.gguf --max-tokens 5 \
    --prompt "The capital of France is")
  [[ $said == *Paris* ]] || { echo "$2 generate: $said" >&2; return 1; }
  echo "== $2 runs in a bare Debian"
}

bare_debian "$scratch/tarball"
tar -C "$scratch/tarball/opt" -xzf "$packages"/catena-*.tar.gz --strip-components=1
try "$scratch/tarball" /opt/bin/catena
umount "$scratch/tarball/proc"
rm -rf "$scratch/tarball"

bare_debian "$scratch/deb"
cp "$packages"/catena_*.deb "$scratch/deb/catena.deb"
chroot "$scratch/deb" dpkg -i /catena.deb >"$scratch/log" || { cat "$scratch/log" >&2; exit 1; }
try "$scratch/deb" catena
