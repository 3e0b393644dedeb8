// The hosts of stores: what they take of the system, who holds the store when it is closed, and what a stop says of
// stores that could not be closed, also when memory runs out meanwhile.
#include "tests/support/catch.hpp"

#include <atomic>
#include <filesystem>
#include <future>
#include <iterator>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include "server/stores/catalog.hpp"
#include "server/stores/directory_files.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/storage/failing_resources.hpp"
#include "tests/unit/storage/faulty_file_system.hpp"

namespace pageserver::test {
namespace {

using namespace pageserver::server;

std::ptrdiff_t threads() {
  return std::distance(std::filesystem::directory_iterator{"/proc/self/task"}, std::filesystem::directory_iterator{});
}

std::vector<std::byte> filled(std::size_t size, int value) {
  return std::vector<std::byte>(size, static_cast<std::byte>(value));
}

StoreSettings settings_of(const std::string& path) {
  StoreSettings settings;
  settings.name = "demo";
  settings.path = path;
  settings.create = true;
  settings.size_bytes_max = 1 << 30;
  return settings;
}

/// What a session would have written: only a checkpoint at the close can bring it into the image.
void write_something(storage::Store& store) {
  storage::SessionRequest request;
  request.access = Access::write;
  std::unique_ptr<storage::StoreSession> session;
  store.open_session(std::move(request), [&](std::unique_ptr<storage::StoreSession> opened, std::exception_ptr) {
    session = std::move(opened);
  });
  REQUIRE(session);
  session->grow(1);
  session->write(0, filled(100, 1));
}

/// What syncs would add is of no matter here, and takes long.
class UnsyncedFiles final : public FaultyFileSystem {
public:
  storage::IoResult sync_data(int) override { return {0, 0}; }
  storage::IoResult sync(int) override { return {0, 0}; }
};

struct Stores {
  explicit Stores(std::vector<std::string> names) {
    for (const auto& name : names) config.stores.push_back({"", name, dir.file(name + ".img"), false, true, {}, {}});
    catalog.emplace(config, files, log, threads);
    catalog->start();
    for (const auto& name : names) write_something(catalog->find(name)->host().opened());
  }
  std::vector<std::string> closed() {
    std::promise<std::vector<std::string>> failures;
    catalog->close_all([&](std::vector<std::string> lines) { failures.set_value(std::move(lines)); });
    return failures.get_future().get();
  }

