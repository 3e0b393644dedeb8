// The C interface against daemons that lie: a clear error, and never a wrong byte.
#include "tests/support/catch.hpp"

#include <string>

#include <pageserver/pageserver.h>

#include "tests/support/c_handles.hpp"
#include "tests/unit/client/lies.hpp"

using namespace pageserver;
using namespace pageserver::test;

namespace {

constexpr std::uint64_t page = PS_PAGE_BYTES;

/// Each call until one fails; its code.
class Tour {
public:
  explicit Tour(ps_error& error) : error_{error} {}

  int run(ps_session* session, bool reader) {
    reads(session, 100, 8) && reads(session, page - 150, 300) && (reader || changes(session)) &&
        describes(session, reader) && (reader || ok(ps_session_write(session, 2 * page + 128, "more", 4, &error_))) &&
        ok(ps_session_flush(session, &error_)) && (reader || ok(ps_session_discard(session, &error_))) &&
        reads(session, 0, 8);
    return code_;
  }

private:
  bool ok(int code) {
    code_ = code;
    return code == PS_OK;
  }

  bool reads(ps_session* session, std::uint64_t offset, std::size_t length) {
    std::string seen(length, '\0');
    if (!ok(ps_session_read(session, offset, seen.data(), length, &error_))) return false;
    for (std::size_t i = 0; i < length; ++i) REQUIRE(static_cast<std::byte>(seen[i]) == lie_byte_at(offset + i));
    return true;
  }

  bool changes(ps_session* session) {
    std::uint64_t before = 0;
    std::string seen(8, '\0');
    if (!ok(ps_session_write(session, 2 * page, "private", 7, &error_)) ||
        !ok(ps_session_grow(session, 1, &before, &error_)))
      return false;
    REQUIRE(before == lie_pages);
    if (!ok(ps_session_read(session, 2 * page - 4, seen.data(), 8, &error_))) return false;
    REQUIRE(static_cast<std::byte>(seen[3]) == lie_byte_at(2 * page - 1));
    REQUIRE(seen.substr(4) == "priv");
    return ok(ps_session_zero(session, 2 * page + 50, 20, &error_));
  }

  bool describes(ps_session* session, bool reader) {
    const ps_ranges* ranges = nullptr;
    const ps_stat* stat = nullptr;
    const ps_refreshed* refreshed = nullptr;
    const bool all = ok(ps_session_data_ranges(session, 0, page, &ranges, &error_)) &&
                     ok(ps_session_stat(session, &stat, &error_)) &&
                     (!reader || ok(ps_session_refresh(session, &refreshed, &error_)));
    ps_ranges_free(ranges);
    ps_stat_free(stat);
    ps_refreshed_free(refreshed);
    return all;
  }

  ps_error& error_;
  int code_ = PS_OK;
};

}  // namespace

TEST_CASE("C: each lie of a daemon is a clear error, and never a wrong byte") {
  for (const auto& lie : all_lies()) {
    INFO(lie.name << " (" << lie.query << ")");
    FakeDaemon daemon{lie.serve};
    ps_error error = no_error();
    int code = PS_OK;
    CSession session;
    if (lie.query == "list") {
      const auto uri = "pageserver://127.0.0.1:" + std::to_string(daemon.port());
      const auto connection = c_daemon(uri);
      const ps_stores* stores = nullptr;
      code = ps_daemon_list(connection.get(), &stores, &error);
      ps_stores_free(stores);
    } else {
      ps_session* raw = nullptr;
      code = ps_session_open(daemon.uri(lie.query + "&poll_us=0").c_str(), nullptr, &raw, &error);
      session.reset(raw);
      if (code == PS_OK) code = Tour{error}.run(raw, lie.query.find("access=read") != std::string::npos);
    }
    INFO(error.text);
    CHECK(std::string{ps_code_name(code)} == (lie.expected ? to_string(*lie.expected) : "ok"));
    if (code == PS_OK) continue;
    CHECK(error.code == code);
    CHECK(std::string{error.text}.find(lie.text) != std::string::npos);
    const bool ends =
        code == PS_PROTOCOL_ERROR || code == PS_CONNECTION_LOST || code == PS_TIMED_OUT || code == PS_LEASE_LOST;
    if (!ends || !session) continue;
    char byte = 0;
    for (int i = 0; i < 2; ++i) {
      ps_error again = no_error();
      CHECK(ps_session_read(session.get(), 0, &byte, 1, &again) == code);
      CHECK(std::string{again.text} == error.text);
    }
  }
}
