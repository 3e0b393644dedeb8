// A store that several daemons can reach, as its host sees it: who has it, when it is given up and when taken.
#include "tests/support/catch.hpp"

#include <fcntl.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "server/stores/home_keeper.hpp"
#include "storage/file/forwarding_file_system.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/server/fake_store.hpp"
#include "tests/unit/storage/faulty_file_system.hpp"

namespace pageserver::test {
namespace {

using namespace pageserver::server;
using namespace std::chrono_literals;

struct FakeControl final : storage::HomeControl {
  int holder(std::string& who) override {
    if (error == 0) who = has_it;
    return error;
  }
  void ask(const std::string& who) override {
    asked.push_back(who);
    if (gives_up) has_it.clear();
  }
  int break_lock() override {
    has_it.clear();
    return 0;
  }
  int give_up(const std::string&) override { return 0; }
  void keep_in_memory(base::MemoryShare&) override {}
  void will_read(std::span<const storage::FileRange> /*ranges*/) noexcept override {}
  std::shared_ptr<void> watch(std::function<void()> changed) override {
    ++watches;
    news = std::move(changed);
    return std::make_shared<int>(0);
  }
  std::string health(std::chrono::milliseconds) override { return {}; }

  std::string has_it;
  int error = 0;
  bool gives_up = true;
  std::vector<std::string> asked;
  int watches = 0;
  std::function<void()> news;
};

/// Files of `ceph:` paths lie in a folder of this machine.
class FakeHome final : public storage::ForwardingFileSystem {
public:
  explicit FakeHome(const TempDir& dir) : ForwardingFileSystem{storage::posix_file_system()}, dir_{dir} {}

  storage::IoResult open(const std::string& path, int flags, std::uint32_t mode) override {
    return below().open(local(path), flags, mode);
  }
  storage::IoResult real_path(const std::string& path, std::string& resolved) override {
    return below().real_path(local(path), resolved);
  }
  storage::IoResult home_of(int, storage::FileHome& home) override {
    home.control = control;
    return {0, 0};
  }

  const std::shared_ptr<FakeControl> control = std::make_shared<FakeControl>();

private:
  std::string local(const std::string& path) const {
    return path.starts_with("ceph:") ? dir_.file(path.substr(path.rfind('/') + 1)) : path;
  }
  const TempDir& dir_;
};

struct Keeper {
  explicit Keeper(bool standby = false, const std::string& path = "ceph:pool/a.img") {
    settings.name = "demo";
    settings.path = path;
    settings.standby = standby;
    settings.let_writers_go = &let_go;
    const auto made = storage::posix_file_system().open(dir.file("a.img"), O_RDWR | O_CREAT, 0600);
    REQUIRE(made.ok());
    storage::posix_file_system().close(static_cast<int>(made.value));
    keeper = std::make_unique<HomeKeeper>(files, settings, log, store,
                                          HomeKeeper::Host{[this] { open(); }, [this] { ++news; }});
  }
  /// As the host does.
  FakeStore& open() {
    if (store.current() != nullptr) store.set_aside();
    keeper->check_elsewhere();
    static_cast<void>(keeper->opened());
    return dynamic_cast<FakeStore&>(store.put(std::make_unique<FakeStore>()));
  }
  std::string refusal() {
    try {
      keeper->check_elsewhere();
      return {};
    } catch (const ServedElsewhere& error) {
      return error.what();
    }
  }

