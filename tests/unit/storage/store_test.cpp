// A store's bytes, versions, syncs and end. Its lease and line: store_lease_test.cpp.
#include <atomic>
#include <filesystem>
#include <future>
#include <thread>

#include "storage/engine/open_engine.hpp"
#include "storage/engine/thread_background.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/storage/faulty_file_system.hpp"
#include "tests/unit/storage/manual_background.hpp"
#include "tests/unit/storage/storage_test.hpp"
#include "tests/unit/storage/store_client.hpp"

namespace pageserver::test {
namespace {

struct Fixture {
  TempDir folder;
  FaultyFileSystem files;
  ManualBackground lane;
  ManualBackground checkpoint_lane;
  storage::EngineOptions options;

  std::string path() const { return folder.file("db.img"); }
  std::unique_ptr<storage::Store> open() { return storage::open_engine(files, path(), lane, checkpoint_lane, options); }
};

}  // namespace

TEST_CASE("a live reader sees each write as soon as it is answered") {
  Fixture fixture;
  const auto store = fixture.open();
  const auto writer = open_now(*store, session_request(Access::write));
  const auto reader = open_now(*store, session_request(Access::read));
  CHECK(writer->epoch() == 1);
  CHECK(reader->epoch() == 0);
  CHECK(writer->grow(2) == 0);
  CHECK(reader->pages() == 2);
  writer->write(page_size - 2, bytes_of("hello"));
  CHECK(read_from(*reader, page_size - 2, 5) == bytes_of("hello"));
  writer->zero(page_size, 2);
  CHECK(read_from(*reader, page_size - 2, 5) ==
        std::vector<std::byte>{bytes_of("he")[0], bytes_of("he")[1], std::byte{0}, std::byte{0}, bytes_of("o")[0]});
  CHECK(writer->may_write([] { FAIL("there is always room"); }));
}

TEST_CASE("the version's number rises with every publish and with nothing else") {
  Fixture fixture;
  const auto store = fixture.open();
  const auto writer = open_now(*store, session_request(Access::write));
  const auto first = writer->version();
  CHECK(first.incarnation != 0);
  writer->grow(1);
  CHECK(writer->version().number == first.number + 1);
  writer->write(0, bytes_of("a"));
  CHECK(writer->version().number == first.number + 2);
  writer->zero(0, 10);
  CHECK(writer->version().number == first.number + 3);
  writer->grow(0);
  writer->write(5, {});
  writer->zero(page_size, 0);
  writer->discard();
  CHECK_THROWS_AS(writer->write(page_size, bytes_of("x")), MemoryError);
  CHECK_THROWS_AS(writer->write(page_size + 1, {}), MemoryError);
  CHECK_THROWS_AS(writer->grow(UINT64_MAX), MemoryError);
  CHECK(writer->version().number == first.number + 3);
  CHECK(writer->version().incarnation == first.incarnation);
}

TEST_CASE("each opening of a store has an incarnation of its own") {
  Fixture fixture;
  const auto incarnation = [&](std::uint64_t salt) {
    fixture.options.salt = salt;
    return fixture.open()->stat(0).version.incarnation;
  };
  const std::uint64_t first = incarnation(1);
  CHECK(first != incarnation(2));
  CHECK(first != 1);  // clients see it, and must not learn the log's salt
}

TEST_CASE("a reader may not change anything") {
  Fixture fixture;
  const auto store = fixture.open();
  open_now(*store, session_request(Access::write))->grow(1);
  const auto reader = open_now(*store, session_request(Access::read));
  check_error(thrown_by([&] { reader->write(0, bytes_of("x")); }), Errc::read_only, {"write", "access=write"});
  check_error(thrown_by([&] { reader->zero(0, 1); }), Errc::read_only, {"zero"});
  check_error(thrown_by([&] { reader->grow(1); }), Errc::read_only, {"grow"});
  reader->discard();
  const auto flushing = start_flush(*reader);
  CHECK(flushing->calls == 1);
  CHECK_FALSE(flushing->error);
  CHECK(fixture.files.calls(Call::sync_data) == 0);
}

TEST_CASE("refresh of a live reader says the newest version and everything") {
  Fixture fixture;
  const auto store = fixture.open();
  const auto writer = open_now(*store, session_request(Access::write));
  const auto reader = open_now(*store, session_request(Access::read));
  writer->grow(3);
  const auto found = reader->refresh();
  CHECK(found.version == writer->version());
  CHECK(found.pages == 3);
  CHECK(found.everything);
  CHECK(found.changed.empty());
  check_error(thrown_by([&] { writer->refresh(); }), Errc::unsupported, {"refresh"});
}

TEST_CASE("a read-only store has readers and no writer, and shares its file") {
  Fixture fixture;
  fixture.open()->close();
  fixture.options.read_only = true;
  const auto store = fixture.open();
  const auto other = fixture.open();
  CHECK(store->read_only());
  CHECK(store->stat(0).read_only);
  check_error(thrown_by([&] { open_now(*store, session_request(Access::write)); }), Errc::read_only, {"read-only"});
  CHECK(open_now(*store, session_request(Access::read))->pages() == 0);
  store->close();
}

TEST_CASE("options of a store are kept: create, mode, size_bytes_max") {
  Fixture fixture;
  fixture.options.create = false;
  check_error(thrown_by([&] { fixture.open(); }), Errc::not_found, {"no such file"});
  fixture.options.create = true;
  fixture.options.file_mode = 0600;
  fixture.options.size_bytes_max = 3 * page_size;
  const auto store = fixture.open();
  CHECK((std::filesystem::status(fixture.path()).permissions() & std::filesystem::perms::group_all) ==
        std::filesystem::perms::none);
  const auto writer = open_now(*store, session_request(Access::write));
  CHECK(writer->grow(3) == 0);
  check_error(thrown_by([&] { writer->grow(1); }), Errc::limit_exceeded, {"size_bytes_max=196608"});
  CHECK(store->stat(0).size_bytes_max == 3 * page_size);
}

TEST_CASE("a flush is done on the lane once the sync is") {
  Fixture fixture;
  const auto store = fixture.open();
  const auto writer = open_now(*store, session_request(Access::write));
  writer->grow(1);
  const auto flushing = start_flush(*writer);
  CHECK(flushing->calls == 0);
  CHECK(fixture.files.calls(Call::sync_data) == 0);
  fixture.lane.run_all();
  CHECK(flushing->calls == 1);
  CHECK_FALSE(flushing->error);
  CHECK(fixture.files.calls(Call::sync_data) == 1);
  CHECK(start_flush(*writer)->calls == 1);  // nothing new: no sync
  CHECK(fixture.files.calls(Call::sync_data) == 1);
}

TEST_CASE("a failed sync stays failed and is seen in the report") {
  Fixture fixture;
  const auto store = fixture.open();
  auto writer = open_now(*store, session_request(Access::write));
  writer->grow(1);
  fixture.files.fail(Call::sync_data, EIO, 0, 1);
  const auto flushing = start_flush(*writer);
  fixture.lane.run_all();
  REQUIRE(flushing->calls == 1);
  REQUIRE(flushing->error);
  check_error(thrown_by([&] { std::rethrow_exception(flushing->error); }), Errc::provider_error, {"sync", "EIO"});
  // The disk is well again, but what the kernel forgot stays forgotten.
  check_error(thrown_by([&] { flush_now(*writer); }), Errc::provider_error, {"EIO", "restart"});
  CHECK(fixture.files.calls(Call::sync_data) == 1);
  CHECK(store->stat(0).last_sync_error.find("EIO") != std::string::npos);
  CHECK(writer->pages() == 1);
  CHECK(read_from(*writer, 0, 5) == std::vector<std::byte>(5));
  writer.reset();
  CHECK_THROWS_AS(store->close(), MemoryError);
}

TEST_CASE("a flush whose session ended is not answered") {
  Fixture fixture;
  const auto store = fixture.open();
  auto writer = open_now(*store, session_request(Access::write));
  writer->grow(1);
  const auto flushing = start_flush(*writer);
  writer.reset();
  fixture.lane.run_all();
  CHECK(flushing->calls == 0);
}

TEST_CASE("a close makes everything durable and unlocks, and then nothing works") {
  Fixture fixture;
  auto store = fixture.open();
  open_now(*store, session_request(Access::write))->grow(1);
  auto late = open_now(*store, session_request(Access::read));
  check_error(thrown_by([&] { store->close(); }), Errc::invalid_argument, {"1 sessions are still open"});
  late.reset();
  store->close();
  store->close();
  CHECK(std::distance(std::filesystem::directory_iterator{fixture.folder.path()}, {}) == 1);  // the image alone
  const std::size_t syncs = fixture.files.calls(Call::sync_data);
  CHECK_NOTHROW(fixture.open()->close());
  CHECK(fixture.files.calls(Call::sync_data) == syncs);  // an opening syncs the whole file, and there is no log
  check_error(thrown_by([&] { open_now(*store, session_request(Access::read)); }), Errc::provider_error, {"closed"});
  check_error(thrown_by([&] { store->stat(0); }), Errc::provider_error, {"closed"});
}

TEST_CASE("a store that is destroyed unlocks at once, whatever still waits") {
  Fixture fixture;
  auto store = fixture.open();
  auto writer = open_now(*store, session_request(Access::write));
  const auto waiter = start_opening(*store, session_request(Access::write, "second", true));
  writer->grow(1);
  const auto flushing = start_flush(*writer);
  store.reset();
  const std::size_t syncs = fixture.files.calls(Call::sync_data);
  fixture.lane.run_all();
  CHECK(fixture.files.calls(Call::sync_data) == syncs);
  CHECK(flushing->calls == 0);  // as after a kill: nothing was promised
  CHECK_NOTHROW(fixture.open());
  check_error(thrown_by([&] { writer->grow(1); }), Errc::provider_error, {"closed"});
  CHECK(waiter->calls == 1);
  REQUIRE(waiter->error);
}

TEST_CASE("a second store on the same file is refused") {
  Fixture fixture;
  const auto store = fixture.open();
  check_error(thrown_by([&] { fixture.open(); }), Errc::busy, {fixture.path(), "locked by"});
}

TEST_CASE("the image touched from outside is said in the report") {
  Fixture fixture;
  const auto store = fixture.open();
  const auto writer = open_now(*store, session_request(Access::write));
  writer->grow(2);
  CHECK(store->stat(0).image_warning.empty());
  std::filesystem::resize_file(fixture.path(), page_size);
  CHECK(store->stat(0).image_warning.find("someone else") != std::string::npos);
}

TEST_CASE("data ranges of a session are those of the file") {
  Fixture fixture;
  const auto store = fixture.open();
  const auto writer = open_now(*store, session_request(Access::write));
  writer->grow(10);
  writer->write(4 * page_size, filled(page_size, 1));
  std::uint64_t until = 0;
  CHECK(writer->data_ranges(0, 10 * page_size, 5, until) == std::vector<ByteRange>{{4 * page_size, page_size}});
  CHECK(until == 10 * page_size);
}

TEST_CASE("reads go on while a sync hangs") {
  TempDir folder;
  FaultyFileSystem files;
  std::promise<void> syncing, go_on;
  storage::ThreadBackground lane;
  storage::ThreadBackground checkpoint_lane;
  const auto store = storage::open_engine(files, folder.file("db.img"), lane, checkpoint_lane, {});
  files.before(Call::sync_data, [&] {
    syncing.set_value();
    go_on.get_future().wait();
  });
  const auto writer = open_now(*store, session_request(Access::write));
  const auto reader = open_now(*store, session_request(Access::read));
  writer->grow(1);
  std::promise<void> done;
  writer->flush([&](std::exception_ptr error, const Version&) {
    CHECK_FALSE(error);
    done.set_value();
  });
  syncing.get_future().wait();
  for (int i = 0; i < 1000; ++i) read_from(*reader, 0, page_size);
  CHECK_NOTHROW(open_now(*store, session_request(Access::read)));
  CHECK(store->stat(0).sessions_live == 1);
  go_on.set_value();
  CHECK(done.get_future().wait_for(std::chrono::seconds{30}) == std::future_status::ready);
}

TEST_CASE("no read ever sees half of a write, and a writer gets in among many readers") {
  TempDir folder;
  storage::ThreadBackground lane;
  storage::ThreadBackground checkpoint_lane;
  const auto store =
      storage::open_engine(storage::posix_file_system(), folder.file("db.img"), lane, checkpoint_lane, {});
  const auto writer = open_now(*store, session_request(Access::write));
  writer->grow(5);
  constexpr std::size_t length = 3 * page_size;
  std::atomic<bool> stop{false};
  std::atomic<int> torn{0};
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&, session = std::shared_ptr{open_now(*store, session_request(Access::read))}] {
      while (!stop) {
        const auto bytes = read_from(*session, 1000, length);
        if (bytes != std::vector<std::byte>(length, bytes[0])) ++torn;
      }
    });
  }
  for (int round = 1; round <= 200; ++round) writer->write(1000, filled(length, round));
  stop = true;
  for (auto& reader : readers) reader.join();
  CHECK(torn == 0);
}

}  // namespace pageserver::test
