#!/bin/bash
# What scripts that run cargo's tests share. To be sourced; `area` names their logs.
: "${area:?}"
export CARGO_TERM_COLOR=never
passed=0 failed=0 skipped=0
mkdir -p build/logs

# run NAME COMMAND...: each test that cargo counts counts; a command without any is one test.
run() {
  local name=$1 log=build/logs/$area-$1.log ok=0 bad=0 status
  shift
  printf -- '-- %s %s\n' "$area" "$name"
  "$@" >"$log" 2>&1
  status=$?
  read -r ok bad < <(awk '/^test result:/ { ok += $4; bad += $6 } END { print ok + 0, bad + 0 }' "$log")
  if [ "$status" != 0 ]; then
    tail -n 80 "$log"
    echo "FAILED: $area $name (all of it: $log)"
    [ "$bad" != 0 ] || bad=1
  elif [ "$ok" = 0 ]; then
    ok=1
  fi
  printf '   %s passed, %s failed\n' "$ok" "$bad"
  passed=$((passed + ok)) failed=$((failed + bad))
}

skip() {
  echo "-- $area $1: skipped, $2"
  skipped=$((skipped + 1))
}

# at_least MAJOR.MINOR: whether rustc is that new.
version=$(rustc --version | awk '{ print $2 }')
at_least() { printf '%s\n%s\n' "$1" "$version" | sort -C -V; }

# The last line of a script, and whether it did well: a run in which all was skipped did.
tally() {
  echo "$passed passed, $failed failed, $skipped skipped"
  [ "$failed" = 0 ] && [ "$((passed + skipped))" -gt 0 ]
}