  TempDir dir;
  UnsyncedFiles files;
  Config config;
  Log log{LogFormat::text, static_cast<LogLevel>(100)};
  SharedThreads threads{1, {}, log};
  std::optional<Catalog> catalog;
};

}  // namespace

TEST_CASE("recoveries are kept by store, the newest of each, and of too many stores the oldest is forgotten") {
  Recoveries recoveries;
  const auto at = [](std::int64_t unix_ms) {
    Recovery recovery;
    recovery.unix_ms = unix_ms;
    return recovery;
  };
  CHECK_FALSE(recoveries.find("a"));
  recoveries.note("a", at(1));
  recoveries.note("a", at(3));
  recoveries.note("b", at(2));
  CHECK(recoveries.find("a")->unix_ms == 3);
  recoveries.forget("a");
  CHECK_FALSE(recoveries.find("a"));
  for (std::size_t i = 0; i < Recoveries::stores_max; ++i) recoveries.note("c" + std::to_string(i), at(10));
  CHECK_FALSE(recoveries.find("b"));
  CHECK(recoveries.find("c0"));
  CHECK(recoveries.find("c" + std::to_string(Recoveries::stores_max - 1)));
}

TEST_CASE("a host takes no thread and no descriptor, and an open store only those of its files") {
  TempDir dir;
  Log log{LogFormat::text, static_cast<LogLevel>(100)};
  SharedThreads shared{1, {}, log};
  const auto files = borrow_files(storage::posix_file_system());
  const auto descriptors = [] {
    return std::distance(std::filesystem::directory_iterator{"/proc/self/fd"}, std::filesystem::directory_iterator{});
  };
  const auto threads_before = threads();
  const auto descriptors_before = descriptors();
  const FailingThreads none(1, true);
  {
    std::list<StoreHost> hosts;
    for (int i = 0; i < 100; ++i) hosts.emplace_back(files, settings_of(dir.file(std::to_string(i))), log, shared);
    CHECK(descriptors() == descriptors_before);
    for (StoreHost& host : hosts) (void)host.opened();
    CHECK(threads() == threads_before);
    for (StoreHost& host : hosts) CHECK(host.close());
  }
  CHECK(threads() == threads_before);
  CHECK(descriptors() == descriptors_before);
}

TEST_CASE("readers of a store are spread over the loops, and never come to where writers are") {
  TempDir dir;
  Log log{LogFormat::text, static_cast<LogLevel>(100)};
  SharedThreads shared{3, {}, log};
  const auto files = borrow_files(storage::posix_file_system());
  std::set<Worker*> writers;
  std::set<Worker*> all_readers;
  for (int i = 0; i < 8; ++i) {
    StoreHost host{files, settings_of(dir.file("a.img")), log, shared};
    Worker* const writer = host.worker_for(Access::write).get();
    writers.insert(writer);
    std::map<Worker*, int> readers;
    for (int reader = 0; reader < 9; ++reader)
      ++readers[host.worker_for(reader % 2 == 0 ? Access::read : Access::fork).get()];
    CHECK(host.worker_for(Access::write).get() == writer);
    CHECK(readers.size() == 3);
    for (const auto& [worker, count] : readers) {
      CHECK(count == 3);
      all_readers.insert(worker);
    }
  }
  for (Worker* const reader : all_readers) CHECK_FALSE(writers.contains(reader));
  CHECK(writers.size() == 3);  // those of different stores are spread, too
}

TEST_CASE("once a store is closed, well or not, its files are, whoever was just looking at it") {
  const bool fails = GENERATE(false, true);
  TempDir dir;
  FaultyFileSystem files;
  Log log{LogFormat::text, static_cast<LogLevel>(100)};
  std::atomic<int> looks{0};
  std::atomic<bool> closed{false};
  SharedThreads shared{1, {}, log};
  // The watch asks whether the store is needed behind its look at it, in a job of the host, and waits there.
  StoreHost host{borrow_files(files), settings_of(dir.file("a.img")), log, shared, [&](StoreHost&) {
                   ++looks;
                   while (!closed) std::this_thread::yield();
                 }};
  write_something(host.opened());
  host.look_after();
  while (looks == 0) std::this_thread::yield();
  if (fails) files.fail(Call::write, ENOSPC);
  bool threw = false;
  bool was_open = false;
  try {
    was_open = host.close();
  } catch (const MemoryError&) {
    threw = true;
  }
  CHECK(threw == fails);
  CHECK(was_open == !fails);
  CHECK(files.open_files() == 0);
  files.heal(Call::write);
  write_something(host.opened());  // the lock is free
  closed = true;
  CHECK(host.close());
  CHECK_FALSE(host.close());
}

TEST_CASE("a store that was not closed cleanly is told of by every stop, until it is closed once more") {
  Stores stores{{"good", "bad"}};
  stores.files.fail(Call::write, ENOSPC);
  const auto first = stores.closed();
  REQUIRE(first.size() == 2);
  CHECK(first[0].find("store \"bad\": ") == 0);
  CHECK(first[0].find("ENOSPC") != std::string::npos);
  CHECK(stores.closed() == first);
  stores.files.heal(Call::write);
  CHECK(stores.closed() == first);  // they are closed already
  (void)stores.catalog->find("bad")->host().opened();
  const auto second = stores.closed();
  REQUIRE(second.size() == 1);
  CHECK(second[0].find("store \"good\": ") == 0);
}

TEST_CASE("a stop that memory runs out in is over once, and says so when a store is not closed") {
  for (const bool forever : {false, true}) {
    bool more = true;
    for (std::uint64_t at = 1; more; ++at) {
      INFO("allocation " << at << (forever ? " and all after it" : ""));
      REQUIRE(at < 10'000);
      Stores stores{{"a", "b"}};
      std::atomic<int> done{0};
      std::vector<std::string> lines;
      bool begun = true;
      std::promise<void> over;
      auto over_in_time = over.get_future();
      std::function<void(std::vector<std::string>)> on_done = [&](std::vector<std::string> failures) {
        ++done;
        lines = std::move(failures);
        over.set_value();
      };
      {
        const FailingMemory none(at, forever);
        try {
          stores.catalog->close_all(std::move(on_done));
        } catch (const std::bad_alloc&) {
          begun = false;
        }
        if (begun) over_in_time.wait_for(std::chrono::seconds(30));
        more = none.failed();
      }
      if (!begun) {
        CHECK(done == 0);
        CHECK(stores.closed().empty());
        continue;
      }
      REQUIRE(done == 1);
      const auto again = stores.closed();
      CHECK(lines.empty() == again.empty());
      // The last of them may be on its way out in another thread.
      const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
      while (stores.files.open_files() != 0) REQUIRE(std::chrono::steady_clock::now() < deadline);
      if (!more) CHECK(lines.empty());
      if (at % 8 != 0) continue;
      // Whether it was closed or has its log: what was written is there.
      stores.catalog.reset();
      stores.catalog.emplace(stores.config, stores.files, stores.log, stores.threads);
      stores.catalog->start();
      for (const auto& store : stores.catalog->configured()) CHECK(store.pages == 1);
      CHECK(stores.closed().empty());
    }
  }
}

}  // namespace pageserver::test
