// What a folder's change time proves about the names in it.
#include "storage/engine/names_look.hpp"

#include "storage/file/forwarding_file_system.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/storage/storage_test.hpp"

namespace pageserver::test {
namespace {

using storage::FileStatus;
using storage::FileSystem;
using storage::Folder;
using storage::IoResult;
using storage::NamesLook;
using storage::posix_file_system;

/// The folder's change time and the clock that it comes from are the test's.
class TimedFiles final : public storage::ForwardingFileSystem {
public:
  TimedFiles() : ForwardingFileSystem(posix_file_system()) {}
  IoResult status(int file, FileStatus& status) override {
    const IoResult found = below().status(file, status);
    status.changed_ns = changed_ns;
    return found;
  }
  std::int64_t file_clock_ns() noexcept override { return clock_ns; }

  std::int64_t changed_ns = 0;
  std::int64_t clock_ns = 0;
};

constexpr std::int64_t ms = 1'000'000;
constexpr std::int64_t day = 86'400'000 * ms;  // a whole second, too

}  // namespace

TEST_CASE("names are known once the clock of their folder's time has gone on, and until that time is another one") {
  const TempDir dir;
  TimedFiles files;
  NamesLook names{Folder::open(files, dir.path().string())};
  files.changed_ns = day + 3 * ms;
  files.clock_ns = day + 3 * ms;
  CHECK(names.now() == 0);
  CHECK_FALSE(names.is_known(names.now()));
  names.found_in_place(names.now());
  CHECK_FALSE(names.is_known(names.now()));  // a change of right now could have left the same time
  files.clock_ns += 4 * ms;
  const std::int64_t moment = names.now();
  CHECK(moment == files.changed_ns);
  CHECK_FALSE(names.is_known(moment));
  names.found_in_place(moment);
  CHECK(names.is_known(names.now()));
  files.changed_ns = files.clock_ns;
  CHECK_FALSE(names.is_known(names.now()));
  files.clock_ns += 4 * ms;
  CHECK_FALSE(names.is_known(names.now()));
  names.found_in_place(names.now());
  names.forget();
  CHECK_FALSE(names.is_known(names.now()));
}

TEST_CASE("a folder's time of a whole second may be of any moment in that second, or in the next one") {
  const TempDir dir;
  TimedFiles files;
  const NamesLook names{Folder::open(files, dir.path().string())};
  files.changed_ns = day;
  for (const std::int64_t later : {0 * ms, 4 * ms, 999 * ms, 2000 * ms}) {
    files.clock_ns = day + later;
    CHECK(names.now() == 0);
  }
  files.clock_ns = day + 2000 * ms + 1;
  CHECK(names.now() == day);
}

TEST_CASE("the clock of files is never ahead of what a file that is changed then gets") {
  const TempDir dir;
  FileSystem& files = posix_file_system();
  const Folder folder = Folder::open(files, dir.path().string());
  for (int i = 0; i < 200; ++i) {
    const std::int64_t before = files.file_clock_ns();
    folder.create_file("a", 0600, "create");
    FileStatus status;
    REQUIRE(files.status(folder.descriptor(), status).ok());
    CHECK(status.changed_ns >= before);
    folder.remove("a");
  }
}

}  // namespace pageserver::test
