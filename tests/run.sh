#!/usr/bin/env bash
# Everything the tests need, then all tests, then one line "N passed, N failed, N skipped".
# tests/run.sh [--quick]: --quick stops after the release build's tests and tests/tidy.
#
# FUZZ_SECONDS   how long each fuzzer runs (10)
# CATENA_SHARED  the shared test data (../shared beside the checkout)
# CI             true: what would be skipped because something is missing has failed
#
# A step is a function below; it ends with 0 (passed), skip "why" (skipped) or anything else
# (failed), and its output is in build/test-logs/. A step that has test cases counts them.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

export FUZZ_SECONDS=${FUZZ_SECONDS:-10}
export CATENA_SHARED=${CATENA_SHARED:-$(dirname "$PWD")/shared}
export CTEST_PARALLEL_LEVEL=${CTEST_PARALLEL_LEVEL:-$(nproc)}
export PYTHONDONTWRITEBYTECODE=1

readonly logs=$PWD/build/test-logs skipped_status=77
names=() results=() seconds=() notes=()  # one entry a step
passed=0 failed=0 skipped=0              # test cases; a step without cases is one

# --- the steps ---

packages() { deploy/install_deps.sh --with-tests; }

# What two builds of these folders share is compiled once: paths count from here; the precompiled
# headers, the time stamps of sources and whether a warning is an error do not count.
share_compilations() {
  command -v ccache >/dev/null || return 0
  export CMAKE_CXX_COMPILER_LAUNCHER=ccache CMAKE_CUDA_COMPILER_LAUNCHER=ccache
  export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1 CCACHE_IGNOREOPTIONS=-Werror
  export CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
}

shared_data() { [ -d "$CATENA_SHARED" ] || cannot "no shared test data at $CATENA_SHARED"; }

default_model() { deploy/default_model.sh >"$logs/model_path"; }

build_release() { configure_and_build release; }

test_release() { run_ctest release; }

test_quickly() { run_ctest release --label-exclude slow; }

# The command as a user runs it. What it writes is read by packages of Python too, where they could
# be had.
e2e() {
  local python=build/venv/bin/python
  [ -x "$python" ] || python=python3
  run_unittests "$python" tests/e2e
}

# Processes die while it serves, and no text differs.
chaos() { run_unittests python3 tests/chaos; }

# The command of the commit before (commit_before) in clusters with this one's.
predecessor() {
  local before sources=$PWD/build/predecessor
  before=$(commit_before) || skip "no earlier commit to talk to"
  echo "with $(git log -1 --format='%h %s' "$before")"
  mkdir -p "$sources"
  git archive "$before" | tar -x -C "$sources"
  (cd "$sources" && cmake --preset release && cmake --build build/release --target catena)
  CATENA_BEFORE=$sources/build/release/bin/catena run_unittests python3 tests/predecessor
}

tidy() {
  local status=0
  run_unittests python3 tests/tidy || status=1
  tests/tidy/tidy.py --build build/release || { add_cases 0 1 0; status=1; }
  return $status
}

# tests/requirements.txt in a virtual environment.
python_packages() {
  python3 -m venv build/venv
  build/venv/bin/pip install --quiet --disable-pip-version-check -r tests/requirements.txt ||
    cannot "could not install tests/requirements.txt"
}

proto_lint() { build/venv/bin/buf lint proto; }

# What clients of the last commit send and read must still be sent and read.
proto_breaking() {
  local before
  before=$(commit_before) || skip "no earlier commit to compare proto/ with"
  rm -rf build/proto-before
  mkdir -p build/proto-before
  git archive "$before" proto | tar -x -C build/proto-before
  echo "against $(git log -1 --format='%h %s' "$before")"
  build/venv/bin/buf breaking proto --against build/proto-before/proto
}

