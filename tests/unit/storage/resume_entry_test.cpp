// Which writer may go on after the store was opened anew, and which may not.
#include "storage/engine/recovery.hpp"
#include "storage/image/image_lifecycle.hpp"
#include "storage/log/resume_file.hpp"
#include "tests/support/errors.hpp"
#include "tests/unit/storage/engine_test.hpp"

namespace pageserver::test {
namespace {

using storage::ResumeEntry;

ResumeEntry entry_of(unsigned char token, std::uint64_t request_id) {
  ResumeEntry entry;
  entry.token_hash.fill(static_cast<std::byte>(token));
  entry.owner = 7;
  entry.last_request_id = request_id;
  return entry;
}

class Remembering : public EngineHarness {
public:
  /// A write that remembers it.
  void write(storage::StoreSession& session, const ResumeEntry& entry, int value = 1) {
    session.remember(&entry);
    session.write(0, filled(100, value));
  }
  std::unique_ptr<storage::StoreSession> claim(const ResumeEntry& entry) {
    auto request = session_request(Access::write, "again");
    request.claim = std::make_shared<const ResumeEntry>(entry);
    return open_now(store(), request);
  }
  bool has_file() const { return std::filesystem::exists(path() + ".resume.0000000001"); }
};

}  // namespace

TEST_CASE("a killed store knows the writer that published last, until it or another one comes") {
  Remembering world;
  world.open();
  CHECK_FALSE(world.store().resumable());
  {
    const auto session = world.writer();
    session->grow(1);
    world.write(*session, entry_of(1, 5));
    const ResumeEntry next = entry_of(1, 6);
    session->remember(&next);  // and nothing is published with it
    world.kill();
  }
  const ResumeEntry known = entry_of(1, 5);
  {
    const auto report = storage::inspect_log(storage::posix_file_system(), world.path());
    CHECK(report.resumable == known);
  }
  // Again and again, also where nobody comes.
  for (int times = 0; times < 3; ++times) {
    world.open();
    CHECK(world.store().resumable() == known);
    CHECK(world.has_file());
    times == 1 ? world.close() : world.kill();
  }
  world.open();
  SECTION("it comes") {
    CHECK(errc_of([&] { world.claim(entry_of(1, 6)); }) == Errc::not_found);
    const auto session = world.claim(known);
    CHECK_FALSE(world.store().resumable());
    // Killed before it says so itself, it may come once more.
    world.kill();
    world.open();
    CHECK(world.store().resumable() == known);
    const auto again = world.claim(known);
    again->remember(&known);
    again->publish_remembered();
    CHECK(errc_of([&] { world.claim(known); }) == Errc::not_found);
  }
  SECTION("another one comes and changes nothing") {
    world.writer().reset();
    CHECK_FALSE(world.store().resumable());
    CHECK_FALSE(world.has_file());
    CHECK(errc_of([&] { world.claim(known); }) == Errc::not_found);
    world.kill();
    world.open();
    CHECK_FALSE(world.store().resumable());
  }
  SECTION("another one comes and publishes") {
    const auto other = world.writer();
    other->write(0, filled(10, 3));
    world.kill();
    world.open();
    CHECK_FALSE(world.store().resumable());
    CHECK_FALSE(world.has_file());
  }
  SECTION("readers and forks come") {
    world.reader().reset();
    world.fork().reset();
    CHECK(world.store().resumable() == known);
  }
  SECTION("nobody came for too long") {
    world.store().forget_resumable();
    CHECK_FALSE(world.store().resumable());
    world.close();
    CHECK(world.names() == std::vector<std::string>{"db.img"});
  }
}

TEST_CASE("a clean stop keeps the writer that is to go on, and no other") {
  Remembering world;
  world.open();
  auto session = world.writer();
  session->grow(1);
  world.write(*session, entry_of(1, 5));
  const bool keeps = GENERATE(true, false);
  if (keeps) session->keep_for_reopening();
  session.reset();
  world.close();
  CHECK(world.has_file() == keeps);
  CHECK(world.log_files() == 0);
  world.open();
  CHECK(world.store().resumable().has_value() == keeps);
  if (!keeps) return;
  SECTION("an image that was changed by somebody else is another one") {
    world.kill();
    std::filesystem::last_write_time(world.path(),
                                     std::filesystem::file_time_type::clock::now() + std::chrono::hours(1));
    world.open();
    CHECK_FALSE(world.store().resumable());
    CHECK_FALSE(world.has_file());
  }
  SECTION("one that lost its lease is not kept") {
    session = world.claim(entry_of(1, 5));
    world.write(*session, entry_of(1, 6));
    world.store().break_lease(0, "the test");
    session->keep_for_reopening();
    session.reset();
    world.close();
    CHECK_FALSE(world.has_file());
  }
  SECTION("a removed image takes it along") {
    world.kill();
    const auto folder = storage::Folder::open(storage::posix_file_system(), world.folder.path().string());
    CHECK(storage::remove_image(folder, "db.img", world.path()));
    CHECK(world.names().empty());
  }
}

TEST_CASE("what is remembered is with the last publish, of whichever kind, also when its record has left the log") {
  Remembering world;
  world.options.segment_bytes = 32 << 10;
  world.options.log_bytes = 128 << 10;
  world.open();
  const auto session = world.writer(Publish::on_flush);
  session->grow(2);
  ResumeEntry entry = entry_of(2, 0);
  entry.publish = Publish::on_flush;
  for (std::uint64_t id = 1; id <= 40; ++id) {
    session->write(id * 2000, filled(9000, static_cast<int>(id)));
    entry.last_request_id = id;
    entry.outcomes.assign(id % storage::ResumeEntry::outcomes_max, {id, id, 3});
    session->remember(&entry);
    world.flush(*session);
  }
  world.run_lanes();
  world.kill();
  world.open();
  CHECK(world.store().resumable() == entry);
  CHECK(world.store().pages() == 2);
}

}  // namespace pageserver::test
