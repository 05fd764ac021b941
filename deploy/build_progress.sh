#!/usr/bin/env bash
# COMMAND | deploy/build_progress.sh LOG: of a build's output, which goes to LOG, a line on stderr a
# tenth of the way; on a terminal one line that is written anew. Where a line says that something
# failed, all from there on is shown.
set -uo pipefail

log=$1
shown=0 failed=
while IFS= read -r line; do
  echo "$line" >&3
  if [[ $line == FAILED:* || $line == *" error: "* ]]; then failed=yes; fi
  if [ -n "$failed" ]; then
    echo "$line" >&2
  elif [[ $line =~ ^\[\ *([0-9]+)(/([0-9]+)|%)\] ]]; then
    percent=${BASH_REMATCH[1]}  # of make; ninja says 17/340
    [ -z "${BASH_REMATCH[3]}" ] || percent=$((100 * BASH_REMATCH[1] / BASH_REMATCH[3]))
    if [ -t 2 ]; then
      printf '\r   %3d %%, %d s ' "$percent" "$SECONDS" >&2
    elif [ $((percent / 10)) -gt $((shown / 10)) ]; then
      printf '   %3d %%, %d s\n' "$percent" "$SECONDS" >&2
    fi
    shown=$percent
  fi
done 3>"$log"
[ ! -t 2 ] || printf '\n' >&2
