// The simulation itself is tested: it passes a simple store that is right, and finds each fault built into it.
#include "tests/support/catch.hpp"

#include <cerrno>
#include <optional>

#include "tests/crash/reference_store.hpp"

namespace pageserver::test {
namespace {

SimulationOptions options_for(std::uint64_t seed, ReferenceFault fault) {
  SimulationOptions options;
  options.seed = seed;
  options.actions = 120;
  options.crash_check_one_in = 4;
  options.open_store = reference_store(fault);
  return options;
}

std::optional<std::string> violation(const SimulationOptions& options) {
  try {
    Simulation(options).run();
  } catch (const Violation& found) {
    return found.what();
  }
  return std::nullopt;
}

bool found_within(std::uint64_t seeds, ReferenceFault fault, const FaultPlan& plan = {}) {
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    SimulationOptions options = options_for(seed, fault);
    options.faults = plan;
    if (violation(options)) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("the simulation passes a simple store that keeps the promises") {
  SimulationCounters counters;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Simulation simulation(options_for(seed, ReferenceFault::none));
    REQUIRE_NOTHROW(simulation.run());
    counters.add(simulation.counters());
  }
  CHECK(counters.publishes > 400);
  CHECK(counters.transactions > 20);
  CHECK(counters.recoveries > 1000);
  CHECK(counters.recoveries_after_recovery > 20);
  CHECK(counters.breaks > 5);
  CHECK(counters.lease_waits > 5);
  CHECK(counters.clean_stops > 5);
}

TEST_CASE("the same seed gives the same run") {
  SimulationCounters first, second;
  for (SimulationCounters* counters : {&first, &second}) {
    Simulation simulation(options_for(7, ReferenceFault::none));
    simulation.run();
    *counters = simulation.counters();
  }
  CHECK(first.calls == second.calls);
  CHECK(first.publishes == second.publishes);
  CHECK(first.recoveries == second.recoveries);
}

TEST_CASE("the simulation passes a simple store on a failing disk") {
  for (std::uint64_t call = 5; call < 400; call += 7) {
    SimulationOptions options = options_for(3, ReferenceFault::none);
    options.crash_check_one_in = 10;
    options.actions = 60;
    options.faults.error = call % 2 == 0 ? EIO : ENOSPC;
    options.faults.first_call = options.faults.last_call = call;
    const auto found = violation(options);
    INFO("fault at call " << call);
    CHECK(found.value_or("") == "");
  }
}

TEST_CASE("the simulation finds each fault built into the simple store") {
  CHECK(found_within(20, ReferenceFault::no_sync_before_rename));
  CHECK(found_within(20, ReferenceFault::no_directory_sync));
  CHECK(found_within(20, ReferenceFault::write_in_place));
  CHECK(found_within(20, ReferenceFault::visible_before_written));
  CHECK(found_within(20, ReferenceFault::lost_writer_writes));
  CHECK(found_within(20, ReferenceFault::pins_move));
}

TEST_CASE("the simulation finds a flush answered although its sync failed") {
  FaultPlan plan;
  plan.error = EIO;
  plan.first_call = 40;
  plan.last_call = 400;
  plan.kinds = 1u << static_cast<unsigned>(Call::sync_data);
  CHECK(found_within(20, ReferenceFault::ignores_failed_sync, plan));
}

}  // namespace pageserver::test
