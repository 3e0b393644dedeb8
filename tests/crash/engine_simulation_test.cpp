// The engine on a disk that forgets, tears and fails. A failure prints the seed; the same seed gives the same run:
//   PAGESERVER_SIM_FIRST_SEED=4711 PAGESERVER_SIM_SEEDS=1 engine_simulation_test "[seeds]"
// The cases with faults take these, too: name the case that failed instead of "[seeds]".
#include "tests/crash/engine_simulation.hpp"

#include <algorithm>
#include <cerrno>
#include <iostream>
#include <numeric>
#include <vector>
#include "tests/support/catch.hpp"

namespace pageserver::test {
namespace {

SimulationOptions options_for(std::uint64_t seed) {
  SimulationOptions options;
  options.seed = seed;
  options.open_store = engine();
  options.outside_writes = true;
  return options;
}

/// Of what is tried at every call, one in so many: 1 with as many seeds as usual.
unsigned calls_a_check() { return static_cast<unsigned>(std::max<std::uint64_t>(500 / simulation_seeds(), 1)); }

void report(const char* what, const SimulationCounters& counters) {
  std::cout << what << ": " << counters.calls << " calls, " << counters.publishes << " publishes, "
            << counters.transactions << " transactions, " << counters.flushes << " flushes, "
            << counters.checkpoint_writes << " checkpoint writes, " << counters.recycled << " segments out of the log, "
            << counters.reused << " of them back in it, " << counters.spill_writes << " spill writes, "
            << counters.evictions << " evictions, " << counters.breaks << " breaks, " << counters.leases << " leases, "
            << counters.lease_waits << " waits in line, " << counters.writer_waits << " waits for room, "
            << counters.fork_limits << " fork limits, " << counters.crashes << " crashes, " << counters.recoveries
            << " recoveries, " << counters.recoveries_after_recovery << " of them after a crash in recovery, "
            << counters.faults << " faults, " << counters.errors << " errors, " << counters.interleaved
            << " interleavings, " << counters.interrupted_reads << " reads interrupted, " << counters.mappings
            << " mappings, " << counters.second_openings << " second openings, " << counters.others_before
            << " others before, " << counters.damages << " damages, " << counters.moves << " moves, "
            << counters.private_limits << " private limits, " << counters.part_writes << " writes of parts, "
            << counters.outside_writes << " writes from outside, " << counters.clocks_set << " times another clock\n";
}

/// The seeds of a case with faults: `count` of them with the usual number of seeds, more with more; or those that were
/// asked for.
std::vector<std::uint64_t> seeds_from(std::uint64_t first, std::uint64_t count) {
  const bool chosen = simulation_first_seed() != 1;
  std::vector<std::uint64_t> seeds(chosen ? simulation_seeds()
                                          : std::max<std::uint64_t>(count * simulation_seeds() / 500, 1));
  std::iota(seeds.begin(), seeds.end(), chosen ? simulation_first_seed() : first);
  return seeds;
}

std::uint32_t bit(Call call) { return 1u << static_cast<unsigned>(call); }

/// The seeds are shared out over four test cases, which run side by side.
void try_seeds(std::uint64_t share) {
  SimulationCounters counters;
  const std::uint64_t first = simulation_first_seed();
  for (std::uint64_t seed = first + share; seed < first + simulation_seeds(); seed += 4) {
    SimulationOptions options = options_for(seed);
    options.crash_check_one_in = 10;
    const auto found = violation(options, &counters);
    INFO(found.value_or(""));
    REQUIRE_FALSE(found);
  }
  report("seeds", counters);
  if (simulation_seeds() < 500) return;
  CHECK(counters.writer_waits > 0);
  CHECK(counters.fork_limits > 0);
  CHECK(counters.evictions > 20);
  CHECK(counters.clean_stops > 20);
  CHECK(counters.outside_writes > 20);
  CHECK(counters.mappings > 20);
  CHECK(counters.second_openings > 100);
  CHECK(counters.damages > 100);
  CHECK(counters.moves > 20);
  CHECK(counters.clocks_set > 100);
  CHECK(counters.private_limits > 5);
  CHECK(counters.part_writes > 100);
  CHECK(counters.interrupted_reads > 500);
}

}  // namespace

// With fewer seeds than usual, at each so many fewer calls.
TEST_CASE("a crash at every call leaves what the promises allow") {
  for (const std::uint64_t seed : {1001u, 1002u}) {
    SimulationOptions options = options_for(seed);
    options.lives = 4;
    options.actions = 700;
    options.every_crash_kind = true;
    options.crash_check_one_in = calls_a_check();
    SimulationCounters counters;
    const auto found = violation(options, &counters);
    INFO(found.value_or(""));
    REQUIRE_FALSE(found);
    report("every call", counters);
    // That the workload does what it is for, rather than nothing.
    CHECK(counters.calls >= 2000);
    CHECK(counters.publishes > 100);
    if (calls_a_check() > 1) continue;
    CHECK(counters.crashes >= 4 * 2000);
    CHECK(counters.recoveries >= 4 * 2000);
    CHECK(counters.recoveries_after_recovery > 100);
    CHECK(counters.checkpoint_writes > 20);
    CHECK(counters.checkpoint_syncs > 5);
    CHECK(counters.recycled > 2);
    CHECK(counters.reused > 2);
    CHECK(counters.transactions > 10);
    CHECK(counters.grows > 3);
    CHECK(counters.spill_writes > 5);
    CHECK(counters.leases > 10);
    CHECK(counters.lease_waits > 1);
    CHECK(counters.breaks > 3);
    CHECK(counters.evictions > 0);
    CHECK(counters.refreshes > 10);
    CHECK(counters.discards > 5);
    CHECK(counters.interleaved > 50);
  }
}

TEST_CASE("a crash at every call of a recovery leaves what the promises allow") {
  SimulationCounters counters;
  for (std::uint64_t seed = 2001; seed <= 2010; ++seed) {
    SimulationOptions options = options_for(seed);
    options.lives = 2;
    options.crash_check_one_in = 60 * calls_a_check();
    options.every_recovery_call = true;
    const auto found = violation(options, &counters);
    INFO(found.value_or(""));
    REQUIRE_FALSE(found);
  }
  report("every call of a recovery", counters);
  CHECK(counters.recoveries_after_recovery > 500 / calls_a_check());
}

TEST_CASE("many seeds keep the promises, first quarter", "[seeds]") { try_seeds(0); }
TEST_CASE("many seeds keep the promises, second quarter", "[seeds]") { try_seeds(1); }
TEST_CASE("many seeds keep the promises, third quarter", "[seeds]") { try_seeds(2); }
TEST_CASE("many seeds keep the promises, last quarter", "[seeds]") { try_seeds(3); }

namespace {

/// The same run with this error at each call in turn; with fewer seeds than usual, at each so many fewer calls.
void fail_at_each_call(int error) {
  SimulationCounters counters;
  SimulationOptions options = options_for(3001);
  options.lives = 2;
  options.actions = 400;
  options.crash_check_one_in = 0;
  Simulation measured(options);
  measured.run();
  const std::uint64_t calls = measured.counters().calls;
  REQUIRE(calls > 200);
  for (std::uint64_t call = 0; call < calls; call += calls_a_check()) {
    options.crash_check_one_in = 50;
    options.faults.error = error;
    options.faults.first_call = options.faults.last_call = call;
    const auto found = violation(options, &counters);
    INFO("errno " << error << " at call " << call << "\n" << found.value_or(""));
    REQUIRE_FALSE(found);
  }
  report("one error", counters);
  CHECK(counters.faults > calls / calls_a_check() / 2);
  CHECK(counters.errors > 10 / calls_a_check());
}

}  // namespace

TEST_CASE("an I/O error at any one call loses nothing that was promised") { fail_at_each_call(EIO); }

TEST_CASE("no room at any one call loses nothing that was promised") { fail_at_each_call(ENOSPC); }

TEST_CASE("a disk that fails for a while loses nothing that was promised") {
  struct Plan {
    int error;
    std::uint32_t kinds;
  };
  const Plan plan = GENERATE(values<Plan>({
      {EIO, bit(Call::sync_data) | bit(Call::sync_file) | bit(Call::sync_directory)},
      {EIO, bit(Call::sync_data)},
      {EIO, bit(Call::read)},
      {EIO, bit(Call::write)},
      {ENOSPC, bit(Call::write) | bit(Call::reserve)},
      {ENOSPC, bit(Call::open) | bit(Call::reserve)},
      {EIO, ~0u},
  }));
  SimulationCounters counters;
  for (const std::uint64_t seed : seeds_from(4001, 30)) {
    SimulationOptions options = options_for(seed);
    options.crash_check_one_in = 30;
    options.faults.error = plan.error;
    options.faults.kinds = plan.kinds;
    options.faults.counts_kinds = true;
    options.faults.first_call = seed % 15;
    options.faults.last_call = options.faults.first_call + seed % 4 * 10;
    const auto found = violation(options, &counters);
    INFO("errno " << plan.error << " kinds " << plan.kinds << "\n" << found.value_or(""));
    REQUIRE_FALSE(found);
  }
  report("failing for a while", counters);
  if (simulation_seeds() < 500) return;
  CHECK(counters.faults >= 30);  // each seed meets one at least
}

TEST_CASE("a disk that fails in any mix of ways loses nothing that was promised") {
  SimulationCounters counters;
  for (const std::uint64_t seed : seeds_from(6001, 150)) {
    Random chance(seed);
    SimulationOptions options = options_for(seed);
    options.crash_check_one_in = 30;
    options.faults.error = chance.one_in(2) ? EIO : ENOSPC;
    options.faults.kinds = static_cast<std::uint32_t>(chance.next() & chance.next());
    options.faults.first_call = chance.below(1500);
    options.faults.last_call = options.faults.first_call + chance.below(300);
    options.faults.one_in = 1 + chance.below(3);
    options.faults.drops_pages = chance.one_in(2);
    const auto found = violation(options, &counters);
    INFO(found.value_or(""));
    REQUIRE_FALSE(found);
  }
  report("failing in mixes", counters);
  if (simulation_seeds() < 500) return;
  CHECK(counters.faults > 500);
  CHECK(counters.errors > 50);
}

TEST_CASE("files that can neither be written nor removed are gone after a clean stop, or it is none") {
  SimulationCounters counters;
  for (const std::uint64_t seed : seeds_from(7001, 80)) {
    SimulationOptions options = options_for(seed);
    options.crash_check_one_in = 30;
    options.faults = failing_removals(seed);
    const auto found = violation(options, &counters);
    INFO(found.value_or(""));
    REQUIRE_FALSE(found);
  }
  report("failing removals", counters);
  if (simulation_seeds() < 500) return;
  CHECK(counters.failed_removals > 100);
  CHECK(counters.clean_stops > 20);
  CHECK(counters.failed_closes > 2);
}

TEST_CASE("a disk that fills up loses nothing that was promised") {
  SimulationCounters counters;
  for (const std::uint64_t seed : seeds_from(5001, 60)) {
    SimulationOptions options = options_for(seed);
    options.crash_check_one_in = 30;
    options.faults.capacity_slack_blocks = 1 + seed % 6 * 12;
    const auto found = violation(options, &counters);
    INFO(found.value_or(""));
    REQUIRE_FALSE(found);
  }
  report("full", counters);
  if (simulation_seeds() < 500) return;
  CHECK(counters.errors > 100);
}

}  // namespace pageserver::test