# The one where this branch left main; on main itself the one before, or, where proto/ has changes
# that are not committed, the last.
commit_before() {
  local head main
  head=$(git rev-parse HEAD)
  for main in origin/main main; do
    if main=$(git merge-base HEAD "$main" 2>/dev/null) && [ "$main" != "$head" ]; then
      echo "$main"
      return
    fi
  done
  if ! git diff --quiet HEAD -- proto; then
    echo "$head"
  else
    git rev-parse --verify --quiet HEAD~1
  fi
}

# promtool alone out of Debian's package: to install that would start a Prometheus on this machine.
find_promtool() {
  if command -v promtool >"$logs/promtool_path"; then return; fi
  mkdir -p build/promtool
  (
    cd build/promtool
    apt-get download prometheus || { as_root apt-get update && apt-get download prometheus; }
    dpkg-deb -x prometheus_*.deb .
  ) || cannot "could not get promtool: install Debian's package prometheus"
  echo "$PWD/build/promtool/usr/bin/promtool" >"$logs/promtool_path"
}

as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi; }

# What is handed out runs where nothing but the C library is.
deb_and_tarball() {
  deploy/package.sh build/packages
  local status=0
  as_root env CATENA_SMOLLM2_GGUF="$CATENA_SMOLLM2_GGUF" tests/package_test.sh build/packages ||
    status=$?
  [ $status -ne "$skipped_status" ] || skip "no bare Debian can be made here"
  return $status
}

# The image, with what those packages hold.
image() {
  local status=0
  as_root env CATENA_SMOLLM2_GGUF="$CATENA_SMOLLM2_GGUF" tests/image_test.sh build/packages ||
    status=$?
  [ $status -ne "$skipped_status" ] || skip "no image can be built here"
  return $status
}

# Clients in other languages.
clients() { run_unittests build/venv/bin/python tests/clients; }

# The manifests of k8s/ and what is made of them; no cluster.
kubernetes() { CATENA=$PWD/build/release/bin/catena run_unittests build/venv/bin/python tests/k8s; }

# The pods of the manifests as processes in network namespaces, which root alone may make.
rehearsal() {
  run_unittests as_root env CI="${CI:-}" PYTHONDONTWRITEBYTECODE=1 \
    PYTHONPATH="$PWD/tests/k8s:$PWD/tests/e2e" CATENA="$PWD/build/release/bin/catena" \
    CATENA_SMOLLM2_GGUF="$CATENA_SMOLLM2_GGUF" \
    build/venv/bin/python tests/rehearsal
}

# Programs that compare us with Python's own libraries.
oracles() {
  [ -d "$CATENA_SHARED" ] || cannot "no shared test data"
  oracle tests/model/tokenizer_oracle.py --tool build/release/bin/tokenizer_tool --count 5000 \
    "$CATENA_SHARED/phi3/tokenizer.json" "$CATENA_SMOLLM2_GGUF"
  oracle tests/model/chat_oracle.py --tool build/release/bin/tokenizer_tool \
    "$CATENA_SHARED/phi3/tokenizer_config.json"
}

build_asan() { configure_and_build asan; }

test_asan() { run_ctest asan --label-exclude slow; }

# Each fuzzer starts from its seeds, where it has any; what it finds goes to the build folder.
fuzz() {
  local fuzzer name status=0
  without_aslr build/asan/bin/make_fuzz_seeds build/asan/fuzz_seeds
  for fuzzer in build/asan/bin/*_fuzz; do
    name=${fuzzer##*/}
    mkdir -p "build/asan/fuzz_found/$name" "build/asan/fuzz_seeds/$name"
    progress_line "$name"
    if without_aslr "$fuzzer" -max_total_time="$FUZZ_SECONDS" -max_len=16384 -timeout=10 \
      -rss_limit_mb=1024 -artifact_prefix="build/asan/$name-" \
      "build/asan/fuzz_found/$name" "build/asan/fuzz_seeds/$name"; then
      add_cases 1 0 0
    else
      add_cases 0 1 0
      status=1
    fi
  done
  return $status
}

