#!/usr/bin/env bash
# cmake/link_archives.sh LINK COMMAND…: runs the command that links a program, with the archive of
# each library in the place of its shared object, so that the program needs the C library alone.
# CMake puts it before that command (RULE_LAUNCH_LINK in services/CMakeLists.txt).
set -euo pipefail

die() {
  echo "link_archives: $*" >&2
  exit 1
}

archives=() others=()
for argument in "$@"; do
  case $argument in
    */libfmt.so* | */libspdlog.so*) ;;  # Debian has no archives of them: services/archives/
    /*.so | /*.so.*)
      archive=${argument%.so*}.a
      [ -f "$archive" ] || die "there is no $archive: install the library's -dev package"
      archives+=("$archive")
      ;;
    -lre2) archives+=(-l:libre2.a) ;;
    *.a) archives+=("$argument") ;;
    *) others+=("$argument") ;;
  esac
done
# Data of ICU, which the shared object names by itself. Archives refer to each other in circles.
exec "${others[@]}" -static-libstdc++ -static-libgcc \
  -Wl,--start-group "${archives[@]}" -l:libicudata.a -Wl,--end-group
