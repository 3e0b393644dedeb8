// Those who use the stores during one life of the daemon: they draw what they do from a seed, and know what they saw.
#pragma once

#include <cstdint>
#include <string>

#include "tests/crash/random.hpp"
#include "tests/soak/life.hpp"
#include "tests/soak/store_model.hpp"

namespace pageserver::test::soak {

enum class Role : std::uint8_t { writer, raw_writer, reader, raw_reader, pin, fork };
inline constexpr unsigned role_count = 6;
const char* to_string(Role role);

/// What images may grow to.
inline constexpr std::uint64_t pages_max = 24;

/// Works until `field.stop`, or its connection goes: session after session. What it saw goes to `model`, a broken
/// promise to `field`. Never throws.
void act(Role role, Field& field, StoreModel& model, std::uint64_t seed) noexcept;

/// For one role each; may throw MemoryError, Violation, and std::exception of a raw connection that broke.
void write_session(Field& field, StoreModel& model, Random& random);
void read_session(Field& field, StoreModel& model, Random& random);
void pin_session(Field& field, StoreModel& model, Random& random);
void fork_session(Field& field, StoreModel& model, Random& random);
void raw_write_session(Field& field, StoreModel& model, Random& random);
void raw_read_session(Field& field, StoreModel& model, Random& random);

/// Some cells of an image of `pages` pages: mostly few, sometimes pages, half of them across a page's end.
Run some_cells(Random& random, std::uint64_t pages);
/// Throws Violation when there is one.
void must_be_whole(const std::string& who, const std::string& fault);

}  // namespace pageserver::test::soak
