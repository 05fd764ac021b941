#!/usr/bin/env bash
# tests/image_test.sh FOLDER: builds the image of deploy/Dockerfile with buildah, without a Docker
# engine, and lets it be what the demo is: a cluster that generates with the default model, as the
# image's user, with its entry point. Prints the image's size. The one for GPUs is made too, and
# says that there is none.
#
# A registry is not asked: debian:12-slim is made by debootstrap, and what the build stage would
# give is taken from FOLDER, the packages of deploy/package.sh, which that stage runs too. Needs
# root; ends with 77 where this machine can build no image. CATENA_SMOLLM2_GGUF names the default
# model.
set -euo pipefail

packages=$(realpath "$1")
model=$(realpath "${CATENA_SMOLLM2_GGUF:?the path of the default model}")
cd "$(dirname "$0")/.."
version=$(sed -n 's/^project(catena VERSION \([^ ]*\).*/\1/p' CMakeLists.txt)
scratch=$(mktemp -d)
trap stop EXIT
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot

build() { buildah --root "$scratch/images" --runroot "$scratch/run" "$@"; }

stop() {
  # buildah hands no signal on; the first process in the container is the gateway's parent.
  [ -z "${supervisor:-}" ] || kill -INT "$supervisor"
  [ -z "${cluster:-}" ] || wait "$cluster" || true
  build umount --all >/dev/null 2>&1 || true
  rm -rf "$scratch"
}

# Where this machine itself has its packages from.
# shellcheck disable=SC2016  # apt's format, not the shell's
mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' |
  awk '$2 == "bookworm" || $2 == "stable" {print $1; exit}')

make_base() {
  local container
  debootstrap --variant=minbase --no-check-gpg bookworm "$scratch/debian" "$mirror"
  rm -rf "$scratch"/debian/var/cache/apt/archives/*.deb "$scratch"/debian/var/lib/apt/lists/*
  container=$(build from scratch)
  build add --quiet "$container" "$scratch/debian" /
  build commit --quiet --rm "$container" docker.io/library/debian:12-slim
  rm -rf "$scratch/debian"
}

# As the Dockerfile says, the stages that compile replaced by what they make.
make_image() {
  mkdir -p "$scratch/stage/image/usr"
  tar -xzf "$packages"/catena-*.tar.gz -C "$scratch/stage/image/usr" --strip-components=1
  build build --pull-never --build-context "build=$scratch/stage" --file deploy/Dockerfile \
    --tag "catena:$version" .
  build build --pull-never --build-context "build-cuda=$scratch/stage" --file deploy/Dockerfile \
    --target cuda --tag "catena:$version-cuda" .
}

# What the image for GPUs says where there is none.
on_no_gpu() {
  local container
  container=$(build from --pull-never "catena:$version-cuda")
  build inspect --type container "$container" | grep -q NVIDIA_VISIBLE_DEVICES=all ||
    fail "the image for GPUs asks for none"
  ! build run --volume "$model:/model.gguf:ro" "$container" -- \
    catena generate --model /model.gguf --backend cuda --prompt a 2>&1
}

# in_image ARGUMENT…: what `docker run catena:VERSION ARGUMENT…` does.
in_image() {
  # shellcheck disable=SC2086  # the entry point, a word a word
  build run --volume "$model:/model.gguf:ro" --volume "$scratch/tmp:/tmp" "$container" -- \
    $entry "$@"
}

fail() {
  echo "image_test: $*" >&2
  exit 1
}

mkdir -m 1777 "$scratch/tmp"
make_base >"$scratch/log" 2>&1 || {
  tail -n 20 "$scratch/log" >&2
  echo "image_test: no image can be made here" >&2
  exit 77
}
make_image
container=$(build from --pull-never "catena:$version")
about() { build inspect --type container --format "$1" "$container"; }
entry=$(about '{{range .OCIv1.Config.Entrypoint}}{{.}} {{end}}')
[ "$(about '{{.OCIv1.Config.User}}')" = 65532:65532 ] || fail "the image's user is another"

[ "$(in_image --version)" = "catena $version" ] || fail "it is another version than $version"
said=$(on_no_gpu)
[[ $said == *"backend cuda"* ]] || fail "on a machine without a GPU it says: $said"
mkfifo "$scratch/ready"
in_image up --model /model.gguf --stages 2 --threads 1 --json </dev/null >"$scratch/ready" \
  2>"$scratch/cluster.log" &
cluster=$!
read -r line <"$scratch/ready" || { cat "$scratch/cluster.log" >&2; fail "no cluster starts"; }
read -r gateway first < <(python3 -c 'import json, sys
ready = json.loads(sys.argv[1])
print(ready["gateway"], ready["processes"][0]["pid"])' "$line")
supervisor=$(ps -o ppid= -p "$first" | tr -d " ")
said=$(in_image generate --gateway "$gateway" --max-tokens 5 --prompt "The capital of France is")
[[ $said == *Paris* ]] || fail "it generates: $said"
build images --format '== {{.Name}}:{{.Tag}}: {{.Size}}' | grep -v "<none>"
du -h "$scratch/stage/image/usr/bin/catena" | awk '{print "== of which the program: " $1}'
