// The C interface: errors, options, sessions and daemons. What a session does is in the tests of the C++ library.
#include "tests/support/catch.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include <pageserver/pageserver.h>

#include "tests/daemon/child.hpp"
#include "tests/support/c_handles.hpp"
#include "tests/support/daemon.hpp"

using namespace pageserver::test;

namespace {

constexpr std::uint64_t page = PS_PAGE_BYTES;

/// Checks a code and that the text has a part.
void check_refused(int code, const ps_error& error, int expected, const std::string& part) {
  INFO(error.text);
  CHECK(std::string{ps_code_name(code)} == ps_code_name(expected));
  CHECK(error.code == code);
  CHECK(std::string{error.text}.find(part) != std::string::npos);
}

int opened(const std::string& uri, const ps_options* options, ps_error& error) {
  ps_session* session = nullptr;
  const int code = ps_session_open(uri.c_str(), options, &session, &error);
  CHECK((session != nullptr) == (code == PS_OK));
  ps_session_close(session);
  return code;
}

ps_options options() {
  ps_options all{};
  all.size = sizeof all;
  return all;
}

std::string read_text(ps_session* session, std::uint64_t offset, std::size_t length) {
  std::string text(length, '?');
  CHECK(ps_session_read(session, offset, text.data(), length, nullptr) == PS_OK);
  return text;
}

void write_text(ps_session* session, std::uint64_t offset, const std::string& text) {
  CHECK(ps_session_write(session, offset, text.data(), text.size(), nullptr) == PS_OK);
}

}  // namespace

