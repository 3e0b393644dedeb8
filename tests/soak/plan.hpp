// What one life of the daemon will be, drawn from the seed before it begins.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/soak/actors.hpp"
#include "tests/soak/daemon_process.hpp"

namespace pageserver::test::soak {

enum class End : std::uint8_t { kill, kill_in_stop, kill_paused, stop, two_signals };
const char* to_string(End end);

struct Plan {
  std::uint64_t number = 0;
  struct Actor {
    std::size_t store;
    Role role;
    std::uint64_t seed;
  };
  std::vector<Actor> actors;
  std::vector<std::size_t> active;
  std::string config;
  Streams streams = Streams::file;
  std::uint64_t open_files = 0;
  std::uint64_t file_size_bytes = 0;
  bool held_little = false;
  unsigned disturbances = 0;
  std::uint64_t steps = 0;
  End how = End::kill;
  std::uint64_t turns = 0;
};

/// Equal numbers give equal plans.
Plan draw_plan(std::uint64_t seed, std::uint64_t number, std::size_t stores);

}  // namespace pageserver::test::soak
