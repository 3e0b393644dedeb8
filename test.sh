#!/bin/bash
# Installs what is missing, builds, and runs the tests.
#   ./test.sh              everything: what CI runs
#   ./test.sh quick        format, development build and its tests without the slow ones: for everyday work
#   ./test.sh bench        measures against other servers; installs them
#   ./test.sh STAGE...     some of: format scripts dev ceph soak release tidy asan tsan fuzz rust engine python
#                          container; and debian13 packages coverage bench, which run only when they are named
#   SOAK_MINUTES=60 ./test.sh soak    a real daemon, killed and disturbed for so long; 3 unless told (docs/reliability.md)
# The last line is `N passed, N failed` (`, N skipped`), the exit status 0 only when something passed and nothing failed.
# Runs on Debian 12 and 13 (without clang-format 14 and clang-tidy 14 there); elsewhere it names the packages to install.
# Build trees and logs are under build/. JOBS=N sets how many processes run at a time. With four processors and more
# everything runs in two lanes, each with as many; LANES=1 or 2 says otherwise.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1
exec </dev/null

jobs=${JOBS:-$(nproc)}
logs=build/logs
passed=0 failed=0 skipped=0 summary=()
wrap=()  # what build tools and tests are started through
built=0 whole=0
# A clone at another path finds what was compiled before.
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1

say() { printf '\n== %s\n' "$*"; }
add() { passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3)); }

# needs PROGRAM: whether it is there. Else the stage counts as skipped: Debian 13 has no clang 14.
needs() {
  ! command -v "$1" >/dev/null || return 0
  echo "skipped: there is no $1"
  add 0 0 1
  return 1
}

# check NAME COMMAND...: a command that is one test; its output is shown when it fails.
check() {
  local name=$1 log=$logs/$1.log
  shift
  if "$@" >"$log" 2>&1; then
    tail -n 1 "$log"
    add 1 0 0
  else
    tail -n 100 "$log"
    echo "FAILED: $name (all of it: $log)"
    add 0 1 0
  fi
}

# make_tree PRESET [TARGET...]: one at a time of each tree.
make_tree() {
  local preset=$1 log=$logs/$1-build.log
  local configure=()
  shift
  case $preset in
    # What is compiled once compiles in half the time with the sources of a folder together; `release` compiles each alone.
    dev) [ "$whole" = 0 ] || [ -e build/dev/CMakeCache.txt ] || configure=(-D CMAKE_UNITY_BUILD=ON) ;;
    # The static library that other compilers can use, too, is compiled twice; the packages have it.
    release) [ "$whole" = 0 ] || configure=(-D PAGESERVER_FAT_OBJECTS=OFF) ;;
    fuzz) command -v clang++-14 >/dev/null || configure=(-D CMAKE_CXX_COMPILER=clang++-19) ;;
  esac
  (
    flock 9
    cmake --preset "$preset" "${configure[@]}" >"$log" 2>&1 &&
      "${wrap[@]}" cmake --build --preset "$preset" -j "$jobs" ${1:+--target "$@"} >>"$log" 2>&1
  ) 9>"$logs/$preset.lock"
}

# build PRESET [TARGET...]: a tree that does not build is a failed test.
build() {
  local preset=$1 log=$logs/$1-build.log began=$SECONDS status
  make_tree "$@"
  status=$?
  built=$((built + SECONDS - began))
  [ "$status" != 0 ] || return 0
  grep -E -A 12 'error|FAILED|Error' "$log" | head -n 80
  echo "FAILED: build of $preset (all of it: $log)"
  add 0 1 0
  return 1
}

