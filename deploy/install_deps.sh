#!/usr/bin/env bash
# Installs the Debian 12 packages that Catena needs; --with-tests adds what tests/run.sh needs.
# As root or with sudo. Does nothing, and asks no mirror, where all of them are installed.
set -euo pipefail

# One list: group, package, reason. "build" is what the build and deploy/demo.sh need.
packages() {
  cat <<'LIST'
build  build-essential    g++ 12 and the C library
build  cmake              build system, 3.25
build  ninja-build        the generator of the presets
build  pkg-config         how CMake finds Highway
build  libabsl-dev        Status, StatusOr, Span
build  libhwy-dev         SIMD with run-time dispatch
build  libfmt-dev         messages
build  nlohmann-json3-dev JSON
build  libicu-dev         Unicode classes and normalisation of the tokenizer
build  libpcre2-dev       regular expressions of tokenizers
build  libcli11-dev       command line
build  libgrpc++-dev      gRPC, between the processes and for clients
build  libprotobuf-dev    messages
build  libssl-dev         proofs of who calls; gRPC needs it too
build  protobuf-compiler-grpc  C++ of proto/
build  libspdlog-dev      log
build  libboost1.81-dev   Beast: metrics and health over HTTP
build  libboost-context1.81-dev  fibers of the emulated GPU, on which tests run its kernels
build  libxxhash-dev      hashes of rows
build  libgtest-dev       unit tests, built by default
build  libgmock-dev       matchers of the unit tests
build  libbenchmark-dev   micro-benchmarks
build  python3-venv       pip, with which deploy/default_model.sh fetches the default model
build  ca-certificates    pip checks whom it talks to
tests  openssl            certificates of the TLS tests
tests  ruby-grpc          a client in Ruby
tests  ruby-grpc-tools    its stubs
tests  git                which files tests/tidy checks
tests  clang              sanitizer and fuzzer builds
tests  libclang-rt-14-dev runtimes of the sanitizers and of libFuzzer
tests  llvm               llvm-symbolizer: readable sanitizer reports
tests  ccache             what two builds share is compiled once
tests  clang-format       checked by tests/tidy
tests  shellcheck         checked by tests/tidy
tests  debootstrap        a bare Debian, in which packages are tried
tests  buildah            builds the image, without a Docker engine
tests  systemd            systemd-analyze checks the unit
tests  iproute2           network namespaces, a pod each
tests  nftables           NetworkPolicies as its rules
LIST
}

die() {
  echo "install_deps: $*" >&2
  exit 1
}

# Prints the packages of the wanted groups that are not installed.
missing_packages() {
  local groups=$1 wanted installed
  wanted=$(packages | awk -v groups="$groups" 'index(groups, $1) {print $2}' | sort)
  # dpkg-query fails where a name is unknown to it; what it prints about the others still counts.
  # shellcheck disable=SC2086,SC2016  # one word a package; the format is dpkg's, not the shell's
  installed=$(dpkg-query -W -f='${Package} ${db:Status-Status}\n' $wanted 2>/dev/null |
    awk '$2 == "installed" {print $1}' | sort -u) || true
  comm -23 <(echo "$wanted") <(echo "$installed")
}

# Runs a command as root, its output in a log that is shown only where it fails.
as_root() {
  local sudo=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || die "needs root: run it as root, or install sudo"
    sudo=(sudo)
    [ -t 0 ] || sudo=(sudo -n)  # without a terminal a password prompt would wait for ever
  fi
  if ! "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive "$@" </dev/null >"$log" 2>&1; then
    cat "$log" >&2
    return 1
  fi
}

main() {
  local groups=build missing
  case "${1:-}" in
    "") ;;
    --with-tests) groups="build tests" ;;
    -h | --help) sed -n '2,3s/^# //p' "$0"; return ;;
    *) die "unknown option $1; the only one is --with-tests" ;;
  esac
  command -v apt-get >/dev/null ||
    die "this is not Debian; install what answers to: $(packages | awk '{print $2}' | xargs)"

  missing=$(missing_packages "$groups" | xargs)
  [ -n "$missing" ] || return 0
  log=$(mktemp)
  trap 'rm -f "$log"' EXIT
  echo "installing: $missing" >&2
  # A mirror of somebody else's may be down: the installation below decides whether that matters.
  as_root apt-get update || echo "install_deps: apt-get update failed; going on" >&2
  # shellcheck disable=SC2086  # one word a package
  as_root apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends $missing ||
    die "apt-get could not install: $missing"
}

main "$@"
