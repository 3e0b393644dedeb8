#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <fstream>
#include <future>
#include <thread>
#include "tests/support/catch.hpp"

#include "server/stores/catalog.hpp"
#include "server/stores/directory_files.hpp"
#include "tests/support/neighbours.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/storage/faulty_file_system.hpp"

using namespace pageserver;
using namespace pageserver::server;

namespace {

void make_image(const std::filesystem::path& path, std::uintmax_t bytes) {
  std::ofstream(path).flush();
  std::filesystem::resize_file(path, bytes);
}

struct Fixture {
  test::TempDir dir;
  Config config;
  Log log{LogFormat::text, LogLevel::error};
  SharedThreads threads{2, {}, log};
  std::optional<Catalog> catalog;

  Catalog& start() {
    catalog.emplace(config, storage::posix_file_system(), log, threads);
    catalog->start();
    return *catalog;
  }
  // As the daemon does: in the strand for changes.
  template <class Call>
  auto on_admin(Call call) {
    auto task = std::make_shared<std::packaged_task<decltype(call())()>>(std::move(call));
    auto result = task->get_future();
    catalog->changes().submit([task] { (*task)(); });
    return result.get();
  }
  std::exception_ptr remove(const std::string& name) {
    std::promise<std::exception_ptr> removed;
    on_admin([&] {
      catalog->remove(name, [&](std::exception_ptr error) { removed.set_value(std::move(error)); });
      return 0;
    });
    return removed.get_future().get();
  }
  Errc code_of(const std::exception_ptr& error) {
    try {
      if (error) std::rethrow_exception(error);
    } catch (const MemoryError& memory_error) {
      message = memory_error.what();
      return memory_error.errc();
    }
    return {};
  }
  template <class Call>
  Errc code_of_call(Call call) {
    return code_of(on_admin([&]() -> std::exception_ptr {
      try {
        call();
      } catch (...) {
        return std::current_exception();
      }
      return nullptr;
    }));
  }
  std::vector<std::string> closed() {
    std::promise<std::vector<std::string>> failures;
    catalog->close_all([&](std::vector<std::string> lines) { failures.set_value(std::move(lines)); });
    return failures.get_future().get();
  }
  void serve_directory(bool create, bool remove) {
    config.directory = DirectoryConfig{dir.path().string(), create, remove, false, 0600};
  }
  std::string message;
};

}  // namespace

TEST_CASE("configured stores are open from the start and listed with their size") {
  Fixture f;
  make_image(f.dir.path() / "a.img", 3 * page_size);
  f.config.stores = {{"", "b", f.dir.file("b.img"), false, true, {}, {}},
                     {"", "a", f.dir.file("a.img"), true, false, {}, {}}};
  Catalog& catalog = f.start();
  const auto listed = f.on_admin([&] { return catalog.list("", 32); });
  REQUIRE(listed.size() == 2);
  CHECK(listed[0].name == "a");
  CHECK(listed[0].pages == 3);
  CHECK(listed[0].read_only);
  CHECK(listed[0].open);
  CHECK(listed[1].name == "b");
  CHECK(catalog.configured().size() == 2);
  CHECK(catalog.find("a") != nullptr);
  CHECK(catalog.find("c") == nullptr);
  CHECK(f.closed().empty());
}

TEST_CASE("a stop closes a store in order although a session of it is still on its way to a connection that is gone") {
  Fixture f;
  f.config.stores = {{"", "a", f.dir.file("a.img"), false, true, {}, {}},
                     {"", "b", f.dir.file("b.img"), false, true, {}, {}}};
  Catalog& catalog = f.start();
  std::shared_ptr<HostUse> use = catalog.find("a");
  std::unique_ptr<storage::StoreSession> session;
  storage::SessionRequest request;
  request.access = Access::write;
  use->host().open_already()->open_session(request, [&](std::unique_ptr<storage::StoreSession> opened,
                                                        const std::exception_ptr&) { session = std::move(opened); });
  REQUIRE(session != nullptr);
  std::promise<std::vector<std::string>> failures;
  catalog.close_all([&](std::vector<std::string> lines) { failures.set_value(std::move(lines)); });
  // Until the other one is closed.
  while (f.on_admin([&] { return catalog.list("", 9); }).size() == 2) std::this_thread::yield();
  session.reset();
  use.reset();
  CHECK(failures.get_future().get().empty());
}

