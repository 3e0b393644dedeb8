// What happens to a daemon and to its files while it serves.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "tests/crash/random.hpp"
#include "tests/soak/daemon_process.hpp"
#include "tests/soak/life.hpp"
#include "tests/soak/log_watch.hpp"
#include "tests/soak/stores.hpp"

namespace pageserver::test::soak {

/// A life under way, to those who disturb it.
struct Living {
  DaemonProcess& daemon;
  Field& field;
  Random& random;
  std::filesystem::path folder;  ///< for files that are nobody's
  Causes causes = none;
  bool status_may_be_1 = false;
  std::function<void(std::uint64_t left)> take_room;  ///< all of it but so much
  std::function<void()> give_room;
};

struct Disturbance {
  const char* name;
  unsigned weight;
  bool small_disk;  ///< of the store on the small disk alone
  void (*act)(Living& living, SoakStore& store);
};

std::span<const Disturbance> disturbances();
/// One that can be done to `store`, by weight.
const Disturbance& draw_disturbance(const SoakStore& store, Random& random, bool small_disk);

/// SIGSTOP, and SIGCONT after as many microseconds at most.
void pause_daemon(Living& living, std::uint64_t microseconds_max);
/// So many turns of nothing: moments fall between and inside of what the daemon does.
void spin(std::uint64_t turns);

}  // namespace pageserver::test::soak