  TempDir dir;
  FakeHome files{dir};
  Log log{LogFormat::text, static_cast<LogLevel>(100)};
  std::vector<std::string> writers_told;
  std::function<void(const std::string&)> let_go = [this](const std::string& name) { writers_told.push_back(name); };
  StoreSettings settings;
  HostedStore store;
  int news = 0;
  std::unique_ptr<HomeKeeper> keeper;
};

}  // namespace

TEST_CASE("giving up: what a successor has to copy comes first, for a while, and then the store is left to it") {
  GivingUp giving_up;
  const GivingUp::Clock::time_point start{1h};
  CHECK(giving_up.is_due(GivingUp::lag_bytes_small, start));
  CHECK_FALSE(giving_up.is_due(GivingUp::lag_bytes_small + 1, start + 1s));
  CHECK_FALSE(giving_up.is_due(1ull << 30, start + GivingUp::checkpoint_patience - 1ms));
  CHECK(giving_up.is_due(1ull << 30, start + GivingUp::checkpoint_patience));
  CHECK_FALSE(giving_up.is_left_to_others(start));
  giving_up.begin("the other", start);
  CHECK(giving_up.to() == "the other");
  CHECK(giving_up.is_left_to_others(start + GivingUp::left_for - 1ms));
  CHECK_FALSE(giving_up.is_left_to_others(start + GivingUp::left_for));
  giving_up.take_back();
  CHECK_FALSE(giving_up.is_left_to_others(start));
  // Whoever asks the next opening is patient anew.
  giving_up.opened();
  CHECK_FALSE(giving_up.is_due(1ull << 30, start + 10s));
}

TEST_CASE("home watch: one watch at a time, news until nothing is to be heard, and a control found once") {
  const auto control = std::make_shared<FakeControl>();
  int found = 0, news = 0;
  std::function<void()> late;
  {
    HomeWatch watch{[&] {
                      ++found;
                      return control;
                    },
                    [&] { ++news; }};
    watch.begin();
    CHECK(control->watches == 0);  // nobody has asked for the control
    CHECK(watch.control() == control.get());
    CHECK(watch.control() == control.get());
    CHECK(found == 1);
    watch.begin();
    watch.begin();
    CHECK(control->watches == 1);
    control->news();
    CHECK(news == 1);
    watch.end();
    watch.begin();
    CHECK(control->watches == 2);
    watch.forget();
    CHECK(watch.control() == control.get());
    CHECK(found == 2);
    late = control->news;
  }
  late();
  CHECK(news == 1);
}

TEST_CASE("home room: it has come once a file can be written and removed, and is looked for once a second") {
  const TempDir dir;
  FaultyFileSystem files;
  const std::string path = dir.file("a.img");
  HomeRoom room;
  const HomeRoom::Clock::time_point start{1h};
  files.fail(Call::write, ENOSPC);
  CHECK_FALSE(room.has_come(files, path, 0600, start));
  files.heal(Call::write);
  const std::uint64_t opens = files.calls(Call::open);
  CHECK_FALSE(room.has_come(files, path, 0600, start + 999ms));
  CHECK(files.calls(Call::open) == opens);
  CHECK(room.has_come(files, path, 0600, start + 1s));
  files.fail(Call::remove, EIO);
  CHECK_FALSE(room.has_come(files, path, 0600, start + 2s));
  CHECK(files.open_files() == 0);
}

TEST_CASE("home keeper: a store that others ask for is given up to them, writers first, and left to them for a while") {
  Keeper one;
  FakeStore& store = one.open();
  CHECK_FALSE(one.keeper->wants_look());
  store.wanted = "daemon B";
  store.report.checkpoint_lag_bytes = 1ull << 30;
  CHECK(one.keeper->wants_look());
  one.keeper->look();
  CHECK(store.checkpoints == 1);
  CHECK(store.taken.empty());
  store.report.checkpoint_lag_bytes = 0;
  one.keeper->look();
  CHECK(one.writers_told == std::vector<std::string>{"demo"});
  CHECK(store.taken == "it was given up to daemon B");
  CHECK(store.broken.size() == 1);
  CHECK(one.keeper->is_elsewhere());
  CHECK_FALSE(one.keeper->lets_go());
  CHECK(one.refusal().find("has given it up to daemon B") != std::string::npos);
  CHECK_FALSE(one.keeper->wants_look());  // it does not stand by
}

TEST_CASE("home keeper: who stands by says so once, watches, and takes the store when it has come free") {
  Keeper one{true};
  one.files.control->has_it = "daemon A";
  CHECK(one.keeper->wants_look());
  one.keeper->look();
  one.keeper->look();
  CHECK(one.store.current() == nullptr);
  CHECK(one.keeper->is_elsewhere());
  CHECK(one.files.control->watches == 1);
  CHECK(one.refusal().find("this daemon stands by; the store is locked by daemon A") != std::string::npos);
  one.files.control->has_it.clear();
  one.files.control->news();
  CHECK(one.news == 1);
  one.keeper->look();
  CHECK(one.store.current() != nullptr);
  CHECK_FALSE(one.keeper->is_elsewhere());
  CHECK_FALSE(one.keeper->wants_look());
}

TEST_CASE("home keeper: a stop, or a start that is given up, ends the standing by") {
  for (const bool stops : {true, false}) {
    Keeper one{true};
    const std::atomic<bool> abandoned{true};
    if (stops)
      one.keeper->end();
    else
      one.settings.abandon_recovery = &abandoned;
    one.keeper->look();
    CHECK(one.store.current() == nullptr);
  }
}

TEST_CASE("home keeper: a takeover asks whoever has the store, or breaks the lock of one that is dead") {
  const bool dead = GENERATE(false, true);
  Keeper one;
  one.files.control->has_it = "daemon A";
  const auto taken = one.keeper->take_over("an operator", dead);
  CHECK_FALSE(taken.was_here);
  CHECK(taken.holder == "daemon A");
  CHECK((one.files.control->asked == (dead ? std::vector<std::string>{} : std::vector<std::string>{"an operator"})));
  CHECK(one.store.current() != nullptr);
  CHECK(one.keeper->take_over("an operator", dead).was_here);
}

TEST_CASE("home keeper: a takeover ends with the daemon, and a store of this machine has none") {
  Keeper one;
  one.files.control->has_it = "daemon A";
  one.files.control->gives_up = false;
  const std::atomic<bool> abandoned{true};
  one.settings.abandon_recovery = &abandoned;
  CHECK_THROWS_WITH(one.keeper->take_over("an operator", false), Contains("the daemon is stopping"));
  Keeper here{false, "/somewhere/a.img"};
  CHECK_THROWS_WITH(here.keeper->take_over("an operator", false), Contains("a file of this machine"));
  CHECK(here.refusal().empty());
}

TEST_CASE("home keeper: a store whose log could not be written is opened anew once there is room") {
  Keeper one;
  FakeStore& store = one.open();
  Stat stat;
  stat.last_sync_error = "ENOSPC";
  one.keeper->note(stat);
  CHECK(one.keeper->wants_look());
  one.keeper->look();
  CHECK(store.taken.find("opened anew") != std::string::npos);
  CHECK(store.broken.size() == 1);
  REQUIRE(one.store.current() != nullptr);
  CHECK(one.store.current() != &store);
  CHECK_FALSE(one.keeper->is_elsewhere());
  CHECK_FALSE(one.keeper->wants_look());
}

TEST_CASE("home keeper: an opening that another daemon is in the way of is told apart from one that fails") {
  Keeper one;
  CHECK(one.keeper->refused(MemoryError{Errc::busy, "locked by daemon A"}));
  CHECK(one.keeper->is_elsewhere());
  Keeper other;
  CHECK_FALSE(other.keeper->refused(MemoryError{Errc::provider_error, "EIO"}));
  CHECK_FALSE(other.keeper->is_elsewhere());
  Keeper here{false, "/somewhere/a.img"};
  CHECK_FALSE(here.keeper->refused(MemoryError{Errc::busy, "locked by daemon A"}));
}

}  // namespace pageserver::test
