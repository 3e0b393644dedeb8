// One run: a folder, some stores, and life after life of a daemon that serves them, all of it drawn from one seed.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tests/crash/random.hpp"
#include "tests/soak/daemon_process.hpp"
#include "tests/soak/disturbances.hpp"
#include "tests/soak/plan.hpp"
#include "tests/soak/stores.hpp"
#include "tests/support/certificates.hpp"

namespace pageserver::test::soak {

struct Counts {
  std::uint64_t lives = 0;  ///< daemons that served
  std::uint64_t kills = 0;  ///< by SIGKILL, also in recovery and in a stop
  std::uint64_t stops = 0;  ///< in order
  std::uint64_t cases = 0;  ///< of files between two lives
  std::uint64_t disturbances = 0;
  std::uint64_t changes = 0;
  std::uint64_t reads = 0;
  std::uint64_t refusals = 0;
  std::uint64_t leases_lost = 0;
  std::uint64_t versions_given_up = 0;
};

class Soak {
public:
  /// `root` is empty. `small_disk` is a folder on a disk of few bytes, or empty where there is none.
  /// `certificates` has that of the daemon, `server`.
  Soak(std::uint64_t seed, std::filesystem::path root, std::filesystem::path small_disk,
       const Certificates& certificates, Counts& counts);
  /// Throws Violation at the first broken promise; what had happened is in story() then.
  void go(std::uint64_t lives, std::chrono::steady_clock::time_point until);
  /// The last decisions, and what the stores know, for people.
  std::string story() const;

private:
  void note(const std::string& what);
  DaemonProcess::Options options(const Plan& plan) const;
  void kill_in_recovery(const Plan& plan, Random& random);
  void handle_files(const Plan& plan, Random& random);
  void start_refused(const Plan& plan, SoakStore& store, const std::string& says);
  void replace_lost();
  void live(const Plan& plan, Random& random);
  void settle(Field& field);
  void check_reports(const Field& field, const std::vector<std::string>& recovered);
  void disturb(const Plan& plan, Living& living);
  /// True when the daemon stopped in order.
  bool end(const Plan& plan, Living& living);
  void look_after_stop();
  void keep_before();
  void look_at_log(const DaemonProcess& daemon, Causes causes);
  void give_room();
  bool take_all_room_but(std::uint64_t left);

  const std::uint64_t seed_;
  const std::filesystem::path root_;
  const std::filesystem::path small_disk_;
  const Certificates& certificates_;
  Counts& counts_;
  std::vector<std::unique_ptr<SoakStore>> stores_;
  std::vector<std::unique_ptr<KeptFiles>> bystanders_;
  std::deque<std::string> events_;
  bool no_room_ = false;  // the small disk was left full
  bool mounts_ = false;   // of the soak's own
};

}  // namespace pageserver::test::soak
