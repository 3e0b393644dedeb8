// The store in the program's own process: what its sessions share, how they wait, and what becomes of it at the end.
#include "storage/embedded/embedded_store.hpp"

#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <future>
#include <thread>

#include "tests/support/temp_dir.hpp"
#include "tests/unit/storage/faulty_file_system.hpp"
#include "tests/unit/storage/storage_test.hpp"

namespace pageserver::test {
namespace {

struct EmbeddedHarness {
  std::string path() const { return folder.file("db.img"); }
  std::unique_ptr<Session> open(Access access = Access::write) {
    auto asked = options;
    asked.access = access;
    asked.file_system = &files;
    return storage::open_embedded_store(path(), asked);
  }
  static std::vector<std::byte> read(Session& session, std::uint64_t offset, std::size_t length) {
    std::vector<std::byte> bytes(length);
    session.read(offset, bytes);
    return bytes;
  }
  bool log_is_there() const { return std::filesystem::exists(path() + ".log.0000000001"); }

  TempDir folder;
  FaultyFileSystem files;
  storage::EmbeddedOptions options;
};

}  // namespace

TEST_CASE_METHOD(EmbeddedHarness, "embedded store: sessions of one process see one store and each other") {
  options.name = "the writer";
  const auto writer = open();
  const auto reader = open(Access::read);
  options.view = View::pinned;
  const auto pin = open(Access::read);
  const Version before = pin->version();
  writer->grow(3);
  writer->write(page_size, filled(100, 1));
  writer->zero(page_size + 10, 20);
  auto expected = filled(100, 1);
  std::fill_n(expected.begin() + 10, 20, std::byte{0});
  CHECK(read(*reader, page_size, 100) == expected);
  CHECK(reader->version() == writer->version());
  CHECK(pin->version() == before);
  CHECK(pin->pages() == 0);
  const Refreshed refreshed = pin->refresh();
  CHECK(refreshed.version == writer->version());
  CHECK(refreshed.pages == 3);
  CHECK(read(*pin, page_size, 100) == expected);

  const Stat stat = reader->stat();
  CHECK(stat.store == path());
  CHECK(stat.pages == 3);
  CHECK_FALSE(stat.read_only);
  CHECK(stat.sessions_write == 1);
  CHECK(stat.sessions_live == 1);
  CHECK(stat.sessions_pinned == 1);
  REQUIRE(stat.writer);
  CHECK(stat.writer->name == "the writer");
  CHECK(stat.writer->address == "pid " + std::to_string(::getpid()));
}

TEST_CASE_METHOD(EmbeddedHarness, "embedded store: private bytes are dropped by a discard") {
  options.publish = Publish::on_flush;
  const auto writer = open();
  writer->grow(1);
  writer->flush();
  writer->write(5, bytes_of("dropped"));
  CHECK(read(*writer, 5, 7) == bytes_of("dropped"));
  writer->discard();
  CHECK(read(*writer, 5, 7) == filled(7, 0));
  writer->flush();
  options.publish = Publish::on_write;
  CHECK(read(*open(Access::read), 5, 7) == filled(7, 0));
}

TEST_CASE_METHOD(EmbeddedHarness,
                 "embedded store: a second writer is refused, or waits for its turn as long as it said") {
  auto first = open();
  check_error(thrown_by([&] { open(); }), Errc::busy, {path()});
  options.wait_ms = 1;
  check_error(thrown_by([&] { open(); }), Errc::busy, {path()});
  CHECK(first->stat().writers_waiting == 0);
  options.wait_ms = 60'000;
  auto second = std::async(std::launch::async, [&] { return open(); });
  while (first->stat().writers_waiting == 0) std::this_thread::yield();
  first->grow(1);
  first.reset();
  CHECK(second.get()->grow(1) == 1);
}

TEST_CASE_METHOD(EmbeddedHarness, "embedded store: only a writer makes the image") {
  check_error(thrown_by([&] { open(Access::read); }), Errc::not_found, {path()});
  check_error(thrown_by([&] { open(Access::fork); }), Errc::not_found, {path()});
  CHECK(std::filesystem::is_empty(folder.path()));
}

TEST_CASE_METHOD(EmbeddedHarness, "embedded store: an image that may not be written is opened for reading") {
  open()->grow(2);
  const auto [error, code] = GENERATE(table<int, Errc>({{EACCES, Errc::permission_denied}, {EROFS, Errc::read_only}}));
  files.fail(Call::open, error, 1, 1);  // after the folder
  check_error(thrown_by([&] { open(Access::write); }), code, {path()});
  files.fail(Call::open, error, 1, 1);
  const auto reader = open(Access::read);
  CHECK(reader->pages() == 2);
  CHECK(reader->stat().read_only);
  check_error(thrown_by([&] { open(Access::write); }), Errc::read_only, {path()});
}

TEST_CASE_METHOD(EmbeddedHarness, "embedded store: an error that is no missing right is a reader's error too") {
  open()->grow(2);
  files.fail(Call::open, EIO, 1, 1);
  check_error(thrown_by([&] { open(Access::read); }), Errc::provider_error, {path(), "EIO"});
  // Nor is there a second try for who asked for a read-only store.
  options.engine.read_only = true;
  files.fail(Call::open, EACCES, 1, 1);
  check_error(thrown_by([&] { open(Access::read); }), Errc::permission_denied, {path()});
}

TEST_CASE_METHOD(EmbeddedHarness, "embedded store: where the last session's end can't write the image, the log stays") {
  auto writer = open();
  writer->grow(2);
  writer->write(70'000, bytes_of("flushed"));
  writer->flush();
  files.fail(Call::write, ENOSPC);
  writer.reset();
  CHECK(log_is_there());
  files.heal(Call::write);
  CHECK(read(*open(), 70'000, 7) == bytes_of("flushed"));
  CHECK_FALSE(log_is_there());
}

TEST_CASE_METHOD(EmbeddedHarness, "embedded store: a writer waits where the log is full, and goes on") {
  options.engine.log_bytes = 96 << 10;
  options.engine.segment_bytes = 24 << 10;
  constexpr std::size_t bytes = 10'000;
  // The log is more than half full before any of it can go, and full before the disk is done.
  constexpr int written_ahead = 4;
  std::atomic<int> written{0};
  std::atomic<bool> holds{false};
  files.before(Call::sync_data, [&] {
    while (holds && written < written_ahead) std::this_thread::yield();
  });
  const auto writer = open();
  writer->grow(2);
  holds = true;
  for (int i = 0; i < 30; ++i) {
    writer->write(static_cast<std::uint64_t>(i), filled(bytes, i));
    ++written;
  }
  CHECK(read(*writer, 29, bytes) == filled(bytes, 29));
  CHECK(read(*writer, 0, 29)[7] == std::byte{7});
}

TEST_CASE_METHOD(EmbeddedHarness, "embedded store: data ranges are whole, however many the store says them in") {
  const auto writer = open();
  writer->grow(8);
  // One range of more pieces than one look takes: it is cut between two looks, at the fourth page.
  for (std::uint64_t at = 0; at < 2 * page_size; at += 2) writer->write(at, filled(2, 1));
  writer->write(2 * page_size, filled(page_size, 1));
  writer->write(3 * page_size, filled(page_size, 1));
  // And more ranges than one answer has.
  std::vector<ByteRange> expected{{0, 4 * page_size}};
  for (std::uint64_t i = 0; i < 5000; ++i) {
    expected.push_back({5 * page_size + 13 * i, 7});
    writer->write(expected.back().offset, filled(7, 1));
  }
  CHECK(writer->data_ranges(0, 8 * page_size) == expected);
  CHECK(writer->data_ranges(5 * page_size + 3, 12) ==
        std::vector<ByteRange>{{5 * page_size + 3, 4}, {5 * page_size + 13, 2}});
}

TEST_CASE_METHOD(EmbeddedHarness, "embedded store: an image is one store, by whichever of its paths it is opened") {
  namespace fs = std::filesystem;
  const auto writer = open();
  writer->grow(1);
  writer->write(0, bytes_of("the one"));
  const auto seen_at = [&](const fs::path& other) {
    auto asked = options;
    asked.access = Access::read;
    return read(*storage::open_embedded_store(other.string(), asked), 0, 7);
  };
  SECTION("a hard link") {
    fs::create_hard_link(path(), folder.file("link.img"));
    CHECK(seen_at(folder.file("link.img")) == bytes_of("the one"));
  }
  SECTION("a symbolic link to it, and one to its folder") {
    fs::create_symlink(path(), folder.file("link.img"));
    fs::create_directory_symlink(folder.path(), folder.file("here"));
    CHECK(seen_at(folder.file("link.img")) == bytes_of("the one"));
    CHECK(seen_at(folder.path() / "here" / "db.img") == bytes_of("the one"));
  }
  SECTION("by another name") {
    fs::rename(path(), folder.file("moved.img"));
    CHECK(seen_at(folder.file("moved.img")) == bytes_of("the one"));
  }
}

TEST_CASE_METHOD(EmbeddedHarness,
                 "embedded store: a folder that was renamed has its store with it, and a new one another") {
  namespace fs = std::filesystem;
  fs::create_directory(folder.file("one"));
  const std::string path = folder.file("one") + "/db.img";
  const auto first = storage::open_embedded_store(path, options);
  first->grow(1);
  first->write(0, bytes_of("first"));
  fs::rename(folder.file("one"), folder.file("two"));
  fs::create_directory(folder.file("one"));
  const auto second = storage::open_embedded_store(path, options);
  CHECK(second->pages() == 0);
  second->grow(2);
  options.access = Access::read;
  const auto reader = storage::open_embedded_store(folder.file("two") + "/db.img", options);
  CHECK(read(*reader, 0, 5) == bytes_of("first"));
  CHECK(storage::open_embedded_store(path, options)->pages() == 2);
}

TEST_CASE_METHOD(EmbeddedHarness,
                 "embedded store: another file at the path is refused until the store that had it is closed") {
  namespace fs = std::filesystem;
  auto writer = open();
  writer->grow(1);
  writer->write(0, bytes_of("first"));
  const bool removed = GENERATE(false, true);
  removed ? fs::remove(path()) : (fs::rename(path(), folder.file("old.img")), true);
  check_error(thrown_by([&] { open(); }), Errc::busy, {path(), "end its sessions first"});
  if (!removed) {
    std::ofstream{path()} << std::string(2 * page_size, 'n');
    check_error(thrown_by([&] { open(Access::read); }), Errc::busy, {path(), "end its sessions first"});
    fs::remove(path());
    fs::rename(folder.file("old.img"), path());
    CHECK(read(*open(Access::read), 0, 5) == bytes_of("first"));
  }
  writer.reset();
  if (!removed) CHECK(read(*open(Access::read), 0, 5) == bytes_of("first"));
}

TEST_CASE_METHOD(EmbeddedHarness,
                 "embedded store: an image that several threads make at once is one store to all of them") {
  options.wait_ms = 60'000;
  for (int round = 0; round < 20; ++round) {
    std::vector<std::future<std::uint64_t>> writers;
    std::atomic<int> ready{0};
    for (int i = 0; i < 4; ++i)
      writers.push_back(std::async(std::launch::async, [&] {
        ++ready;
        while (ready < 4) std::this_thread::yield();
        return open()->grow(1);
      }));
    std::uint64_t sum = 0;
    for (auto& writer : writers) sum += writer.get();
    CHECK(sum == 0 + 1 + 2 + 3);
    std::filesystem::remove(path());
  }
}

TEST_CASE_METHOD(EmbeddedHarness, "embedded store: the last close leaves the plain image, or says why not") {
  {
    const auto writer = open();
    const auto reader = open(Access::read);
    writer->grow(1);
    writer->write(0, filled(100, 1));
    writer->flush();
    writer->close();
    // The store is still the reader's; the lease is free.
    CHECK(log_is_there());
    CHECK(open()->pages() == 1);
    CHECK(read(*reader, 0, 100) == filled(100, 1));
    reader->close();
    CHECK_FALSE(log_is_there());
  }
  auto writer = open();
  writer->write(0, filled(100, 2));
  writer->flush();
  // The image can't be synced, so the log has to stay.
  files.fail(Call::sync_data, EIO);
  files.fail(Call::sync, EIO);
  check_error(thrown_by([&] { writer->close(); }), Errc::provider_error, {"close", path(), "the log stays at"});
  files.heal(Call::sync_data);
  files.heal(Call::sync);
  CHECK(errc_of([&] { (void)writer->stat(); }) == Errc::invalid_argument);
  CHECK_NOTHROW(writer->close());
  CHECK(log_is_there());
  // While the closed session is still there.
  const auto again = open();
  CHECK(read(*again, 0, 100) == filled(100, 2));
}

}  // namespace pageserver::test
