#!/usr/bin/env bash
# deploy/package.sh [FOLDER]: builds catena as one stripped binary that needs nothing but the C
# library of Debian 12 or newer, and packs it twice into FOLDER (build/packages): a .deb and a
# tarball. Prints their paths on stdout. BUILD_DIR names the build folder (build/release).
set -euo pipefail
cd "$(dirname "$0")/.."

out=${1:-build/packages}
build_dir=${BUILD_DIR:-build/release}

progress() { echo "== $*" >&2; }

die() {
  echo "package: $*" >&2
  exit 1
}

compile() {
  local how=(--preset release -B "$build_dir")
  [ ! -f "$build_dir/CMakeCache.txt" ] || how=("$build_dir")  # an existing folder keeps its own
  cmake "${how[@]}" >"$scratch/log" 2>&1 || { cat "$scratch/log" >&2; return 1; }
  cmake --build "$build_dir" --target catena_static --parallel "$(nproc)" 2>&1 |
    deploy/build_progress.sh "$build_dir/package-build.log"
}

# What the binary asks of the system beside the C library's own files: nothing.
check_needs() {
  local foreign
  foreign=$(objdump -p "$1" | awk '$1 == "NEEDED" {print $2}' |
    grep -vE '^(libc|libm|libdl|libpthread|librt|ld-linux-x86-64)\.so\.' || true)
  [ -z "$foreign" ] || die "the binary needs $(xargs <<<"$foreign"): link it statically"
}

# The C library that the binary's symbols ask for.
libc_version() {
  objdump -T "$1" | grep -oE 'GLIBC_[0-9.]+' | sed 's/GLIBC_//' | sort -V | tail -n 1
}

make_tree() {
  install -D -m 755 "$1" "$2/bin/catena"
  install -D -m 644 README.md "$2/share/doc/catena/README.md"
  install -D -m 644 proto/catena/v1/generation.proto "$2/share/doc/catena/generation.proto"
}

make_tarball() {
  local name=catena-$version-linux-$architecture
  make_tree "$1" "$scratch/$name"
  tar -C "$scratch" --owner=0 --group=0 -czf "$out/$name.tar.gz" "$name"
  echo "$out/$name.tar.gz"
}

make_deb() {
  local root=$scratch/deb file=$out/catena_${version}_$architecture.deb
  make_tree "$1" "$root/usr"
  install -D -m 644 "deploy/systemd/catena@.service" "$root/lib/systemd/system/catena@.service"
  mkdir "$root/DEBIAN"
  cat >"$root/DEBIAN/control" <<CONTROL
Package: catena
Version: $version
Architecture: $architecture
Maintainer: Catena's maintainers <catena@localhost>
Depends: libc6 (>= $(libc_version "$1"))
Installed-Size: $(du -ks "$root/usr" | cut -f1)
Section: science
Priority: optional
Description: Serves a language model as a chain of gRPC services
 Tokenizer, shards that hold a range of decoder blocks each, head and gateway:
 one command, a subcommand a role.
CONTROL
  dpkg-deb --root-owner-group --build "$root" "$file" >/dev/null
  echo "$file"
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$out"
progress "build"
compile
version=$("$build_dir/bin/catena_static" --version | cut -d' ' -f2)
architecture=$(dpkg --print-architecture)
strip -o "$scratch/catena" "$build_dir/bin/catena_static"
check_needs "$scratch/catena"
progress "packages of catena $version ($(du -h "$scratch/catena" | cut -f1))"
make_tarball "$scratch/catena"
make_deb "$scratch/catena"