TEST_CASE("a store that can't be opened stops the start and is named") {
  Fixture f;
  make_image(f.dir.path() / "bad.img", 100);
  f.config.stores = {{"", "good", f.dir.file("good.img"), false, true, {}, {}},
                     {"", "bad", f.dir.file("bad.img"), false, true, {}, {}}};
  try {
    f.start();
    FAIL("started");
  } catch (const MemoryError& error) {
    CHECK(error.errc() == Errc::provider_error);
    CHECK(std::string(error.what()).find("store \"bad\": ") == 0);
  }
}

TEST_CASE("a directory that is not there stops the start") {
  Fixture f;
  f.config.directory = DirectoryConfig{f.dir.file("missing"), false, false, false, 0600};
  CHECK_THROWS_AS(f.start(), MemoryError);
}

TEST_CASE("every image of the directory is a store under its stem, also those that appear later") {
  Fixture f;
  f.serve_directory(false, false);
  make_image(f.dir.path() / "one.img", page_size);
  make_image(f.dir.path() / "one.img.log.0000000001", 10);
  make_image(f.dir.path() / "notes.txt", 10);
  make_image(f.dir.path() / ".hidden.img", page_size);
  make_image(f.dir.path() / "with space.img", page_size);
  std::filesystem::create_directory(f.dir.path() / "folder.img");
  Catalog& catalog = f.start();
  auto listed = f.on_admin([&] { return catalog.list("", 32); });
  REQUIRE(listed.size() == 1);
  CHECK(listed[0].name == "one");
  CHECK(listed[0].pages == 1);
  CHECK_FALSE(listed[0].open);
  make_image(f.dir.path() / "later.img", 2 * page_size);
  listed = f.on_admin([&] { return catalog.list("", 32); });
  REQUIRE(listed.size() == 2);
  CHECK(listed[0].name == "later");
  CHECK(f.on_admin([&] { return catalog.resolve("later"); }) != nullptr);
  CHECK(f.code_of_call([&] { catalog.resolve("folder"); }) == Errc::not_found);
  CHECK(f.message == "store \"folder\" is not served here; `pagectl list` names those that are");
}

TEST_CASE("a list goes on after a name and stops at its bound") {
  Fixture f;
  f.serve_directory(false, false);
  for (const char* name : {"a.img", "b.img", "c.img", "d.img"}) make_image(f.dir.path() / name, 0);
  Catalog& catalog = f.start();
  const auto listed = f.on_admin([&] { return catalog.list("a", 2); });
  REQUIRE(listed.size() == 2);
  CHECK(listed[0].name == "b");
  CHECK(listed[1].name == "c");
}

