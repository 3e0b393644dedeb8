// Which stores stay open when nobody uses them, and whom they are charged to.
#include "server/stores/open_stores.hpp"

#include <future>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/stores/directory_files.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/wait.hpp"

namespace pageserver::server {
namespace {

/// Stores of a folder, that are opened when somebody first uses them.
struct Fixture {
  explicit Fixture(std::uint32_t stores_max = 100) {
    config.directory = DirectoryConfig{dir.path().string(), true, true, false, 0600};
    config.directory->linger = std::chrono::hours(1);
    config.limits.stores = stores_max;
    changes.emplace(threads.disk);
    stores.emplace(config, log, *changes);
  }
  ~Fixture() {
    stores->drop_all();
    changes.reset();
  }
  Fixture(const Fixture&) = delete;
  Fixture& operator=(const Fixture&) = delete;

  /// As Catalog::resolve() does, in the strand where stores come and go.
  std::shared_ptr<HostUse> use(const std::string& name, const std::shared_ptr<Peer>& peer = {}) {
    std::promise<std::shared_ptr<HostUse>> made;
    changes->submit([&] {
      try {
        stores->check_share(name, peer);
        stores->make_room_for_one(name);
        StoreSettings settings;
        settings.name = name;
        settings.path = dir.file(name + ".img");
        settings.create = true;
        settings.on_demand = true;
        settings.size_bytes_max = 1 << 30;
        auto host = std::make_shared<StoreHost>(borrow_files(storage::posix_file_system()), settings, log, threads,
                                                [this](StoreHost& unneeded) { stores->close_unneeded(unneeded); });
        (void)host->opened();
        made.set_value(stores->add_used(std::move(host), peer));
      } catch (...) {
        made.set_exception(std::current_exception());
      }
    });
    return made.get_future().get();
  }
  bool is_open(const std::string& name) { return stores->contains(name); }

  test::TempDir dir;
  Config config;
  Log log{LogFormat::text, LogLevel::error};
  SharedThreads threads{1, {}, log};
  std::optional<Strand> changes;
  std::optional<OpenStores> stores;
};

}  // namespace

TEST_CASE("of the stores that nobody uses the one that has lingered for longest is closed when there are too many") {
  Fixture f;
  f.stores->keep_lingering(2);
  auto a = f.use("a"), b = f.use("b"), c = f.use("c"), d = f.use("d");
  CHECK(f.stores->count_used() == 4);
  b.reset();
  a.reset();
  CHECK(f.stores->count_used() == 2);
  CHECK(f.is_open("b"));
  c.reset();
  test::wait_until([&] { return !f.is_open("b"); });
  CHECK(f.is_open("a"));
  CHECK(f.is_open("c"));
  // Who comes back finds it open, and it is not the oldest any more. Who only asks how it is changes nothing.
  a = f.stores->find("a");
  REQUIRE(a != nullptr);
  a->serve();
  a.reset();
  c = f.stores->find("c");
  REQUIRE(c != nullptr);
  c.reset();
  d.reset();
  test::wait_until([&] { return !f.is_open("c"); });
  CHECK(f.is_open("a"));
  CHECK(f.is_open("d"));
}

TEST_CASE("who looks at a store keeps it from being closed no longer than the look takes") {
  Fixture f;
  f.stores->keep_lingering(0);
  auto use = f.use("a");
  auto look = f.stores->look("a");
  REQUIRE(look != nullptr);
  use.reset();
  test::wait_until([&] { return !look->host().is_open(); });
  CHECK(f.is_open("a"));
  look.reset();
  test::wait_until([&] { return !f.is_open("a"); });
  CHECK(f.stores->look("a") == nullptr);
}

TEST_CASE("a full house is refused with the limit, and stores that linger make room") {
  Fixture f(2);
  auto a = f.use("a"), b = f.use("b");
  try {
    (void)f.use("c");
    FAIL("opened");
  } catch (const MemoryError& error) {
    CHECK(error.errc() == Errc::limit_exceeded);
    CHECK(std::string(error.what()).find("2 stores are open, limits.stores=2") != std::string::npos);
  }
  a.reset();
  const auto c = f.use("c");
  test::wait_until([&] { return !f.is_open("a"); });
  CHECK(f.is_open("c"));
}

TEST_CASE("what is to happen after a close happens once nobody uses the store, and is refused while somebody does") {
  Fixture f;
  auto use = f.use("a");
  std::promise<void> closed;
  try {
    f.stores->wait_until_closed("a", "remove store \"a\"", [] {});
    FAIL("not refused");
  } catch (const MemoryError& error) {
    CHECK(error.errc() == Errc::busy);
  }
  use.reset();
  CHECK(f.stores->wait_until_closed("a", "remove store \"a\"", [&] { closed.set_value(); }));
  closed.get_future().get();
  CHECK_FALSE(f.is_open("a"));
  CHECK_FALSE(f.stores->wait_until_closed("a", "remove store \"a\"", [] {}));
}

}  // namespace pageserver::server