# Only what has threads: the tests labelled tsan, whose programs have the names of their targets.
build_tsan() {
  configure tsan
  local targets
  targets=$(ctest --test-dir build/tsan -N -L '^tsan$' | sed -n 's/^ *Test *#[0-9]*: //p')
  [ -n "$targets" ] || skip "no test has the label tsan"
  # shellcheck disable=SC2086  # one word a target
  cmake --build build/tsan --target $targets
}

test_tsan() { run_ctest tsan --label-regex '^tsan$'; }

# --- what the steps share ---

# Ends the step as skipped.
skip() {
  echo "$*" >"$logs/note"
  exit $skipped_status
}

# Ends the step because something is missing: under CI that is a failure.
cannot() {
  echo "$*" >"$logs/note"
  [ "${CI:-}" = true ] && exit 1
  exit $skipped_status
}

# oracle SCRIPT ARGUMENT…: one test case.
oracle() {
  progress_line "$1"
  if build/venv/bin/python "$@"; then add_cases 1 0 0; else add_cases 0 1 0; fi
}

add_cases() { echo "$@" >>"$logs/cases"; }

progress_line() { echo "== $*"; }

# A warning fails the tests; to a user, whose compiler may be newer, it stays a warning.
configure() {
  cmake --preset "$1" -DCATENA_SHARED="$CATENA_SHARED" -DCMAKE_COMPILE_WARNING_AS_ERROR=ON
}

configure_and_build() {
  configure "$1"
  cmake --build build/"$1"
}

# The sanitizers of clang 14 lose their shadow memory where a newer kernel randomises more bits.
without_aslr() {
  local wrapper=()
  ! setarch --addr-no-randomize true 2>/dev/null || wrapper=(setarch --addr-no-randomize)
  "${wrapper[@]}" "$@"
}

# run_ctest PRESET OPTION…
run_ctest() {
  local preset=$1 status=0 xml=$logs/$1-gtest
  shift
  mkdir -p "$xml"
  export UBSAN_OPTIONS=print_stacktrace=1 GTEST_OUTPUT=xml:$xml/
  without_aslr ctest --test-dir build/"$preset" --output-on-failure --no-tests=error \
    --output-junit "$logs/$preset.xml" "$@" || status=1
  # shellcheck disable=SC2046  # three numbers
  add_cases $(python3 tests/count_ctest.py "$logs/$preset.xml" "$xml")
  return $status
}

