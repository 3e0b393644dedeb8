// The simulation is believed because it finds what is wrong: faults built into the engine, one at a time.
#include "storage/file/mutation.hpp"

#include <cerrno>
#include <iostream>
#include <utility>
#include "tests/support/catch.hpp"

#include "tests/crash/engine_simulation.hpp"

namespace pageserver::test {
namespace {

using storage::Mutation;

/// Switches a fault on for as long as it lives.
class Mutated {
public:
  explicit Mutated(Mutation mutation) { storage::active_mutation = mutation; }
  ~Mutated() { storage::active_mutation = Mutation::none; }
  Mutated(const Mutated&) = delete;
  Mutated& operator=(const Mutated&) = delete;
};

enum class Failing : std::uint8_t { nothing, syncs, removals };

/// The seed that shows the fault, or 0.
std::uint64_t seed_that_finds(Mutation mutation, std::uint64_t seeds, Failing failing) {
  const Mutated mutated(mutation);
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    SimulationOptions options;
    options.seed = seed;
    options.open_store = engine();
    options.crash_check_one_in = 4;
    options.outside_writes = true;
    if (failing == Failing::removals) options.faults = failing_removals(seed);
    if (failing == Failing::syncs) {
      options.faults.error = EIO;
      options.faults.kinds = 1u << static_cast<unsigned>(Call::sync_data);
      options.faults.first_call = 20 + seed * 7;
      options.faults.last_call = options.faults.first_call + 60;
    }
    if (violation(options)) return seed;
  }
  return 0;
}

}  // namespace

TEST_CASE("without a mutation the same runs find nothing") {
  CHECK(seed_that_finds(Mutation::none, 20, Failing::nothing) == 0);
  CHECK(seed_that_finds(Mutation::none, 20, Failing::syncs) == 0);
  CHECK(seed_that_finds(Mutation::none, 20, Failing::removals) == 0);
}

TEST_CASE("the simulation finds each mutation of the engine") {
  const auto [name, mutation] = GENERATE(table<const char*, Mutation>({
      {"forget_entry", Mutation::forget_entry},
      {"skip_resume_file", Mutation::skip_resume_file},
      {"drop_log_sync", Mutation::drop_log_sync},
      {"drop_log_entry_sync", Mutation::drop_log_entry_sync},
      {"drop_image_sync", Mutation::drop_image_sync},
      {"drop_mark_sync", Mutation::drop_mark_sync},
      {"drop_mark_entry_sync", Mutation::drop_mark_entry_sync},
      {"drop_removal_sync", Mutation::drop_removal_sync},
      {"drop_open_sync", Mutation::drop_open_sync},
      {"drop_open_image_sync", Mutation::drop_open_image_sync},
      {"drop_recovery_log_sync", Mutation::drop_recovery_log_sync},
      {"drop_recovery_entry_sync", Mutation::drop_recovery_entry_sync},
      {"drop_recovery_image_sync", Mutation::drop_recovery_image_sync},
      {"publish_before_append", Mutation::publish_before_append},
      {"skip_payload_checksum", Mutation::skip_payload_checksum},
      {"skip_epoch_check", Mutation::skip_epoch_check},
      {"checkpoint_past_pin", Mutation::checkpoint_past_pin},
      {"checkpoint_past_synced", Mutation::checkpoint_past_synced},
      {"cut_log_before_image_sync", Mutation::cut_log_before_image_sync},
      {"share_synced_block", Mutation::share_synced_block},
      {"recovery_writes_in_place", Mutation::recovery_writes_in_place},
      {"recovery_trusts_sync", Mutation::recovery_trusts_sync},
      {"forget_appended", Mutation::forget_appended},
      {"skip_private_bound", Mutation::skip_private_bound},
      {"forget_failed_segment", Mutation::forget_failed_segment},
      {"success_after_failed_sync", Mutation::success_after_failed_sync},
      {"share_block_in_sync", Mutation::share_block_in_sync},
      {"checkpoint_past_reads", Mutation::checkpoint_past_reads},
      {"map_past_log", Mutation::map_past_log},
      {"map_past_end", Mutation::map_past_end},
      {"skip_long_checksum", Mutation::skip_long_checksum},
      {"scan_within_parts", Mutation::scan_within_parts},
      {"keep_private_charge", Mutation::keep_private_charge},
      {"skip_range_bound", Mutation::skip_range_bound},
      {"drop_forwarded_sync", Mutation::drop_forwarded_sync},
      {"open_by_path", Mutation::open_by_path},
      {"skip_image_lock", Mutation::skip_image_lock},
      {"clean_before_lock", Mutation::clean_before_lock},
      {"drop_image_note", Mutation::drop_image_note},
      {"skip_note_sync", Mutation::skip_note_sync},
      {"forget_future_note", Mutation::forget_future_note},
  }));
  INFO(name);
  const Failing failing = mutation == Mutation::success_after_failed_sync ? Failing::syncs
                          : mutation == Mutation::recovery_trusts_sync    ? Failing::syncs
                          : mutation == Mutation::forget_failed_segment   ? Failing::removals
                                                                          : Failing::nothing;
  // Most are found by the first few; what it takes several rare things for, by one in hundreds.
  const std::uint64_t seed = seed_that_finds(mutation, 3000, failing);
  std::cout << name << " found by seed " << seed << "\n";
  CHECK(seed != 0);
}

}  // namespace pageserver::test
