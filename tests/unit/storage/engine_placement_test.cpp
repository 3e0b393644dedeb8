// Image, log and folder renamed, replaced and put back while the store is open.
#include <filesystem>
#include <fstream>

#include "tests/support/wait.hpp"
#include "tests/unit/storage/engine_test.hpp"

namespace pageserver::test {
namespace {

namespace fs = std::filesystem;

/// Counts no names of files, as some file systems do.
class NamelessFileSystem : public FaultyFileSystem {
public:
  storage::IoResult status(int file, storage::FileStatus& status) override {
    const auto result = FaultyFileSystem::status(file, status);
    status.links = 0;
    return result;
  }
};

/// The image is in a folder of its own, which can be renamed as a whole.
class PlacedHarness : public EngineHarness {
public:
  PlacedHarness() { fs::create_directory(dir()); }
  std::string dir() const { return folder.file("d"); }
  std::string image_path() const { return dir() + "/db.img"; }
  void open_placed(storage::FileSystem& through) {
    placed_.reset();
    ++options.salt;
    placed_ = storage::open_engine(through, image_path(), sync_lane, checkpoint_lane, options);
  }
  std::unique_ptr<storage::StoreSession> placed_writer(Publish publish = Publish::on_write) {
    auto request = session_request(Access::write);
    request.publish = publish;
    return open_now(*placed_, request);
  }
  void check_flush_fails(storage::StoreSession& session, const std::string& text) {
    check_error(thrown_by([&] { flush(session); }), Errc::provider_error, {text, "nothing is durable"});
  }
  void close_placed() {
    placed_->close();
    placed_.reset();
  }
  void kill_placed() { placed_.reset(); }
  storage::Store& placed() { return *placed_; }