TEST_CASE("C: the library tells its version, and the header the same") {
  CHECK(std::string{ps_version()} == PS_VERSION);
  int major = 0, minor = 0, patch = 0;
  REQUIRE(std::sscanf(ps_version(), "%d.%d.%d", &major, &minor, &patch) == 3);
  CHECK(PS_VERSION_NUMBER == major * 1'000'000 + minor * 1'000 + patch);
}

TEST_CASE("C: a commit publishes nothing behind a refused change, and is for sessions only") {
  Daemon daemon{{"--store", "demo={dir}/demo.img"}};
  const auto writer = c_session(daemon.unix_uri("demo", "publish=on_flush"));
  const auto reader = c_session(daemon.unix_uri("demo", "access=read"));
  std::uint64_t pages = 0;
  CHECK(ps_session_grow(writer.get(), 1, nullptr, nullptr) == PS_OK);
  CHECK(ps_session_write(writer.get(), 1u << 30, "x", 1, nullptr) == PS_OUT_OF_BOUNDS);
  ps_error error = no_error();
  check_refused(ps_session_commit(writer.get(), &error), error, PS_INVALID_ARGUMENT, "a write was refused");
  CHECK(ps_session_pages(reader.get(), &pages, nullptr) == PS_OK);
  CHECK(pages == 0);
  CHECK(ps_session_discard(writer.get(), nullptr) == PS_OK);
  CHECK(ps_session_grow(writer.get(), 2, nullptr, nullptr) == PS_OK);
  CHECK(ps_session_commit(writer.get(), nullptr) == PS_OK);
  CHECK(ps_session_pages(reader.get(), &pages, nullptr) == PS_OK);
  CHECK(pages == 2);
  const auto heap = c_session("heap:");
  CHECK(ps_session_commit(heap.get(), nullptr) == PS_UNSUPPORTED);
}

TEST_CASE("C: each code has a name, and an unknown one too") {
  CHECK(std::string{ps_code_name(PS_OK)} == "ok");
  CHECK(std::string{ps_code_name(PS_OUT_OF_BOUNDS)} == "out_of_bounds");
  CHECK(std::string{ps_code_name(PS_DAMAGED)} == "damaged");
  CHECK(std::string{ps_code_name(PS_NO_MEMORY)} == "no_memory");
  for (const int code : {-1, 18, 999, 1'000'000}) CHECK(std::strlen(ps_code_name(code)) > 0);
}

TEST_CASE("C: an error goes into the caller's struct, as far as that reaches, and success leaves it alone") {
  const auto session = c_session("heap:");
  ps_error error = no_error();
  CHECK(ps_session_grow(session.get(), 1, nullptr, &error) == PS_OK);
  CHECK(error.code == 0);
  CHECK(error.text[0] == '\0');
  std::array<char, 9> bytes{};
  const int code = ps_session_read(session.get(), 70'000, bytes.data(), bytes.size(), &error);
  check_refused(code, error, PS_OUT_OF_BOUNDS, "read offset=70000 length=9 exceeds size=65536");
  const std::string text = error.text;
  CHECK(ps_session_read(session.get(), 0, bytes.data(), bytes.size(), &error) == PS_OK);
  CHECK(error.text == text);
  CHECK(ps_session_read(session.get(), 70'000, bytes.data(), bytes.size(), nullptr) == PS_OUT_OF_BOUNDS);

  // A caller that knows less of the struct, or more.
  ps_error smaller = no_error();
  std::memset(smaller.text, '#', sizeof smaller.text);
  for (const std::size_t room : {0u, 1u, 5u}) {
    smaller.size = offsetof(ps_error, text) + room;
    CHECK(ps_session_read(session.get(), 70'000, bytes.data(), bytes.size(), &smaller) == PS_OUT_OF_BOUNDS);
    CHECK(smaller.code == PS_OUT_OF_BOUNDS);
    if (room != 0) CHECK(std::string{smaller.text} == text.substr(0, room - 1));
    CHECK(smaller.text[room] == '#');
  }
  struct Longer {
    ps_error error;
    char more[2000];
  } longer{};
  longer.error.size = sizeof longer;
  const std::string long_path = "/" + std::string(1500, 'x');
  ps_session* none = nullptr;
  CHECK(ps_session_open(long_path.c_str(), nullptr, &none, &longer.error) != PS_OK);
  CHECK(std::strlen(reinterpret_cast<const char*>(&longer) + offsetof(ps_error, text)) > 1500);
}

TEST_CASE("C: a text that is too long is cut at a character's end") {
  std::string name;
  for (int i = 0; i < 800; ++i) name += "\xc3\xa4";  // two bytes each
  for (const std::string before : {"", "x"}) {
    ps_error error = no_error();
    ps_session* session = nullptr;
    CHECK(ps_session_open(("nothing:" + before + name).c_str(), nullptr, &session, &error) == PS_INVALID_ARGUMENT);
    const std::string text = error.text;
    CHECK(text.size() >= sizeof error.text - 2);
    std::size_t continued = 0, leading = 0;
    for (const char each : text) {
      continued += (static_cast<unsigned char>(each) & 0xc0u) == 0x80u;
      leading += static_cast<unsigned char>(each) == 0xc3u;
    }
    CHECK(continued == leading);
  }
}

TEST_CASE("C: a NULL that may not be one is invalid_argument that names it") {
  const auto session = c_session("heap:");
  CHECK(ps_session_grow(session.get(), 1, nullptr, nullptr) == PS_OK);
  ps_error error = no_error();
  check_refused(ps_session_open(nullptr, nullptr, nullptr, &error), error, PS_INVALID_ARGUMENT, "session is NULL");
  ps_session* other = nullptr;
  check_refused(ps_session_open(nullptr, nullptr, &other, &error), error, PS_INVALID_ARGUMENT, "uri is NULL");
  check_refused(ps_session_pages(nullptr, nullptr, &error), error, PS_INVALID_ARGUMENT,
                "ps_session_pages: session is NULL");
  check_refused(ps_session_pages(session.get(), nullptr, &error), error, PS_INVALID_ARGUMENT, "pages is NULL");
  check_refused(ps_session_read(session.get(), 0, nullptr, 1, &error), error, PS_INVALID_ARGUMENT, "buffer is NULL");
  check_refused(ps_session_write(session.get(), 0, nullptr, 1, &error), error, PS_INVALID_ARGUMENT, "data is NULL");
  CHECK(ps_session_read(session.get(), 0, nullptr, 0, &error) == PS_OK);
  CHECK(ps_session_write(session.get(), 0, nullptr, 0, &error) == PS_OK);
  check_refused(ps_daemon_list(nullptr, nullptr, &error), error, PS_INVALID_ARGUMENT, "daemon is NULL");
  check_refused(ps_async_dispatch(nullptr, nullptr, &error), error, PS_INVALID_ARGUMENT, "async is NULL");
  // Nothing to close or free.
  ps_session_close(nullptr);
  ps_daemon_close(nullptr);
  ps_async_close(nullptr);
  ps_stat_free(nullptr);
  ps_ranges_free(nullptr);
  ps_refreshed_free(nullptr);
  ps_holder_free(nullptr);
  ps_stores_free(nullptr);
  ps_daemon_info_free(nullptr);
}

TEST_CASE("C: a plain image has no session, and says what has one") {
  const auto session = c_session("heap:");
  ps_error error = no_error();
  const ps_stat* stat = nullptr;
  check_refused(ps_session_stat(session.get(), &stat, &error), error, PS_UNSUPPORTED,
                "ps_session_stat: a plain file or heap image has no sessions");
  CHECK(stat == nullptr);
  ps_traffic traffic{};
  traffic.size = sizeof traffic;
  check_refused(ps_session_traffic(session.get(), &traffic, &error), error, PS_UNSUPPORTED, "without a daemon");
  TempDir dir;
  const auto embedded = c_session("store:" + dir.file("own.img"));
  CHECK(ps_session_stat(embedded.get(), &stat, &error) == PS_OK);
  CHECK(CStat { stat } -> sessions_write == 1);
}

TEST_CASE("C: options win over the URI, and what its scheme does not know is refused") {
  TempDir dir;
  const auto path = dir.file("plain.img");
  ps_error error = no_error();
  auto reader = options();
  reader.access = PS_ACCESS_READ;
  check_refused(opened(path, &reader, error), error, PS_NOT_FOUND, "plain.img");
  CHECK(opened(path, nullptr, error) == PS_OK);
  CHECK(opened(path, &reader, error) == PS_OK);

  const auto refused = [&](const std::string& uri, auto change, const std::string& part) {
    auto all = options();
    change(all);
    INFO(uri << " " << part);
    check_refused(opened(uri, &all, error), error, PS_INVALID_ARGUMENT, part);
  };
  refused(
      "heap:", [](auto& all) { all.access = PS_ACCESS_READ; }, "access is nothing that this URI's scheme knows");
  refused(
      path, [](auto& all) { all.access = PS_ACCESS_FORK; }, "access=fork is not for a plain file");
  refused(
      path, [](auto& all) { all.view = PS_VIEW_LIVE; }, "view");
  refused(
      path, [](auto& all) { all.cache_bytes = 1; }, "cache_bytes");
  refused(
      path, [](auto& all) { all.client_name = "me"; }, "client_name");
  refused(
      "store:" + path, [](auto& all) { all.connect_timeout_ms = 1; }, "connect_timeout_ms");
  refused(
      "store:" + path, [](auto& all) { all.access = 4; }, "access=4 has no meaning; expected 1 to 3");
  refused(
      "store:" + path, [](auto& all) { all.publish = -1; }, "publish=-1");
  refused(
      "store:" + path, [](auto& all) { all.view = PS_VIEW_PINNED; }, "view=pinned is for access=read only");
  refused(
      "store:" + path + "?publish=on_flush", [](auto& all) { all.access = PS_ACCESS_READ; }, "access=write only");
  const std::string remote = "pageserver://127.0.0.1:1/demo";
  refused(
      remote, [](auto& all) { all.poll_us = 1001; }, "poll_us=1001 is not from -1 (off) to 1000");
  refused(
      remote, [](auto& all) { all.request_timeout_ms = -2; }, "request_timeout_ms=-2 is below -1");
  refused(
      remote, [](auto& all) { all.name = "a\nb"; }, "name is not");
  refused(
      remote, [](auto& all) { all.size = 4; }, "size=4");

  // A caller of an earlier header, which had less in it.
  auto shorter = options();
  shorter.size = offsetof(ps_options, view);
  shorter.access = PS_ACCESS_READ;
  shorter.view = 77;
  CHECK(opened(path, &shorter, error) == PS_OK);
}

TEST_CASE("C: a session has all that the daemon's sessions have") {
  Daemon daemon{{"--store", "demo={dir}/demo.img"}};
  auto all = options();
  all.publish = PS_PUBLISH_ON_FLUSH;
  all.name = "from C";
  all.client_name = "c_test 1";
  all.connect_timeout_ms = 20'000;
  all.request_timeout_ms = PS_NO_TIMEOUT;
  all.cache_bytes = 1u << 20;
  auto writer = c_session(daemon.unix_uri("demo"), &all);
  ps_session* const w = writer.get();
  std::uint64_t before = 77, pages = 0, bytes = 0;
  CHECK(ps_session_grow(w, 4, &before, nullptr) == PS_OK);
  CHECK(before == 0);
  write_text(w, 70'000, "first");
  CHECK(ps_session_flush(w, nullptr) == PS_OK);
  CHECK(ps_session_pages(w, &pages, nullptr) == PS_OK);
  CHECK(ps_session_size(w, &bytes, nullptr) == PS_OK);
  CHECK(pages == 4);
  CHECK(bytes == 4 * page);

  SECTION("busy says who, and a line is waited in for so long") {
    ps_error error = no_error();
    check_refused(opened(daemon.unix_uri("demo"), nullptr, error), error, PS_BUSY, "from C");
    auto waits = options();
    waits.wait_ms = 30'000;
    std::thread next{[&] {
      ps_session* session = nullptr;
      CHECK_NOTHROW(ps_session_open(daemon.unix_uri("demo").c_str(), &waits, &session, nullptr) == PS_OK);
      ps_session_close(session);
    }};
    const auto observer = c_session(daemon.unix_uri("demo", "access=read"));
    for (std::uint64_t waiting = 0; waiting == 0;) {
      const ps_stat* stat = nullptr;
      REQUIRE(ps_session_stat(observer.get(), &stat, nullptr) == PS_OK);
      waiting = CStat { stat } -> writers_waiting;
    }
    writer.reset();
    next.join();
  }

  SECTION("a report has the writer and those who hold a version") {
    auto pinned = c_session(daemon.unix_uri("demo", "access=read&view=pinned&name=holder"));
    const ps_stat* found = nullptr;
    REQUIRE(ps_session_stat(w, &found, nullptr) == PS_OK);
    // It outlives all sessions.
    writer.reset();
    pinned.reset();
    const CStat stat{found};
    CHECK(stat->size == sizeof(ps_stat));
    CHECK(std::string{stat->store} == "demo");
    CHECK(stat->pages == 4);
    REQUIRE(stat->writer != nullptr);
    CHECK(std::string{stat->writer->name} == "from C");
    CHECK(stat->writer->access == PS_ACCESS_WRITE);
    CHECK(stat->writer->publish == PS_PUBLISH_ON_FLUSH);
    CHECK(stat->writer->epoch != 0);
    REQUIRE(stat->oldest_holder != nullptr);
    CHECK(std::string{stat->oldest_holder->name} == "holder");
    CHECK(stat->oldest_holder->view == PS_VIEW_PINNED);
    CHECK(std::string{stat->last_sync_error}.empty());
  }

  SECTION("a pin moves at refresh and says what changed; a fork is its own; discard goes back") {
    const auto pinned = c_session(daemon.unix_uri("demo", "access=read&view=pinned"));
    const auto fork = c_session(daemon.unix_uri("demo", "access=fork"));
    ps_image_version at_first{}, later{};
    CHECK(ps_session_version(pinned.get(), &at_first, nullptr) == PS_OK);
    write_text(w, 70'000, "other");
    CHECK(ps_session_zero(w, 3 * page, page, nullptr) == PS_OK);
    CHECK(ps_session_flush(w, nullptr) == PS_OK);
    write_text(fork.get(), 0, "mine");
    CHECK(read_text(pinned.get(), 70'000, 5) == "first");
    CHECK(read_text(fork.get(), 70'000, 5) == "first");
    CHECK(read_text(fork.get(), 0, 4) == "mine");
    const ps_refreshed* found = nullptr;
    REQUIRE(ps_session_refresh(pinned.get(), &found, nullptr) == PS_OK);
    const CRefreshed refreshed{found};
    CHECK(refreshed->pages == 4);
    CHECK(refreshed->everything == 0);
    REQUIRE(refreshed->count >= 1);
    CHECK(refreshed->changed[0].offset <= 70'000);
    CHECK(refreshed->changed[0].offset + refreshed->changed[0].length >= 70'005);
    CHECK(read_text(pinned.get(), 70'000, 5) == "other");
    CHECK(ps_session_version(pinned.get(), &later, nullptr) == PS_OK);
    CHECK(later.incarnation == at_first.incarnation);
    CHECK(later.number > at_first.number);
    CHECK(ps_session_discard(fork.get(), nullptr) == PS_OK);
    CHECK(read_text(fork.get(), 0, 4) == std::string(4, '\0'));
    CHECK(ps_session_refresh(fork.get(), nullptr, nullptr) == PS_OK);
    CHECK(read_text(fork.get(), 70'000, 5) == "other");
    write_text(w, 0, "dropped");
    CHECK(ps_session_discard(w, nullptr) == PS_OK);
    CHECK(read_text(w, 0, 7) == std::string(7, '\0'));
  }

  SECTION("data ranges and traffic") {
    const ps_ranges* found = nullptr;
    REQUIRE(ps_session_data_ranges(w, 0, 4 * page, &found, nullptr) == PS_OK);
    const CRanges ranges{found};
    CHECK(ranges->described_until == 4 * page);
    REQUIRE(ranges->count == 1);
    CHECK(ranges->ranges[0].offset <= 70'000);
    CHECK(ranges->ranges[0].length < 2 * page);
    ps_traffic traffic{};
    traffic.size = sizeof traffic;
    CHECK(ps_session_traffic(w, &traffic, nullptr) == PS_OK);
    CHECK(traffic.requests > 2);
    CHECK(traffic.cache_bytes_peak > 0);
    ps_traffic shorter{};
    shorter.size = offsetof(ps_traffic, round_trips);
    CHECK(ps_session_traffic(w, &shorter, nullptr) == PS_OK);
    CHECK(shorter.requests >= traffic.requests);
    CHECK(shorter.round_trips == 0);
    ps_error error = no_error();
    shorter.size = 0;
    check_refused(ps_session_traffic(w, &shorter, &error), error, PS_INVALID_ARGUMENT, "set it to the sizeof");
  }
}

TEST_CASE("C: a daemon's stores are listed, made and removed, and a lease is broken") {
  TempDir images;
  Daemon daemon{
      {"--directory", images.path().string(), "--allow-create", "--allow-remove", "--store", "demo={dir}/demo.img"}};
  auto all = options();
  all.client_name = "c_test";
  const auto handle = c_daemon(daemon.server_uri(), &all);
  ps_daemon* const d = handle.get();
  std::uint64_t took = 0;
  CHECK(ps_daemon_ping(d, &took, nullptr) == PS_OK);
  CHECK(took > 0);
  const ps_daemon_info* found_info = nullptr;
  REQUIRE(ps_daemon_describe(d, &found_info, nullptr) == PS_OK);
  CHECK(std::string{found_info->name}.find("pageserver") != std::string::npos);
  CHECK(found_info->protocol_version == 1);
  CHECK(found_info->request_bytes_max >= 1u << 20);
  CHECK(found_info->requests_in_flight_max > 1);
  ps_daemon_info_free(found_info);

  ps_error error = no_error();
  for (int i = 0; i < 300; ++i)
    REQUIRE(ps_daemon_create(d, ("store-" + std::to_string(i)).c_str(), 2, &error) == PS_OK);
  check_refused(ps_daemon_create(d, "store-7", 1, &error), error, PS_ALREADY_EXISTS, "store-7");
  check_refused(ps_daemon_create(d, "../up", 1, &error), error, PS_INVALID_ARGUMENT, "is no store's name");
  CHECK(ps_daemon_remove(d, "store-7", &error) == PS_OK);
  check_refused(ps_daemon_remove(d, "store-7", &error), error, PS_NOT_FOUND, "store-7");
  const ps_stores* found = nullptr;
  REQUIRE(ps_daemon_list(d, &found, nullptr) == PS_OK);
  const CStores stores{found};
  REQUIRE(stores->count == 300);
  CHECK(std::string{stores->stores[0]->name} == "demo");
  CHECK(stores->stores[1]->size == sizeof(ps_store));
  CHECK(stores->stores[1]->pages == 2);

  const auto writer = c_session(daemon.unix_uri("demo", "name=holder"));
  const ps_holder* broken = nullptr;
  REQUIRE(ps_daemon_break_lease(d, "demo", 0, &broken, nullptr) == PS_OK);
  REQUIRE(broken != nullptr);
  CHECK(std::string{CHolder{broken} -> name} == "holder");
  check_refused(ps_session_write(writer.get(), 0, "", 0, &error), error, PS_LEASE_LOST, "");
  broken = nullptr;
  CHECK(ps_daemon_break_lease(d, "demo", 0, &broken, nullptr) == PS_OK);
  CHECK(broken == nullptr);
  CHECK(ps_daemon_break_lease(d, "demo", 0, nullptr, nullptr) == PS_OK);
  daemon.expect_complaint("lease");

  CHECK(daemon.stop() == 0);
  check_refused(ps_daemon_ping(d, nullptr, &error), error, PS_CONNECTION_LOST, "");
  const std::string text = error.text;
  check_refused(ps_daemon_list(d, &found, &error), error, PS_CONNECTION_LOST, "");
}

TEST_CASE("C: a child after fork is told at once that the connection to a daemon is its parent's") {
  Daemon daemon{{"--store", "demo={dir}/demo.img"}};
  const auto handle = c_daemon(daemon.server_uri());
  ps_daemon* const d = handle.get();
  const ps_daemon_info* known = nullptr;
  REQUIRE(::kill(daemon.pid(), SIGSTOP) == 0);
  std::atomic<bool> begun{false};
  int asked = -1;
  std::thread asking([&] {
    begun = true;
    asked = ps_daemon_ping(d, nullptr, nullptr);  // inside, as long as the daemon stands still
  });
  while (!begun) std::this_thread::yield();
  for (int i = 0; i < 5; ++i) {
    Child child([&](const auto& report) {
      ::alarm(30);  // the end of one that waits for the parent's thread
      const int status = ps_daemon_ping(d, nullptr, nullptr);
      report(ps_code_name(status));
      report(ps_code_name(ps_daemon_describe(d, &known, nullptr)));
    });
    CHECK(child.next_line() == ps_code_name(PS_CONNECTION_LOST));
    CHECK(child.next_line() == ps_code_name(PS_OK));  // known since the connection was made
  }
  REQUIRE(::kill(daemon.pid(), SIGCONT) == 0);
  asking.join();
  CHECK(asked == PS_OK);
}

TEST_CASE("C: who uses a daemon is shown, and a session is ended") {
  Daemon daemon{{"--store", "demo={dir}/demo.img", "--store", "other={dir}/other.img"}};
  const auto handle = c_daemon(daemon.server_uri());
  ps_daemon* const d = handle.get();
  const auto writer = c_session(daemon.unix_uri("demo", "name=holder&publish=on_flush"));
  REQUIRE(ps_session_grow(writer.get(), 1, nullptr, nullptr) == PS_OK);
  REQUIRE(ps_session_flush(writer.get(), nullptr) == PS_OK);
  const ps_sessions* all = nullptr;
  REQUIRE(ps_daemon_sessions(d, "demo", &all, nullptr) == PS_OK);
  REQUIRE(all->count == 1);
  const ps_session_report& one = *all->sessions[0];
  CHECK(one.size == sizeof(ps_session_report));
  CHECK(one.state == PS_STATE_SESSION);
  CHECK(one.waits_for == PS_WAITS_FOR_NOTHING);
  CHECK(one.access == PS_ACCESS_WRITE);
  CHECK(one.publish == PS_PUBLISH_ON_FLUSH);
  CHECK(one.has_lease == 1);
  CHECK(one.peer_known == 1);
  CHECK(one.peer_uid == ::getuid());
  CHECK(one.requests >= 2);
  CHECK(std::string{one.store} == "demo");
  CHECK(std::string{one.session_name} == "holder");
  const std::uint64_t id = one.session_id;
  ps_sessions_free(all);
  REQUIRE(ps_daemon_sessions(d, "other", &all, nullptr) == PS_OK);
  CHECK(all->count == 0);
  ps_sessions_free(all);
  REQUIRE(ps_daemon_sessions(d, nullptr, &all, nullptr) == PS_OK);
  CHECK(all->count == 2);
  ps_sessions_free(all);
  const ps_load* load = nullptr;
  REQUIRE(ps_daemon_load(d, nullptr, &load, nullptr) == PS_OK);
  CHECK(load->connections == 2);
  CHECK(load->disk_threads_max > 0);
  ps_load_free(load);

  ps_error error = no_error();
  check_refused(ps_daemon_sessions(d, "../up", &all, &error), error, PS_INVALID_ARGUMENT, "is no store's name");
  check_refused(ps_daemon_kick(d, 7, id, nullptr, nullptr, &error), error, PS_INVALID_ARGUMENT, "PS_KICK_SESSION");
  check_refused(ps_daemon_kick(d, PS_KICK_SESSION, id, "two\nlines", nullptr, &error), error, PS_INVALID_ARGUMENT, "");
  const ps_kicked* kicked = nullptr;
  REQUIRE(ps_daemon_kick(d, PS_KICK_SESSION, id, "enough", &kicked, nullptr) == PS_OK);
  CHECK(kicked->released == 1);
  CHECK(kicked->session->session_id == id);
  ps_kicked_free(kicked);
  check_refused(ps_session_write(writer.get(), 0, "x", 1, &error), error, PS_CONNECTION_LOST, "enough");
  check_refused(ps_daemon_kick(d, PS_KICK_SESSION, id, nullptr, nullptr, &error), error, PS_NOT_FOUND, "no session");

  const auto reader = c_session(daemon.unix_uri("demo", "access=read"));
  const ps_stat* stat = nullptr;
  REQUIRE(ps_session_stat(reader.get(), &stat, nullptr) == PS_OK);
  REQUIRE(stat->load != nullptr);
  CHECK(stat->load->store_calls_stuck == 0);
  REQUIRE(stat->home != nullptr);
  CHECK(stat->home->size == sizeof(ps_home));
  CHECK(std::string{stat->home->name} == "file");
  CHECK(std::string{stat->home->holder}.empty());
  CHECK(std::string{stat->home->health}.empty());
  CHECK(stat->home->epoch == 0);
  ps_stat_free(stat);
}

TEST_CASE("C: of several hosts the one that serves the store is found, and where none does each is named") {
  Daemon serves{{"--store", "demo={dir}/demo.img"}};
  Daemon other{{"--store", "other={dir}/other.img"}};
  std::string down;
  {
    Daemon ended{{"--store", "gone={dir}/gone.img"}};
    down = "127.0.0.1:" + std::to_string(ended.port());
    CHECK(ended.stop() == 0);
  }
  const auto host = [](const Daemon& daemon) { return "127.0.0.1:" + std::to_string(daemon.port()); };
  const auto uri = [](const std::string& hosts) { return "pageserver://" + hosts + "/demo"; };
  ps_options all = options();
  all.publish = PS_PUBLISH_ON_FLUSH;
  const std::string text = "found";
  {
    const auto writer = c_session(uri(down + "," + host(other) + "," + host(serves)), &all);
    CHECK(ps_session_grow(writer.get(), 1, nullptr, nullptr) == PS_OK);
    write_text(writer.get(), 7, text);
    CHECK(ps_session_flush(writer.get(), nullptr) == PS_OK);
  }
  const auto reader = c_session(uri(host(serves) + "," + down) + "?access=read");
  CHECK(read_text(reader.get(), 7, text.size()) == text);
  ps_error error = no_error();
  check_refused(opened(uri(host(other) + "," + down), nullptr, error), error, PS_NOT_FOUND, host(other));
  CHECK(std::string{error.text}.find(down) != std::string::npos);
  check_refused(opened(uri(down), nullptr, error), error, PS_CONNECTION_LOST, down);
}

TEST_CASE("C: threads share a session, close those of others, and keep their errors apart") {
  Daemon daemon{{"--store", "demo={dir}/demo.img"}};
  for (const auto& uri : {std::string{"heap:"}, daemon.unix_uri("demo"), daemon.unix_uri("demo", "cache_bytes=1MiB")}) {
    INFO(uri);
    auto session = c_session(uri);
    constexpr unsigned threads = 4;
    std::uint64_t pages = 0;
    REQUIRE(ps_session_pages(session.get(), &pages, nullptr) == PS_OK);
    if (pages < threads) REQUIRE(ps_session_grow(session.get(), threads - pages, nullptr, nullptr) == PS_OK);
    std::atomic<int> faults{0};
    std::vector<std::thread> workers;
    for (unsigned number = 0; number < threads; ++number) {
      workers.emplace_back([&, number] {
        ps_error error = no_error();
        std::vector<char> mine(1000, static_cast<char>('a' + number)), seen(1000);
        for (unsigned round = 0; round < 50; ++round) {
          const std::uint64_t at = number * page + round * 10;
          if (ps_session_write(session.get(), at, mine.data(), mine.size(), &error) != PS_OK) ++faults;
          if (ps_session_read(session.get(), at, seen.data(), seen.size(), &error) != PS_OK || seen != mine) ++faults;
          const std::uint64_t away = (1ull << 40) + number;
          if (ps_session_read(session.get(), away, seen.data(), 1, &error) != PS_OUT_OF_BOUNDS) ++faults;
          if (std::string{error.text}.find("offset=" + std::to_string(away)) == std::string::npos) ++faults;
        }
      });
    }
    for (auto& worker : workers) worker.join();
    CHECK(faults == 0);
    std::thread{[&] { session.reset(); }}.join();
  }
}

TEST_CASE("C: handles are closed in any order, before and after what they answered") {
  Daemon daemon{{"--store", "demo={dir}/demo.img"}};
  auto handle = c_daemon(daemon.server_uri());
  auto session = c_session(daemon.unix_uri("demo"));
  auto async = c_async(daemon.unix_uri("demo", "access=read"));
  const ps_stat* stat = nullptr;
  const ps_stores* stores = nullptr;
  REQUIRE(ps_session_stat(session.get(), &stat, nullptr) == PS_OK);
  REQUIRE(ps_daemon_list(handle.get(), &stores, nullptr) == PS_OK);
  handle.reset();
  session.reset();
  CHECK(std::string{stat->store} == "demo");
  CHECK(std::string{stores->stores[0]->name} == "demo");
  std::thread{[&] {
    ps_stores_free(stores);
    async.reset();
    ps_stat_free(stat);
  }}.join();
}

TEST_CASE("C: what a killed daemon's successor replayed is in a report and in a list, else there is nothing") {
  Daemon daemon{{"--store", "demo={dir}/demo.img"}};
  {
    const auto session = c_session(daemon.unix_uri("demo"));
    REQUIRE(ps_session_grow(session.get(), 2, nullptr, nullptr) == PS_OK);
    write_text(session.get(), 0, "one");
    const ps_stat* before = nullptr;
    REQUIRE(ps_session_stat(session.get(), &before, nullptr) == PS_OK);
    const CStat first{before};
    CHECK(first->recovery == nullptr);
  }
  daemon.kill_hard();
  daemon.start_again();
  const ps_stat* found = nullptr;
  REQUIRE(ps_session_stat(c_session(daemon.unix_uri("demo")).get(), &found, nullptr) == PS_OK);
  const CStat stat{found};
  REQUIRE(stat->recovery != nullptr);
  CHECK(stat->recovery->size == sizeof(ps_recovery));
  CHECK(stat->recovery->unix_ms > 0);
  CHECK(stat->recovery->records == 2);
  CHECK(stat->recovery->log_files == 1);
  CHECK(stat->recovery->pages == 2);
  CHECK(stat->recovery->kept_count == 0);
  CHECK(stat->recovery->count == 0);
  CHECK(stat->recovery->warned == 0);
  CHECK(std::string{stat->recovery->warning}.empty());
  const auto handle = c_daemon(daemon.server_uri());
  const ps_stores* list = nullptr;
  REQUIRE(ps_daemon_list(handle.get(), &list, nullptr) == PS_OK);
  const CStores stores{list};
  REQUIRE(stores->count == 1);
  REQUIRE(stores->stores[0]->recovery != nullptr);
  CHECK(stores->stores[0]->recovery->records == 2);
  CHECK(stores->stores[0]->recovery->warned == 0);
}

TEST_CASE("C: in a child after fork a session of the parent's says so and leaves it alone") {
  Daemon daemon{{"--store", "demo={dir}/demo.img"}};
  auto session = c_session(daemon.unix_uri("demo"));
  REQUIRE(ps_session_grow(session.get(), 1, nullptr, nullptr) == PS_OK);
  Child child{[&](auto tell) {
    ps_error error = no_error();
    char byte = 0;
    const int code = ps_session_read(session.get(), 0, &byte, 1, &error);
    session.reset();
    tell(std::string{ps_code_name(code)} + ": " + error.text);
  }};
  const auto line = child.next_line();
  INFO(line);
  CHECK(line.rfind("connection_lost: ", 0) == 0);
  CHECK(line.find("fork") != std::string::npos);
  CHECK(child.next_line().empty());
  write_text(session.get(), 0, "still mine");
  CHECK(read_text(session.get(), 0, 10) == "still mine");
}