TEST_CASE("a list in many parts looks at each store once, and reads the directory a few times") {
  test::FaultyFileSystem files;
  Fixture fixture;
  constexpr std::size_t count = 2000;
  for (std::size_t i = 0; i < count; ++i) make_image(fixture.dir.path() / (std::to_string(10'000 + i) + ".img"), 0);
  fixture.serve_directory(true, true);
  fixture.catalog.emplace(fixture.config, files, fixture.log, fixture.threads);
  fixture.catalog->start();
  Catalog& catalog = *fixture.catalog;
  const auto looks_before = files.calls(test::Call::status_of), lists_before = files.calls(test::Call::list);
  std::size_t listed = 0;
  std::string after;
  for (bool more = true; more;) {
    const auto part = fixture.on_admin([&] { return catalog.list(after, 32); });
    more = !part.empty();
    listed += part.size();
    if (more) after = part.back().name;
  }
  CHECK(listed == count);
  // And once where the path of the directory leads.
  CHECK(files.calls(test::Call::status_of) - looks_before == count + 1);
  // Once, and once more for every two seconds that it took.
  CHECK(files.calls(test::Call::list) - lists_before <= count / 32 / 2);
  // What this daemon does itself is seen at once.
  fixture.on_admin([&] {
    catalog.create("20000", 1);
    return 0;
  });
  CHECK(fixture.on_admin([&] { return catalog.list(after, 32); }).size() == 1);
  CHECK_FALSE(fixture.remove("20000"));
  CHECK(fixture.on_admin([&] { return catalog.list(after, 32); }).empty());
}

TEST_CASE("to open all stores of a folder, configured or not, reads it once, as long as nothing in it changes") {
  /// Whatever is there has been there for long.
  struct OldFiles final : test::FaultyFileSystem {
    std::int64_t now_ns() noexcept override { return below().now_ns() + later_ns; }
    std::atomic<std::int64_t> later_ns{3'600'000'000'000};
  } files;
  Fixture f;
  f.serve_directory(false, false);
  constexpr int count = 40;
  const auto name = [](int i) { return (i % 2 == 0 ? "c" : "d") + std::to_string(i); };
  for (int i = 0; i < count; ++i) {
    make_image(f.dir.path() / (name(i) + ".img"), page_size);
    if (i % 2 == 0) f.config.stores.push_back({"", name(i), f.dir.file(name(i) + ".img"), false, false, {}, {}});
  }
  f.catalog.emplace(f.config, files, f.log, f.threads);
  f.catalog->start();
  const auto open = [&](int i) {
    const auto use = f.on_admin([&] { return f.catalog->resolve(name(i)); });
    std::promise<void> opened;
    use->host().jobs().submit([&] {
      (void)use->host().opened();
      opened.set_value();
    });
    opened.get_future().get();
  };
  open(1);
  const auto lists = files.calls(test::Call::list);
  CHECK(lists <= 16 + 2);  // those that were opened at the same time may each have read it
  for (int i = 3; i < count - 4; i += 2) open(i);
  CHECK(files.calls(test::Call::list) == lists);
  // After a clock was set back the same time may come once more.
  files.later_ns -= 10'000'000'000;
  open(count - 3);
  open(count - 1);
  CHECK(files.calls(test::Call::list) == lists + 1);
  // A log that appears meanwhile is seen.
  make_image(f.dir.path() / "late.img", page_size);
  make_image(f.dir.path() / "late.img.spare.0000000001", 100);
  const auto late = f.on_admin([&] { return f.catalog->resolve("late"); });
  std::promise<void> opened;
  late->host().jobs().submit([&] {
    (void)late->host().opened();
    opened.set_value();
  });
  opened.get_future().get();
  CHECK_FALSE(std::filesystem::exists(f.dir.path() / "late.img.spare.0000000001"));
  CHECK(files.calls(test::Call::list) > lists);
}

TEST_CASE("a directory store is open while it is used, and gone from memory afterwards") {
  Fixture f;
  f.serve_directory(false, true);
  make_image(f.dir.path() / "s.img", page_size);
  Catalog& catalog = f.start();
  auto use = f.on_admin([&] { return catalog.resolve("s"); });
  std::promise<void> opened;
  use->host().jobs().submit([&] {
    use->host().opened();
    opened.set_value();
  });
  opened.get_future().get();
  CHECK(f.on_admin([&] { return catalog.list("", 9); })[0].open);
  CHECK(f.code_of(f.remove("s")) == Errc::busy);
  CHECK(f.message.find("1 sessions are on it") != std::string::npos);
  use.reset();
  // The removal waits for the closing that this began.
  CHECK(f.remove("s") == nullptr);
  CHECK(f.on_admin([&] { return catalog.list("", 9); }).empty());
}

TEST_CASE("a store that nobody uses gives way to another one, however long it might stay and however young the clock") {
  Fixture f;
  f.serve_directory(false, false);
  f.config.limits.stores = 1;
  f.config.directory->linger = std::chrono::hours(24 * 365);
  make_image(f.dir.path() / "a.img", 0);
  make_image(f.dir.path() / "b.img", 0);
  Catalog& catalog = f.start();
  {
    const auto first = f.on_admin([&] { return catalog.resolve("a"); });
    std::promise<void> opened;
    first->host().jobs().submit([&] {
      (void)first->host().opened();
      opened.set_value();
    });
    opened.get_future().get();
  }
  const auto is_open = [&] { return f.on_admin([&] { return catalog.list("", 9); })[0].open; };
  REQUIRE(is_open());
  const auto second = f.on_admin([&] { return catalog.resolve("b"); });
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (is_open()) {
    REQUIRE(std::chrono::steady_clock::now() < deadline);
    catalog.look_after_stores();
  }
}

TEST_CASE(
    "stores that linger are kept no descriptors for, and those that take long to close are bounded and kept some") {
  Fixture f;
  f.serve_directory(false, false);
  constexpr int stuck = 66;
  f.config.directory->linger = std::chrono::hours(1);
  for (int i = 0; i <= stuck; ++i) make_image(f.dir.path() / ("s" + std::to_string(i) + ".img"), 0);
  Catalog& catalog = f.start();
  constexpr std::size_t lingering = 2;
  catalog.keep_lingering(lingering);
  std::vector<std::shared_ptr<void>> held;
  for (int i = 0; i < stuck; ++i) {
    const auto use = f.on_admin([&] { return catalog.resolve("s" + std::to_string(i)); });
    // As a disk that hangs would: nothing of the store is closed meanwhile.
    auto gate = std::make_shared<std::promise<void>>();
    use->host().jobs().submit(
        [wait = std::make_shared<std::shared_future<void>>(gate->get_future())] { wait->wait(); });
    held.push_back({gate.get(), [gate](void*) { gate->set_value(); }});
  }
  CHECK(catalog.stores_to_keep_files_for() == stuck - lingering + 1);  // and one that may be opened
  const std::string next = "s" + std::to_string(stuck);
  CHECK(f.code_of_call([&] { catalog.resolve(next); }) == Errc::limit_exceeded);
  CHECK(f.message.find("66 stores that nobody uses are still open") != std::string::npos);
  held.clear();
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (f.code_of_call([&] { catalog.resolve(next); }) != Errc{}) {
    REQUIRE(std::chrono::steady_clock::now() < deadline);
    std::this_thread::yield();
  }
}

TEST_CASE("no more stores are open than the limit says") {
  Fixture f;
  f.serve_directory(false, false);
  f.config.limits.stores = 1;
  make_image(f.dir.path() / "a.img", 0);
  make_image(f.dir.path() / "b.img", 0);
  Catalog& catalog = f.start();
  const auto first = f.on_admin([&] { return catalog.resolve("a"); });
  CHECK(f.code_of_call([&] { catalog.resolve("b"); }) == Errc::limit_exceeded);
  CHECK(f.message.find("limits.stores=1") != std::string::npos);
  CHECK(f.on_admin([&] { return catalog.resolve("a"); }) != nullptr);
}

TEST_CASE("stores are created sparse, with the mode, once, and only where that is allowed") {
  Fixture f;
  f.serve_directory(true, false);
  f.config.limits.size_bytes_max = 100 * page_size;
  Catalog& catalog = f.start();
  f.on_admin([&] {
    catalog.create("new", 100);
    return 0;
  });
  CHECK(std::filesystem::file_size(f.dir.path() / "new.img") == 100 * page_size);
  CHECK(std::filesystem::status(f.dir.path() / "new.img").permissions() == std::filesystem::perms(0600));
  CHECK(f.code_of_call([&] { catalog.create("new", 1); }) == Errc::already_exists);
  CHECK(f.code_of_call([&] { catalog.create("big", 101); }) == Errc::limit_exceeded);
  CHECK(f.message.find("pages=101 exceeds limits.size_bytes_max=6553600 (100 pages)") != std::string::npos);
  CHECK(f.code_of_call([&] { catalog.create("huge", UINT64_MAX); }) == Errc::limit_exceeded);
  for (const char* bad : {"", "..", "../x", "a/b", ".x", "x y"}) {
    INFO(bad);
    CHECK(f.code_of_call([&] { catalog.create(bad, 1); }) == Errc::invalid_argument);
  }
  CHECK(f.code_of(f.remove("new")) == Errc::permission_denied);
  f.catalog.reset();
  f.serve_directory(false, true);
  Catalog& other = f.start();
  CHECK(f.code_of_call([&] { other.create("x", 1); }) == Errc::permission_denied);
  CHECK(f.remove("new") == nullptr);
  CHECK_FALSE(std::filesystem::exists(f.dir.path() / "new.img"));
  CHECK(f.code_of(f.remove("new")) == Errc::not_found);
}

TEST_CASE("removing takes along what a store keeps beside the image, and nothing else") {
  Fixture f;
  f.serve_directory(true, true);
  const std::vector<std::string> beside{"a.img.log.0000000001", "a.img.log.0000000002", "a.img.spare.0000000001",
                                        "a.img.spill.0000000007"};
  make_image(f.dir.path() / "a.img", 0);
  for (const auto& name : beside) make_image(f.dir.path() / name, 0);
  const test::KeptFiles kept(f.dir.path(), test::neighbours_of("a.img"));
  make_image(f.dir.path() / "b.img.log.0000000001", 0);
  Catalog& catalog = f.start();
  CHECK(f.remove("a") == nullptr);
  for (const auto& name : beside) CHECK_FALSE(std::filesystem::exists(f.dir.path() / name));
  CHECK(kept.changed().empty());
  CHECK(std::filesystem::exists(f.dir.path() / "b.img.log.0000000001"));
  f.on_admin([&] {
    catalog.create("a", 1);
    return 0;
  });
  CHECK(f.on_admin([&] { return catalog.list("", 9); }).size() == 1);
  CHECK(kept.changed().empty());
}

TEST_CASE("a name whose file could be taken for one of a store's own is refused, and not served") {
  Fixture f;
  f.serve_directory(true, true);
  Catalog& catalog = f.start();
  for (const std::string name : {"demo.img.log.0000000001", "demo.img.log.backup", "demo.img.spare.monday",
                                 "demo.img.spill.x", "demo.img.removed.0000000001", "demo.img.log", "demo.img.spare"}) {
    INFO(name);
    CHECK(f.code_of_call([&] { catalog.create(name, 1); }) == Errc::invalid_argument);
    CHECK(f.message.find(name + ".img\" could be taken for one that a store keeps beside its image") !=
          std::string::npos);
    CHECK_FALSE(std::filesystem::exists(f.dir.file(name + ".img")));
    make_image(f.dir.file(name + ".img"), page_size);
    CHECK(f.code_of_call([&] { catalog.resolve(name); }) == Errc::not_found);
    CHECK(f.message.find("rename its file") != std::string::npos);
    CHECK(f.code_of(f.remove(name)) == Errc::not_found);
    CHECK(std::filesystem::file_size(f.dir.file(name + ".img")) == page_size);
  }
  CHECK(f.on_admin([&] { return catalog.list("", 32); }).empty());
  for (const std::string name : {"demo", "demo.img", "demo.log", "demo.img.logs", "log"}) {
    INFO(name);
    f.on_admin([&] {
      catalog.create(name, 1);
      return 0;
    });
  }
  CHECK(f.on_admin([&] { return catalog.list("", 32); }).size() == 5);
}

TEST_CASE("the log of an image that is gone can be removed by a client, who is told so") {
  Fixture f;
  f.serve_directory(true, true);
  make_image(f.dir.path() / "a.img.log.0000000003", 100);
  make_image(f.dir.path() / "a.img.spare.0000000001", 100);
  Catalog& catalog = f.start();
  CHECK(f.code_of_call([&] { catalog.create("a", 1); }) == Errc::damaged);
  CHECK(f.message.find("a.img.log.0000000003") != std::string::npos);
  CHECK(f.message.find("`pagectl remove`") != std::string::npos);
  CHECK(f.code_of_call([&] { catalog.resolve("a"); }) == Errc::damaged);
  CHECK(f.message.find("`pagectl remove`") != std::string::npos);
  CHECK(f.remove("a") == nullptr);
  CHECK(std::filesystem::is_empty(f.dir.path()));
  CHECK(f.code_of(f.remove("a")) == Errc::not_found);
  f.on_admin([&] {
    catalog.create("a", 1);
    return 0;
  });
}

TEST_CASE("what a crash left of a store that was removed or created goes at the start, and in create and remove") {
  Fixture f;
  f.serve_directory(true, true);
  const auto leave = [&] {
    make_image(f.dir.path() / "a.img.removed.0000000001", page_size);
    make_image(f.dir.path() / "a.img.log.0000000001", 100);
    make_image(f.dir.path() / "a.img.spare.0000000002", 100);
  };
  const auto names = [&] {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(f.dir.path()))
      found.push_back(entry.path().filename());
    return found;
  };
  leave();
  Catalog& catalog = f.start();
  CHECK(names().empty());
  leave();
  CHECK(f.on_admin([&] { return catalog.list("", 9); }).empty());
  f.on_admin([&] {
    catalog.create("a", 2);
    return 0;
  });
  CHECK(names() == std::vector<std::string>{"a.img"});
  CHECK(f.remove("a") == nullptr);
  leave();
  CHECK(f.remove("a") == nullptr);
  CHECK(names().empty());
  CHECK(f.code_of(f.remove("a")) == Errc::not_found);
  // An image that somebody put in the place since is not what was being removed.
  leave();
  make_image(f.dir.path() / "a.img", page_size);
  f.catalog.reset();
  f.start();
  CHECK(names().size() == 3);
  CHECK_FALSE(std::filesystem::exists(f.dir.path() / "a.img.removed.0000000001"));
  CHECK(std::filesystem::file_size(f.dir.path() / "a.img") == page_size);
}

TEST_CASE("a store that another program is removing is neither created nor removed meanwhile") {
  Fixture f;
  f.serve_directory(true, true);
  make_image(f.dir.path() / "a.img.removed.0000000001", 0);
  const int file = ::open(f.dir.file("a.img.removed.0000000001").c_str(), O_RDONLY | O_CLOEXEC);
  REQUIRE(::flock(file, LOCK_EX) == 0);
  Catalog& catalog = f.start();
  CHECK(f.code_of_call([&] { catalog.create("a", 1); }) == Errc::busy);
  CHECK(f.code_of(f.remove("a")) == Errc::busy);
  CHECK(std::filesystem::exists(f.dir.path() / "a.img.removed.0000000001"));
  ::close(file);
  CHECK(f.remove("a") == nullptr);
  CHECK(std::filesystem::is_empty(f.dir.path()));
}

TEST_CASE("an image that another program has locked is not removed") {
  Fixture f;
  f.serve_directory(false, true);
  make_image(f.dir.path() / "a.img", 0);
  const int file = ::open(f.dir.file("a.img").c_str(), O_RDWR | O_CLOEXEC);
  REQUIRE(::flock(file, LOCK_SH) == 0);
  f.start();
  CHECK(f.code_of(f.remove("a")) == Errc::busy);
  ::close(file);
  CHECK(f.remove("a") == nullptr);
}

TEST_CASE("a store that is configured by name is not removed") {
  Fixture f;
  f.serve_directory(false, true);
  f.config.stores = {{"", "a", f.dir.file("a.img"), false, true, {}, {}}};
  f.start();
  CHECK(f.code_of(f.remove("a")) == Errc::permission_denied);
}

TEST_CASE("no link leads out of the directory") {
  Fixture f;
  const test::TempDir outside;
  make_image(outside.path() / "secret.img", page_size);
  f.serve_directory(true, true);
  std::filesystem::create_symlink(outside.path() / "secret.img", f.dir.path() / "link.img");
  Catalog& catalog = f.start();
  CHECK(f.on_admin([&] { return catalog.list("", 9); }).empty());
  CHECK(f.code_of_call([&] { catalog.resolve("link"); }) == Errc::not_found);
  CHECK(f.code_of(f.remove("link")) == Errc::not_found);
  CHECK(f.code_of_call([&] { catalog.create("link", 1); }) == Errc::already_exists);
  CHECK(std::filesystem::file_size(outside.path() / "secret.img") == page_size);
}

TEST_CASE("a file that becomes a link between looking and opening is not followed") {
  Fixture f;
  const test::TempDir outside;
  make_image(outside.path() / "secret.img", page_size);
  make_image(f.dir.path() / "x.img", page_size);
  f.serve_directory(false, false);
  Catalog& catalog = f.start();
  const auto use = f.on_admin([&] { return catalog.resolve("x"); });
  std::filesystem::remove(f.dir.path() / "x.img");
  std::filesystem::create_symlink(outside.path() / "secret.img", f.dir.path() / "x.img");
  std::promise<bool> refused;
  use->host().jobs().submit([&] {
    try {
      use->host().opened();
      refused.set_value(false);
    } catch (const MemoryError&) {
      refused.set_value(true);
    }
  });
  CHECK(refused.get_future().get());
}

TEST_CASE("paths out of the directory can't be opened through its file system") {
  const test::TempDir dir;
  make_image(dir.path() / "in.img", 0);
  const int directory = ::open(dir.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const auto files = make_directory_files(storage::posix_file_system(), directory, dir.path().string());
  const auto inside = files->open(dir.file("in.img"), O_RDONLY, 0);
  CHECK(inside.ok());
  files->close(static_cast<int>(inside.value));
  for (const std::string& path : {dir.file("../etc"), std::string("/etc/passwd"), dir.path().string() + "x/in.img",
                                  dir.file(".."), std::string("in.img")}) {
    INFO(path);
    CHECK(files->open(path, O_RDONLY, 0).error == EXDEV);
  }
  ::close(directory);
}