  NamelessFileSystem nameless;

private:
  std::unique_ptr<storage::Store> placed_;
};

}  // namespace

TEST_CASE_METHOD(PlacedHarness, "engine: once a renamed image is back, the store goes on and says so") {
  const Publish publish = GENERATE(Publish::on_write, Publish::on_flush);
  open_placed(files);
  auto write = placed_writer(publish);
  write->grow(1);
  write->write(0, filled(10, 1));
  flush(*write);
  write->write(0, filled(10, 2));
  fs::rename(image_path(), dir() + "/away.img");
  check_flush_fails(*write, "was renamed");
  check_flush_fails(*write, "was renamed");
  const auto change = [&] {
    write->write(0, filled(10, 3));
    flush(*write);
  };
  check_error(thrown_by(change), Errc::provider_error, {"was renamed", "nothing more is accepted"});
  CHECK(placed().stat(0).last_sync_error.find("was renamed") != std::string::npos);
  fs::rename(dir() + "/away.img", image_path());
  change();
  CHECK(placed().stat(0).image_warning.find("are where they were again, and flushes go on") != std::string::npos);
  CHECK(placed().stat(0).last_sync_error.empty());
  write->write(10, filled(10, 4));
  flush(*write);
  kill_placed();
  open_placed(files);
  CHECK(read_from(*open_now(placed(), session_request(Access::read)), 0, 20) == [] {
    auto bytes = filled(20, 3);
    std::fill(bytes.begin() + 10, bytes.end(), std::byte{4});
    return bytes;
  }());
}

TEST_CASE_METHOD(PlacedHarness, "engine: another file in the image's place is not the image that is back") {
  open_placed(files);
  const auto write = placed_writer();
  write->grow(1);
  flush(*write);
  fs::rename(image_path(), dir() + "/away.img");
  fs::copy_file(dir() + "/away.img", image_path());
  check_flush_fails(*write, "names another file now");
  fs::remove(image_path());
  fs::rename(dir() + "/away.img", image_path());
  flush(*write);
}

TEST_CASE_METHOD(PlacedHarness, "engine: a flush with nothing new looks where image, log and folder are as well") {
  open_placed(files);
  const auto write = placed_writer();
  write->grow(1);
  flush(*write);
  const auto check = [&](const std::string& from, const std::string& to, const std::string& text) {
    INFO(from);
    flush(*write);
    fs::rename(from, to);
    check_flush_fails(*write, text);
    fs::rename(to, from);
    flush(*write);
  };
  check(image_path(), dir() + "/away.img", "was renamed");
  check(image_path() + ".log.0000000001", dir() + "/away.log", "of its log was removed or replaced");
  // Moved alone it keeps both together.
  fs::rename(dir(), folder.file("moved"));
  flush(*write);
  fs::create_directory(dir());
  check_flush_fails(*write, "was replaced by another one");
  fs::copy_file(folder.file("moved") + "/db.img", image_path());
  check_flush_fails(*write, "was replaced by another one");
  fs::remove_all(dir());
  fs::rename(folder.file("moved"), dir());
  flush(*write);
}

// Names are not looked at while the folder says that none was changed: any change has to end that.
TEST_CASE_METHOD(PlacedHarness, "engine: names are looked at once more after any change in the folder") {
  open_placed(files);
  const auto write = placed_writer();
  write->grow(1);
  flush(*write);
  const auto looks_of_flush = [&] {
    const std::uint64_t before = files.calls(Call::status_of);
    flush(*write);
    return files.calls(Call::status_of) - before;
  };
  std::ofstream{dir() + "/before"} << "of the user";
  const std::uint64_t all = looks_of_flush();
  REQUIRE(all == 3);  // image, log and folder
  // A change of just now proves nothing: clocks of file systems have steps.
  const auto wait_known = [&] { wait_until([&] { return looks_of_flush() == 1; }); };
  wait_known();
  for (const char* const name : {"db.img", "db.img.log.0000000001"}) {
    CAPTURE(name);
    const std::string from = dir() + "/" + name, to = folder.file("away");
    fs::rename(from, to);
    check_flush_fails(*write, "was re");
    fs::copy_file(to, from);
    check_flush_fails(*write, "");
    fs::rename(to, from);
    CHECK(looks_of_flush() == all);
    wait_known();
  }
  std::ofstream{dir() + "/neighbour"} << "of the user";
  CHECK(looks_of_flush() == all);
}

TEST_CASE_METHOD(PlacedHarness, "engine: a sync that fails while the image is away is not forgiven once it is back") {
  options.log_bytes = 64 << 10;
  options.segment_bytes = 64 << 10;
  open_placed(files);
  auto write = placed_writer();
  write->grow(4);
  for (int i = 0; i < 4; ++i) write->write(static_cast<std::uint64_t>(i) * page_size, filled(10'000, i));
  const auto flushing = start_flush(*write);
  fs::rename(image_path(), dir() + "/away.img");
  while (sync_lane.run_one()) {
  }
  REQUIRE(flushing->calls == 1);
  REQUIRE(flushing->error);
  files.fail(Call::sync, EIO, 0, 1);
  run_lanes();
  CHECK(placed().stat(0).last_sync_error.find("EIO") != std::string::npos);
  fs::rename(dir() + "/away.img", image_path());
  check_error(thrown_by([&] { flush(*write); }), Errc::provider_error, {"EIO", "restart"});
  write.reset();
  check_error(thrown_by([&] { placed().close(); }), Errc::provider_error, {"EIO", "db.img.log.0000000001"});
}

TEST_CASE_METHOD(PlacedHarness, "engine: where a file system counts no names, an image that has its own is there") {
  open_placed(nameless);
  auto write = placed_writer();
  write->grow(2);
  write->write(0, filled(10, 1));
  flush(*write);
  CHECK(placed().stat(0).image_warning.empty());
  SECTION("it is closed as always") {
    write.reset();
    close_placed();
    CHECK(names() == std::vector<std::string>{"d"});
    CHECK(fs::file_size(image_path()) == 2 * page_size);
  }
  SECTION("it is missed all the same") {
    fs::remove(image_path());
    check_flush_fails(*write, "was removed");
    write.reset();
    check_error(thrown_by([&] { placed().close(); }), Errc::provider_error, {"was removed or replaced"});
  }
}

}  // namespace pageserver::test
