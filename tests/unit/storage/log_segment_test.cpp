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

TEST_CASE_METHOD(EngineHarness, "log: a record that is written in parts comes back whole, whatever its length") {
  const std::size_t length = (16u << 20) + GENERATE(std::size_t{0}, std::size_t{1}, std::size_t{7});
  open();
  auto bytes = filled(length, 5);
  bytes.front() = bytes.back() = std::byte{6};
  const auto session = writer();
  session->grow(257);
  session->write(1, bytes);
  session->write(0, bytes_of("after"));
  kill();
  open();
  std::copy_n(bytes_of("after").begin() + 1, 4, bytes.begin());
  CHECK((read_from(*reader(), 1, length) == bytes));
}

}  // namespace pageserver::test
