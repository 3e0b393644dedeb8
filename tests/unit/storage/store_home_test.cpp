#include "storage/engine/store_home.hpp"

#include <cerrno>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "tests/support/catch.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/files.hpp"

namespace pageserver::test {
namespace {

using storage::FileHome;
using storage::HomeControl;
using storage::HomeLease;
using storage::posix_file_system;
using storage::StoreHome;

/// Notes what it is asked for.
class NotingControl final : public HomeControl {
public:
  int holder(std::string& /*holder*/) override { return 0; }
  void ask(const std::string& /*who*/) override {}
  int break_lock() override { return 0; }
  int give_up(const std::string& why) override {
    given_up_for = why;
    return error;
  }
  void keep_in_memory(base::MemoryShare& share) override { memory = &share; }
  void will_read(std::span<const storage::FileRange> ranges) noexcept override {
    wanted_bytes += ranges.front().length;
  }
  std::shared_ptr<void> watch(std::function<void()> /*changed*/) override { return nullptr; }
  std::string health(std::chrono::milliseconds /*time*/) override { return "HEALTH_OK"; }

  int error = 0;
  std::string given_up_for;
  base::MemoryShare* memory = nullptr;
  std::uint64_t wanted_bytes = 0;
};

struct FarHome {
  std::shared_ptr<HomeLease> lease = std::make_shared<HomeLease>();
  std::shared_ptr<NotingControl> control = std::make_shared<NotingControl>();

  StoreHome home() const {
    FileHome file;
    file.lease = lease;
    file.control = control;
    file.name = "ceph:pool/a.img";
    file.epoch = 7;
    file.holder = "daemon a";
    return {std::move(file), "/data/a.img", std::chrono::milliseconds{1}};
  }
};

constexpr std::int64_t hour_ns = 3'600'000'000'000;

TEST_CASE("store home: a file of this machine is never taken away, and can't be given up") {
  StoreHome home{FileHome{}, "/data/a.img", std::chrono::milliseconds{1}};
  CHECK(home.may_answer());
  CHECK_NOTHROW(home.check_may_answer());
  home.await_verdict();
  CHECK_FALSE(home.lost());
  CHECK(home.taken_over().empty());
  CHECK(home.wanted_by().empty());
  CHECK(home.report().name == "file");
  CHECK(home.report().health.empty());
  try {
    home.give_up("for b", posix_file_system());
    FAIL("it was given up");
  } catch (const MemoryError& error) {
    CHECK(error.errc() == Errc::unsupported);
    CHECK(contains(error.what(), "give up \"/data/a.img\": it lies in a file of this machine"));
  }
}

TEST_CASE("store home: nothing is answered beyond the lease, until it is renewed") {
  const FarHome far;
  const StoreHome home = far.home();
  CHECK_FALSE(home.may_answer());
  home.await_verdict();  // for a millisecond: nobody renews it
  CHECK(errc_of([&] { home.check_may_answer(); }) == Errc::timed_out);
  CHECK(home.taken_over().empty());
  far.lease->renew(HomeLease::now_ns() + hour_ns);
  home.await_verdict();
  CHECK_NOTHROW(home.check_may_answer());
}

TEST_CASE("store home: a store that another has taken over says to whom, and is lost for good") {
  const FarHome far;
  const StoreHome home = far.home();
  far.lease->renew(HomeLease::now_ns() + hour_ns);
  far.lease->ask_for("daemon b");
  CHECK(home.wanted_by() == "daemon b");
  CHECK_FALSE(home.lost());
  far.lease->lose("daemon b has it");
  CHECK(home.lost());
  CHECK(home.taken_over() == "daemon b has it");
  const MemoryError error = home.lost_error();
  CHECK(error.errc() == Errc::lease_lost);
  CHECK(contains(error.what(), "\"/data/a.img\": this daemon does not have the store any more: daemon b has it"));
}

TEST_CASE("store home: a call that is late is told of the loss of the store, and else that nobody knows") {
  const FarHome far;
  const StoreHome home = far.home();
  far.lease->renew(HomeLease::now_ns() + hour_ns);
  const MemoryError late = home.late_error("flush of");
  CHECK(late.errc() == Errc::timed_out);
  CHECK(contains(late.what(), "flush of \"/data/a.img\": the cluster has not answered within home_timeout=1 ms"));
  far.lease->renew(0);
  CHECK(home.late_error("flush of").errc() == Errc::timed_out);  // after a millisecond without a verdict
  far.lease->lose("daemon b has it");
  CHECK(home.late_error("flush of").errc() == Errc::lease_lost);
}

TEST_CASE("store home: what the home is told and says of itself goes through") {
  const FarHome far;
  StoreHome home = far.home();
  base::MemoryShare share{1000, "limits.memory_bytes=4000"};
  home.keep_in_memory(share);
  CHECK(far.control->memory == &share);
  const storage::FileRange wanted{65536, 300};
  home.will_read(std::span{&wanted, 1});
  CHECK(far.control->wanted_bytes == 300);
  const HomeStat stat = home.report();
  CHECK(stat.name == "ceph:pool/a.img");
  CHECK(stat.holder == "daemon a");
  CHECK(stat.health == "HEALTH_OK");
  CHECK(stat.epoch == 7);
  home.give_up("for daemon b", posix_file_system());
  CHECK(far.control->given_up_for == "for daemon b");
  far.control->error = ENOSPC;
  CHECK(errc_of([&] { home.give_up("again", posix_file_system()); }) == Errc::no_space);
}

}  // namespace
}  // namespace pageserver::test
