#include "tests/unit/storage/engine_test.hpp"

namespace pageserver::test {

TEST_CASE_METHOD(EngineHarness, "log: after a segment that could not be made, nothing goes into the one before it") {
  options.segment_bytes = 32 * 1024;
  open();
  {
    const auto session = writer();
    session->grow(2);
    session->write(0, bytes_of("before"));
    // The next segment gets its header, but not its record; and its removal fails as well, so that it stays.
    files.fail(Call::write, ENOSPC, 1, 1);
    files.fail(Call::remove, EIO, 0, 1);
    check_error(thrown_by([&] { session->write(page_size, filled(40'000, 7)); }), Errc::no_space, {});
    REQUIRE(std::filesystem::exists(log(2)));
    files.heal(Call::write);
    files.heal(Call::remove);
    session->write(10, bytes_of("after"));
    flush(*session);
  }
  kill();
  open();
  const auto found = reader();
  CHECK(read_from(*found, 0, 6) == bytes_of("before"));
  CHECK(read_from(*found, 10, 5) == bytes_of("after"));
  CHECK(read_from(*found, page_size, 40'000) == filled(40'000, 0));
}

}  // namespace pageserver::test