# run_tests PRESET [CTEST_ARGUMENT...]: counts come from ctest's own report, test by test. `report_as` names it otherwise.
run_tests() {
  local tree=$PWD/build/$1 name=${report_as:-$1} status run fail skip other
  local log=$logs/$name-tests.log report=$PWD/$logs/$name-tests.xml
  shift
  rm -f "$report"
  # Tests wait for half of their time.
  "${wrap[@]}" ctest --test-dir "$tree" -j $((2 * jobs)) --output-on-failure --no-tests=error --output-junit "$report" "$@" 2>&1 |
    tee "$log" | grep --line-buffered -vE '^ *(Start +[0-9]+:|[0-9]+/[0-9]+ +Test .* Passed )|^(Test project|Internal ctest)'
  status=${PIPESTATUS[0]}
  count() { grep -cE "<testcase .*status=\"$1\"" "$report" 2>/dev/null; }
  run=$(count run) fail=$(count fail) skip=$(grep -c '<skipped message="SKIP_' "$report" 2>/dev/null)
  other=$(($(grep -c '<testcase ' "$report" 2>/dev/null) - run - fail - skip))
  fail=$((fail + other))
  if [ "$((run + fail))" = 0 ] || { [ "$status" != 0 ] && [ "$fail" = 0 ]; }; then
    echo "FAILED: ctest ended with status $status, $run tests run (all of it: $log)"
    fail=$((fail + 1))
  fi
  add "$run" "$fail" "$skip"
}

stage_format() { needs clang-format-14 && check format scripts/check_format.sh; }
stage_scripts() {
  check scripts scripts/check_scripts.sh
  check packages scripts/check_packages.sh
  check docs scripts/check_docs.py
  check includes scripts/check_includes.py
  check tests scripts/check_tests.py
}
stage_dev() {
  if [ "$whole" = 0 ]; then
    build dev && run_tests dev
    return
  fi
  # Everything else runs in `asan`, and what replays for minutes with the programs of `release`.
  build dev base/all storage/all proto/all client/all server/all docs/manuals/all tests_plainly pageserver_soak || return
  build_ahead &
  run_tests dev -L '^plainly$' -LE '^replay$'
}
# Stores whose home is a Ceph pool, over clusters of one machine that the tests begin and end.
stage_ceph() {
  docker/install-packages.sh ceph || { add 0 1 0; return; }
  # A tree that was configured without librados looks again.
  build dev tests_ceph && report_as=ceph run_tests dev -L '^ceph$'
}
stage_quick() { build dev tests_quick && run_tests dev -L '^quick$'; }
# What it finds is named, with its seed and its files, in the log.
stage_soak() { build dev pageserver_soak && check soak build/dev/bin/pageserver_soak; }
stage_release() {
  build release && check release scripts/check_release.sh build/release && check run scripts/check_run.sh
  [ "$whole" = 0 ] || report_as=replay PAGESERVER_PROGRAMS=$PWD/build/release/bin run_tests dev -L '^replay$'
}
stage_tidy() { needs clang-tidy-14 && check tidy scripts/check_tidy.py; }
stage_asan() {
  # `dev` runs all seeds: another seed takes other turns, not other code.
  build asan tests_sanitize &&
    PAGESERVER_SIM_SEEDS=50 ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:check_initialization_order=1 UBSAN_OPTIONS=print_stacktrace=1 \
      run_tests asan -L '^sanitize$'
}
# ThreadSanitizer of gcc 12 can't map its shadow where the kernel randomises addresses by more than 28 bits.
wrap_for_tsan() {
  if [ "$(cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null || echo 0)" -gt 28 ]; then wrap=(setarch -R); fi
}
stage_tsan() {
  wrap_for_tsan
  build tsan && TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:die_after_fork=0 \
    run_tests tsan -L '^threads$'
  wrap=()
}
stage_fuzz() {
  build fuzz && check fuzz scripts/run_fuzzers.sh build/fuzz 10
}
stage_coverage() {
  # Compiled here: the counts go where the compiler ran.
  unset CCACHE_BASEDIR CCACHE_NOHASHDIR
  build coverage tests_sanitize || return
  find build/coverage -name '*.gcda' -delete
  PAGESERVER_SIM_SEEDS=100 run_tests coverage -L '^sanitize$'
  check coverage scripts/coverage_report.sh build/coverage
}

# Tests wait for half of their time: what they leave of the processors builds the trees of the stages that come later.
# Whether it succeeded is said there.
build_ahead() {
  local preset
  renice -n 19 "$BASHPID" >/dev/null
  for preset in release asan tsan fuzz; do
    kill -0 $$ 2>/dev/null || return  # somebody has ended the run
    case $preset in
      asan) make_tree asan tests_sanitize ;;
      tsan)
        wrap_for_tsan
        make_tree tsan
        wrap=()
        ;;
      *) make_tree "$preset" ;;
    esac
  done
}

