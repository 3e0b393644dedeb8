#include "storage/engine/last_session.hpp"

#include <cerrno>
#include <filesystem>
#include <optional>

#include "storage/file/forwarding_file_system.hpp"
#include "storage/log/resume_file.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/temp_dir.hpp"

namespace pageserver::test {
namespace {

using storage::EntryBytes;
using storage::FileSystem;
using storage::ImageFile;
using storage::IoResult;
using storage::LastSession;
using storage::ResumeEntry;
using storage::ServedImage;

/// Fails what would make or remove a name.
class FullDisk final : public storage::ForwardingFileSystem {
public:
  FullDisk() : ForwardingFileSystem(storage::posix_file_system()) {}
  IoResult open_beneath(int directory, const std::string& name, int flags, std::uint32_t mode) override {
    if (full && name.find(".resume.") != std::string::npos) return IoResult{-1, ENOSPC};
    return below().open_beneath(directory, name, flags, mode);
  }
  IoResult remove_beneath(int directory, const std::string& name) override {
    return stuck ? IoResult{-1, EIO} : below().remove_beneath(directory, name);
  }

  bool full = false;
  bool stuck = false;
};

EntryBytes entry_of(unsigned char token) {
  ResumeEntry entry;
  entry.token_hash.fill(static_cast<std::byte>(token));
  entry.last_request_id = token;
  return storage::encode_entry(entry);
}

struct World {
  World() : image{ImageFile::open(files, (dir.path() / "a.img").string(), {})} {}

  EntryBytes in_file() const { return storage::read_resume_file(image.folder(), image.name(), image->file().status()); }
  bool has_file() const { return storage::has_resume_file(image.folder(), image.name()); }
  void make_file(const EntryBytes& entry) const {
    storage::write_resume_file(image.folder(), image.name(), entry, image->file().status(), 0600);
  }

  TempDir dir;
  FullDisk files;
  ServedImage image;
};

}  // namespace

TEST_CASE("last session: only the one that was found may claim to be it, until it is forgotten") {
  const World world;
  LastSession last{world.image, 0600, entry_of(1)};
  REQUIRE(last.resumable());
  CHECK(last.resumable()->last_request_id == 1);
  CHECK(last.is(entry_of(1)));
  CHECK_FALSE(last.is(entry_of(2)));
  CHECK_FALSE(last.is(EntryBytes{}));
  last.forget();
  CHECK_FALSE(last.resumable());
  CHECK_FALSE(last.is(entry_of(1)));
  CHECK_FALSE(last.is(EntryBytes{}));
}

TEST_CASE("last session: a close leaves the log's last entry for the next opening where that was asked for") {
  const World world;
  LastSession last{world.image, 0600, {}};
  last.leave_file(entry_of(1));
  CHECK_FALSE(world.has_file());
  last.keep(true);
  CHECK(last.is_kept());
  last.leave_file(entry_of(1));
  CHECK(world.in_file() == entry_of(1));
}

TEST_CASE("last session: a file stays as long as its session may go on, and goes with the close after that") {
  const World world;
  world.make_file(entry_of(1));
  LastSession last{world.image, 0600, entry_of(1)};
  last.leave_file(entry_of(2));
  CHECK(world.in_file() == entry_of(1));
  last.forget();
  last.leave_file(entry_of(2));
  CHECK_FALSE(world.has_file());
}

TEST_CASE("last session: one that is kept without a record of its own is none") {
  const World world;
  world.make_file(entry_of(1));
  LastSession last{world.image, 0600, entry_of(1)};
  last.forget();
  last.keep(true);
  last.leave_file(EntryBytes{});
  CHECK_FALSE(world.has_file());
}

TEST_CASE("last session: a full disk costs the session, and not the close") {
  World world;
  LastSession last{world.image, 0600, {}};
  last.keep(true);
  world.files.full = true;
  CHECK_NOTHROW(last.leave_file(entry_of(1)));
  CHECK_FALSE(world.has_file());
}

TEST_CASE("last session: a file that could not be dropped is removed by the close") {
  World world;
  world.make_file(entry_of(1));
  LastSession last{world.image, 0600, entry_of(1)};
  last.forget();
  world.files.stuck = true;
  last.drop_file();
  CHECK(world.has_file());
  CHECK(errc_of([&] { last.leave_file({}); }) == Errc::provider_error);
  world.files.stuck = false;
  SECTION("by the close") { last.leave_file({}); }
  SECTION("by another writer") { last.drop_file(); }
  CHECK_FALSE(world.has_file());
}

}  // namespace pageserver::test
