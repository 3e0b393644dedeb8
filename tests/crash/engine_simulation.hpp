// What the tests of the engine under simulation share.
#pragma once

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <utility>

#include "server/stores/directory_files.hpp"
#include "storage/file/mutation.hpp"
#include "tests/crash/simulation.hpp"

namespace pageserver::test {

/// The store engine, opened as the daemon opens it.
inline OpenStore engine() { return &storage::open_engine; }

/// How many seeds the broad tests try: 500 unless PAGESERVER_SIM_SEEDS says otherwise.
inline std::uint64_t simulation_seeds() {
  const char* text = std::getenv("PAGESERVER_SIM_SEEDS");
  const std::uint64_t seeds = text == nullptr ? 0 : std::strtoull(text, nullptr, 10);
  return seeds == 0 ? 500 : seeds;
}

/// The first seed of the broad tests, 1 unless PAGESERVER_SIM_FIRST_SEED says otherwise: to run one again.
inline std::uint64_t simulation_first_seed() {
  const char* text = std::getenv("PAGESERVER_SIM_FIRST_SEED");
  const std::uint64_t seed = text == nullptr ? 0 : std::strtoull(text, nullptr, 10);
  return seed == 0 ? 1 : seed;
}

/// From some call of the first lives on, a file can neither be written nor removed, until the life ends or its close is
/// over.
inline FaultPlan failing_removals(std::uint64_t seed) {
  Random chance(seed ^ 0x5e6);
  FaultPlan plan;
  plan.error = chance.one_in(2) ? EIO : ENOSPC;
  plan.kinds = 1u << static_cast<unsigned>(Call::write) | 1u << static_cast<unsigned>(Call::remove);
  plan.first_call = chance.below(800);
  plan.last_call = ~0ull;
  plan.one_in = 1 + chance.below(2);
  plan.through_close = chance.one_in(2);
  return plan;
}

/// The broken promise that a run found, or nothing; what happened in it is added to `counters`.
inline std::optional<std::string> violation(const SimulationOptions& options, SimulationCounters* counters = nullptr) {
  SimulationOptions with_hook = options;
  with_hook.between_parts = &storage::between_parts;
  with_hook.read_planned = &storage::read_planned;
  with_hook.is_engine = true;
  with_hook.directory_files = [](storage::FileSystem& below, int directory, std::string prefix) {
    return server::make_directory_files(below, directory, std::move(prefix));
  };
  Simulation simulation(with_hook);
  try {
    simulation.run();
  } catch (const Violation& found) {
    return found.what();
  }
  if (counters != nullptr) counters->add(simulation.counters());
  return std::nullopt;
}

}  // namespace pageserver::test