# run_unittests PYTHON… FOLDER: the *_test.py there.
run_unittests() {
  local status=0 report
  report=$("${@:1:$#-1}" -m unittest discover -v -s "${!#}" -p '*_test.py' 2>&1) || status=1
  echo "$report"
  # shellcheck disable=SC2046  # three numbers
  add_cases $(awk '
    function count(kind) {
      return match($0, kind "=[0-9]+") ? substr($0, RSTART + length(kind) + 1, RLENGTH) + 0 : 0
    }
    /^Ran [0-9]+ test/ { ran = $2 }
    /^(OK|FAILED)/ { failed = count("failures") + count("errors"); skipped = count("skipped") }
    END { print ran - failed - skipped, failed + 0, skipped + 0 }' <<<"$report")
  return $status
}

# --- running the steps ---

# Of a step's output, what shows that it moves: each tenth of a build, each test, its own lines.
show_progress() {
  local line shown=0
  while IFS= read -r line; do
    if [[ $line =~ ^\[([0-9]+)/([0-9]+)\] ]]; then
      local tenth=$((10 * BASH_REMATCH[1] / BASH_REMATCH[2]))
      [ $tenth -gt $shown ] && echo "   ${BASH_REMATCH[0]}"
      shown=$tenth
    elif [[ $line =~ ^\ *[0-9]+/[0-9]+\ Test\ +\# || $line =~ ^(==|Done)\  ]]; then
      echo "   ${line#== }"
    fi
  done
}

result_of() {
  local i
  for i in "${!names[@]}"; do
    [ "${names[$i]}" != "$1" ] || echo "${results[$i]}"
  done
}

# step NAME FUNCTION NEEDED…: runs FUNCTION unless a step NEEDED did not pass.
step() {
  local name=$1 function=$2 log=$logs/${1// /-}.log status start=$SECONDS needed missing=
  rm -f "$logs/cases" "$logs/note"
  for needed in "${@:3}"; do
    [ "$(result_of "$needed")" = passed ] || missing=$needed
  done
  if [ -n "$missing" ]; then
    echo "needs: $missing" >"$logs/note"
    status=$skipped_status
  else
    echo "== $name"
    (set -e; "$function") </dev/null 2>&1 | tee "$log" | show_progress
    status=${PIPESTATUS[0]}
  fi
  record "$name" "$status" $((SECONDS - start))
  if [ "${results[-1]}" = failed ]; then
    echo "-- failed: $name ${notes[-1]} (the last lines of $log)"
    tail -n 300 "$log"
  fi
}

# record NAME STATUS SECONDS: adds the step and its cases to the table and the sums.
record() {
  local result=failed p=0 f=0 s=0 note cases_passed cases_failed cases_skipped
  while read -r cases_passed cases_failed cases_skipped; do
    p=$((p + cases_passed)) f=$((f + cases_failed)) s=$((s + cases_skipped))
  done < <(cat "$logs/cases" 2>/dev/null)
  case $2 in
    0) result=passed; [ $((p + f + s)) -gt 0 ] || p=1 ;;
    "$skipped_status") result=skipped; s=$((s + 1)) ;;
    *) [ $f -gt 0 ] || f=1 ;;
  esac
  note=$(cat "$logs/note" 2>/dev/null)
  [ ! -s "$logs/cases" ] || note="$p passed, $f failed, $s skipped${note:+; $note}"
  names+=("$1") results+=("$result") seconds+=("$3") notes+=("${note:+($note)}")
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
}

summary() {
  local i
  printf '\n%-16s %8s  %s\n' step seconds result
  for i in "${!names[@]}"; do
    printf '%-16s %8d  %s %s\n' "${names[$i]}" "${seconds[$i]}" "${results[$i]}" "${notes[$i]}"
  done
  printf '%-16s %8d\n\n%d passed, %d failed, %d skipped\n' total "$SECONDS" \
    "$passed" "$failed" "$skipped"
}

main() {
  local quick=
  case "${1:-}" in
    "") ;;
    --quick) quick=yes ;;
    -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit ;;
    *) echo "tests/run.sh: unknown option $1; the only one is --quick" >&2; exit 2 ;;
  esac
  rm -rf "$logs"
  mkdir -p "$logs"

  step "packages" packages
  share_compilations
  step "shared data" shared_data
  step "default model" default_model
  CATENA_SMOLLM2_GGUF=$(cat "$logs/model_path")
  export CATENA_SMOLLM2_GGUF
  step "release build" build_release
  if [ -n "$quick" ]; then
    step "tests" test_quickly "release build"
    step "tidy" tidy
  else
    step "promtool" find_promtool
    CATENA_PROMTOOL=$(cat "$logs/promtool_path")
    export CATENA_PROMTOOL
    step "tests" test_release "release build"
    step "python packages" python_packages
    step "end to end" e2e "release build"
    step "chaos" chaos "release build" "default model"
    step "predecessor" predecessor "release build"
    step "tidy" tidy
    step "proto lint" proto_lint "python packages"
    step "proto breaking" proto_breaking "python packages"
    step "oracles" oracles "release build" "python packages"
    step "clients" clients "release build" "python packages"
    step "kubernetes" kubernetes "release build" "python packages" "default model"
    step "rehearsal" rehearsal "release build" "python packages" "default model"
    step "deb and tarball" deb_and_tarball "release build"
    step "image" image "deb and tarball"
    step "asan build" build_asan
    step "asan tests" test_asan "asan build"
    step "fuzzers" fuzz "asan build"
    step "tsan build" build_tsan
    step "tsan tests" test_tsan "tsan build"
  fi
  summary
  [ "$failed" -eq 0 ]
}

main "$@"