# The container test says by itself what it counted.
stage_container() {
  local log=$logs/container.log counts
  tests/container/container_test.sh 2>&1 | tee "$log"
  counts=$(sed -nE 's/^([0-9]+) passed, ([0-9]+) failed, ([0-9]+) skipped$/\1 \2 \3/p' "$log" | tail -n 1)
  # shellcheck disable=SC2086 # three numbers
  add ${counts:-0 1 0}
}

# cargo_stage NAME TARGET...: what scripts/check_NAME.sh tests against the daemon of `dev`, and what else it needs of that. It
# says by itself what it counted.
cargo_stage() {
  local name=$1 log=$logs/$1.log counts
  shift
  command -v cargo >/dev/null || docker/install-packages.sh rust || { add 0 1 0; return; }
  if ! { cmake --preset dev && cmake --build --preset dev -j "$jobs" --target pageserverd pagectl "$@"; } >"$logs/$name-build.log" 2>&1; then
    tail -n 40 "$logs/$name-build.log"
    echo "FAILED: build of the daemon (all of it: $logs/$name-build.log)"
    add 0 1 0
    return
  fi
  "scripts/check_$name.sh" 2>&1 | tee "$log"
  counts=$(sed -nE 's/^([0-9]+) passed, ([0-9]+) failed, ([0-9]+) skipped$/\1 \2 \3/p' "$log" | tail -n 1)
  # shellcheck disable=SC2086 # three numbers
  add ${counts:-0 1 0}
}
stage_rust() { cargo_stage rust lying_daemon; }
stage_engine() {
  # It makes hundreds of thousands of calls: with the daemon that is shipped in half the time.
  if [ "$whole" = 1 ] && [ -x build/release/bin/pageserverd ]; then
    PAGESERVER_ENGINE_BRIEF=yes PAGESERVERD=$PWD/build/release/bin/pageserverd PAGECTL=$PWD/build/release/bin/pagectl \
      cargo_stage engine
  else
    cargo_stage engine
  fi
}

# The Python package, against the library and the daemon of `dev`. The script says by itself what it counted.
stage_python() {
  local log=$logs/python.log counts
  docker/install-packages.sh python || { add 0 1 0; return; }
  if ! { cmake --preset dev && cmake --build --preset dev -j "$jobs" --target pageserverd pagectl lying_daemon pageserver_c \
    pageserver_static pageserver_shared; } >"$logs/python-build.log" 2>&1; then
    tail -n 40 "$logs/python-build.log"
    echo "FAILED: build of the library (all of it: $logs/python-build.log)"
    add 0 1 0
    return
  fi
  scripts/check_python.sh 2>&1 | tee "$log"
  counts=$(sed -nE 's/^([0-9]+) passed, ([0-9]+) failed, ([0-9]+) skipped$/\1 \2 \3/p' "$log" | tail -n 1)
  # shellcheck disable=SC2086 # three numbers
  add ${counts:-0 1 0}
}

# Debian packages, built and tried. The script says by itself what it counted.
stage_packages() {
  local log=$logs/packages.log counts
  scripts/check_debian.sh 2>&1 | tee "$log"
  counts=$(sed -nE 's/^([0-9]+) passed, ([0-9]+) failed, ([0-9]+) skipped$/\1 \2 \3/p' "$log" | tail -n 1)
  # shellcheck disable=SC2086 # three numbers
  add ${counts:-0 1 0}
}

# The same sources on the next Debian. The script says by itself what it counted.
stage_debian13() {
  local log=$logs/debian13.log counts
  scripts/check_debian13.sh 2>&1 | tee "$log"
  counts=$(sed -nE 's/^([0-9]+) passed, ([0-9]+) failed, ([0-9]+) skipped$/\1 \2 \3/p' "$log" | tail -n 1)
  # shellcheck disable=SC2086 # three numbers
  add ${counts:-0 1 0}
}

