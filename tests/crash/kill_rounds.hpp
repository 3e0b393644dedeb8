// What the tests that kill a daemon share: how many rounds, and the moment of the kill.
#pragma once

#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>
#include <thread>

#include "tests/support/daemon.hpp"

namespace pageserver::test {

/// Rounds of each test: PAGESERVER_KILL_ROUNDS, or `usual`.
inline int kill_rounds(int usual) {
  const char* text = std::getenv("PAGESERVER_KILL_ROUNDS");
  return text == nullptr ? usual : std::atoi(text);
}

/// PAGESERVER_KILL_SEED, or a new one. A failure prints it; the moments of the kills still depend on the machine.
inline std::uint64_t kill_seed() {
  const char* text = std::getenv("PAGESERVER_KILL_SEED");
  return text == nullptr ? std::random_device{}() : std::strtoull(text, nullptr, 10);
}

/// Kills the daemon from a thread of its own once `progress` has counted `after` steps and a short busy wait of
/// `spins` passed, so that kills fall between and inside of operations alike.
class Killer {
public:
  Killer(Daemon& daemon, const std::atomic<std::uint64_t>& progress, std::uint64_t after, std::uint64_t spins)
      : thread_{[&daemon, &progress, after, spins] {
          for (std::uint64_t seen = progress.load(); seen < after; seen = progress.load()) progress.wait(seen);
          for (volatile std::uint64_t spin = 0; spin < spins;) spin = spin + 1;
          daemon.kill_hard();
        }} {}
  Killer(const Killer&) = delete;
  Killer& operator=(const Killer&) = delete;
  ~Killer() { join(); }
  void join() {
    if (thread_.joinable()) thread_.join();
  }

private:
  std::thread thread_;
};

}  // namespace pageserver::test
