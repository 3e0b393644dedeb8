// What stands between the engine and a file system lets every call through.
#include "storage/file/forwarding_file_system.hpp"

#include "tests/support/file_system_walk.hpp"
#include "tests/unit/storage/faulty_file_system.hpp"

namespace pageserver::test {

TEST_CASE("forwarding file system: every call arrives below") {
  CountingFiles below;
  storage::ForwardingFileSystem files{below};
  check_everything_arrives(files, below);
}

TEST_CASE("forwarding file system: every call arrives below the one that makes calls fail") {
  CountingFiles below;
  FaultyFileSystem files{below};
  check_everything_arrives(files, below);
}

}  // namespace pageserver::test
