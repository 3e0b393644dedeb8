// The C++ library against daemons that lie.
#include "tests/support/catch.hpp"

#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <pageserver/daemon.hpp>
#include <pageserver/open.hpp>

#include "tests/unit/client/lies.hpp"

using namespace pageserver;
using namespace pageserver::test;

namespace {

void expect_bytes(Session& session, std::uint64_t offset, std::size_t length) {
  std::vector<std::byte> seen(length);
  session.read(offset, seen);
  for (std::size_t i = 0; i < length; ++i) REQUIRE(seen[i] == lie_byte_at(offset + i));
}

void all_that_a_session_does(Session& session, bool reader) {
  const auto written = std::as_bytes(std::span{"private", 7});
  expect_bytes(session, 100, 8);
  expect_bytes(session, page_size - 150, 300);
  if (!reader) {
    session.write(2 * page_size, written);
    const auto before = session.grow(1);
    REQUIRE(before == lie_pages);
    std::vector<std::byte> seen(8);
    session.read(2 * page_size - 4, seen);
    REQUIRE(seen[3] == lie_byte_at(2 * page_size - 1));
    REQUIRE(std::memcmp(seen.data() + 4, written.data(), 4) == 0);
    session.zero(2 * page_size + 50, 20);
  }
  (void)session.data_ranges(0, page_size);
  session.stat();
  if (reader)
    session.refresh();
  else
    session.write(2 * page_size + 128, written.first(4));
  session.flush();
  if (!reader) session.discard();
  expect_bytes(session, 0, 8);
}

}  // namespace

TEST_CASE("C++: each lie of a daemon is a clear error, and never a wrong byte") {
  for (const auto& lie : all_lies()) {
    INFO(lie.name << " (" << lie.query << ")");
    FakeDaemon daemon{lie.serve};
    std::optional<MemoryError> failed;
    std::unique_ptr<Session> session;
    try {
      if (lie.query == "list") {
        (void)pageserver::Daemon{"pageserver://127.0.0.1:" + std::to_string(daemon.port())}.list();
        CHECK_FALSE(lie.expected);
        continue;
      }
      session = open_session(daemon.uri(lie.query + "&poll_us=0"));
      all_that_a_session_does(*session, lie.query.find("access=read") != std::string::npos);
    } catch (const MemoryError& error) {
      failed = error;
    }
    CHECK(failed.has_value() == lie.expected.has_value());
    if (!failed || !lie.expected) continue;
    INFO(failed->what());
    CHECK(failed->code() == *lie.expected);
    CHECK(std::string{failed->what()}.find(lie.text) != std::string::npos);
    const bool ends = *lie.expected == Errc::protocol_error || *lie.expected == Errc::connection_lost ||
                      *lie.expected == Errc::timed_out || *lie.expected == Errc::lease_lost;
    if (!ends || !session) continue;
    std::byte byte{};
    for (int i = 0; i < 2; ++i) {
      try {
        session->read(0, {&byte, 1});
        FAIL_CHECK("a session that ended reads on");
      } catch (const MemoryError& again) {
        CHECK(again.code() == failed->code());
        CHECK(std::string{again.what()} == failed->what());
      }
    }
  }
}