# Measures; whether a bar is reached is information, and in the table. BENCH_FLAGS are for build/bench/bin/pageserver_bench.
stage_bench() {
  local log=$logs/bench.log counts micro
  docker/install-packages.sh bench || { add 0 1 0; return; }
  build bench || return
  # shellcheck disable=SC2086 # several flags
  build/bench/bin/pageserver_bench ${BENCH_FLAGS:-} 2>&1 | tee "$log"
  counts=$(sed -nE 's/^([0-9]+) passed, ([0-9]+) failed, ([0-9]+) skipped$/\1 \2 \3/p' "$log" | tail -n 1)
  # shellcheck disable=SC2086 # three numbers
  add ${counts:-0 1 0}
  for micro in micro_codec micro_engine micro_metrics; do
    check "$micro" build/bench/bin/$micro --benchmark_min_time=0.05
    cat "$logs/$micro.log"
  done
}

# What runs beside what, in two lanes: many tests wait, for time limits, for disks, for processes to end, and so do
# downloads; meanwhile the other lane has the processors. Two processors have enough to do with one lane, but for the
# soak, which waits most of its time. The stages of the second lane need nothing of the first's.
stages=("$@") lane=() beside=()
case "${1:-all}" in
  all)
    whole=1
    stages=(format scripts dev ceph) lane=(tidy asan tsan fuzz) beside=(release soak rust engine python container)
    if [ "${LANES:-$(($(nproc) < 4 ? 1 : 2))}" = 1 ]; then
      lane=(release rust engine python container "${lane[@]}") beside=(soak)
    fi
    ;;
  quick) stages=(format scripts quick) ;;
esac
for stage in "${stages[@]}"; do
  declare -F "stage_$stage" >/dev/null ||
    { sed -n '2,13s/^# \{0,1\}//p' "$0" >&2; echo "test.sh: no stage '$stage'" >&2; exit 2; }
done

run_stages() {
  local stage began before
  for stage in "$@"; do
    say "$stage"
    began=$SECONDS built=0 before=("$passed" "$failed" "$skipped")
    "stage_$stage"
    summary+=("$(printf '%-10s %5d s (build %4d s) %6d passed %4d failed %4d skipped' "$stage" $((SECONDS - began)) "$built" \
      $((passed - before[0])) $((failed - before[1])) $((skipped - before[2])))")
  done
}

# Counts for itself, and leaves its counts in a file.
second_lane() {
  local passed=0 failed=0 skipped=0 summary=()
  run_stages "${beside[@]}"
  declare -p passed failed skipped summary | sed -E 's/^declare -[-a]+ /beside_/' >"$logs/beside.counts"
}

# Before anything is configured: the module for Ceph is built where librados is there.
sections=(build test check browser)
[ "$whole" = 0 ] || sections+=(ceph)
docker/install-packages.sh "${sections[@]}" || { echo "0 passed, 1 failed"; exit 1; }
mkdir -p "$logs"
rm -f "$logs/beside.counts"
touch "$logs/began"
run_stages "${stages[@]}"
if [ ${#beside[@]} -gt 0 ]; then
  echo "beside what follows, in $logs/beside.log: ${beside[*]}"
  second_lane >"$logs/beside.log" 2>&1 &
fi
run_stages "${lane[@]}"
if [ ${#beside[@]} -gt 0 ]; then
  beside_passed=0 beside_failed=1 beside_skipped=0 beside_summary=("the second lane did not end")
  wait
  cat "$logs/beside.log"
  # shellcheck source=/dev/null
  [ ! -e "$logs/beside.counts" ] || . "$logs/beside.counts"
  add "$beside_passed" "$beside_failed" "$beside_skipped"
  summary+=("${beside_summary[@]}")
fi

say "summary"
printf '%s\n' "${summary[@]}"
for report in "$logs"/*-tests.xml; do
  [ ! "$report" -nt "$logs/began" ] || sed -nE '/status="fail"/s/^.*<testcase name="([^"]*)".*$/FAILED: \1/p' "$report" |
    sed "s/&quot;/\"/g; s/&apos;/'/g; s/&lt;/</g; s/&gt;/>/g; s/&amp;/\&/g"
done
echo "took $((SECONDS / 60)) min $((SECONDS % 60)) s"
[ "$((passed + failed))" -gt 0 ] || failed=1
line="$passed passed, $failed failed"
[ "$skipped" = 0 ] || line+=", $skipped skipped"
echo "$line"
[ "$failed" = 0 ]
