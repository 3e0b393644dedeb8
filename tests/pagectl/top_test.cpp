// top: piped, as JSON, and on a terminal that the test types on.
#include <csignal>
#include <cstring>
#include <sstream>
#include <utility>
#include <vector>
#include "tests/support/catch.hpp"

#include <pageserver/open.hpp>

#include "base/text.hpp"
#include "tests/pagectl/served.hpp"
#include "tests/pagectl/terminal.hpp"
#include "tests/unit/client/fake_daemon.hpp"

using namespace pageserver;
using namespace pageserver::test;
using proto::Operation;

namespace {

const std::string entered = "\033[?1049h";
const std::string left_again = "\033[?7h\033[?25h\033[?1049l";
/// Behind the last line of the screen.
const std::string drawn = "\033[J";

std::vector<std::string> top_of(const Served& served, std::vector<std::string> more = {}) {
  std::vector<std::string> argv{pagectl_program(), "top", served.daemon->server_uri()};
  argv.insert(argv.end(), more.begin(), more.end());
  return argv;
}

std::unique_ptr<Session> session_of(const Served& served, const std::string& query) {
  return open_session(served.daemon->tcp_uri("demo", query));
}

bool same(const termios& one, const termios& other) {
  return one.c_lflag == other.c_lflag && one.c_iflag == other.c_iflag && one.c_oflag == other.c_oflag &&
         std::memcmp(one.c_cc, other.c_cc, sizeof one.c_cc) == 0;
}

std::size_t count_of(const std::string& text, const std::string& what) {
  std::size_t count = 0;
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += what.size()) ++count;
  return count;
}

/// Lines of one screen, without what moves the cursor.
std::vector<std::string> lines_of(std::string screen) {
  screen.erase(0, screen.rfind("\033[H"));
  for (const char* part : {"\033[H", "\033[K", "\033[J", "\033[7m", "\033[33m", "\033[0m", "\r"})
    for (std::size_t at = 0; (at = screen.find(part, at)) != std::string::npos;) screen.erase(at, std::strlen(part));
  std::vector<std::string> lines;
  std::istringstream in(screen);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

}  // namespace

TEST_CASE("top: piped it is blocks of lines, as many as were asked for") {
  Served served;
  const auto reader = session_of(served, "access=read&name=nightly");
  const auto result = pagectl({"top", served.daemon->server_uri(), "--count", "2", "--interval", "100ms"});
  CHECK(result.status == 0);
  CHECK(result.err.empty());
  CHECK(count_of(result.out, "STORE  REQ/S") == 2);
  CHECK(count_of(result.out, "1 store, 1 session, 2 connections") == 2);
  CHECK_THAT(result.out, Contains("nightly at 127.0.0.1:") && !Contains("\033"));
  CHECK(pagectl({"top", served.daemon->server_uri(), "--interval", "2"}).status == 2);
  CHECK(pagectl({"top", served.daemon->server_uri(), "--json", "--count", "2"}).status == 2);
}

TEST_CASE("top: --json once, with rates of what was done between two looks") {
  Served served;
  const auto writer = session_of(served, "access=write&name=import");
  const auto quiet = session_of(served, "access=read");
  std::atomic<bool> over{false};
  std::uint64_t written = 0;
  std::thread work([&] {
    const std::vector<std::byte> page(4096);
    for (; !over; ++written) writer->write(0, page);
  });
  const auto report = pagectl_json({"top", served.daemon->server_uri(), "--interval", "300ms"});
  over = true;
  work.join();
  CHECK(report["interval_ms"] >= 300);
  REQUIRE(report["stores"].size() == 1);
  const auto& store = report["stores"][0];
  CHECK(store["store"] == "demo");
  CHECK(store["size_bytes"] == 4 * 65536);
  CHECK(store["writers"] == 1);
  CHECK(store["readers"] == 1);
  REQUIRE(report["sessions"].size() == 2);
  // The busy one first.
  const auto& first = report["sessions"][0];
  CHECK(first["name"] == "import");
  const double rate = first["bytes_written_per_second"];
  CHECK(rate > 0);
  CHECK(rate <= static_cast<double>(written) * 4096 / 0.3);
  CHECK(store["bytes_written_per_second"] == rate);
  CHECK(report["sessions"][1]["bytes_written_per_second"] == 0);
}

TEST_CASE("top: on a terminal it draws, sorts by keys, follows its size, and gives the terminal back") {
  Served served;
  const auto writer = session_of(served, "access=write&name=zulu");
  const auto reader = session_of(served, "access=read&name=alpha");
  TypedTerminal terminal(top_of(served, {"--interval", "10m"}), 160, 24);
  terminal.wait_for(entered);
  terminal.wait_for(drawn);
  std::vector<std::string> lines = lines_of(terminal.screen());
  REQUIRE(lines.size() >= 6);
  CHECK_THAT(lines[0], Contains("1 store, 2 sessions, 3 connections"));
  CHECK_THAT(lines[1], Contains("STORE") && Contains("REQ/S") && Contains("WRITER"));
  CHECK_THAT(lines[2], Contains("demo") && Contains("zulu at 127.0.0.1"));
  CHECK_THAT(lines[3], Contains("SESSION") && Contains("WHO") && Contains("DOES"));
  CHECK_THAT(lines[4], Contains("zulu"));
  CHECK_THAT(lines[5], Contains("alpha"));
  CHECK_THAT(lines.back(), Contains("sorted by requests"));
  // There are rates after a second look.
  writer->write(0, std::vector<std::byte>(64));
  terminal.type(" ");
  terminal.wait_for(drawn);
  lines = lines_of(terminal.screen());
  CHECK_THAT(lines[4], Contains("zulu") && !Contains("  -  "));
  CHECK_THAT(lines[5], Contains("alpha") && Contains("  0.0  "));

  terminal.type("i");
  terminal.wait_for(drawn);
  lines = lines_of(terminal.screen());
  CHECK_THAT(lines.back(), Contains("sorted by idle"));
  CHECK_THAT(lines[4], Contains("zulu"));
  terminal.type("i");
  terminal.wait_for(drawn);
  lines = lines_of(terminal.screen());
  CHECK_THAT(lines.back(), Contains("sorted by idle, turned"));
  CHECK_THAT(lines[4], Contains("alpha"));

  // Narrow and low: the columns that matter stay, and no line is too long.
  terminal.resize(40, 8);
  terminal.wait_for(drawn);
  lines = lines_of(terminal.screen());
  CHECK(lines.size() <= 8);
  for (const std::string& line : lines) CHECK(line.size() <= 40);
  CHECK_THAT(lines[1], Contains("STORE") && Contains("REQ/S") && !Contains("FORKS"));
  terminal.resize(200, 5);
  terminal.wait_for(drawn);
  lines = lines_of(terminal.screen());
  CHECK(lines.size() <= 5);
  CHECK_THAT(lines.back(), Contains("sessions "));
  terminal.type("q");
  CHECK(terminal.wait() == 0);
  CHECK_THAT(terminal.screen(), Catch::Matchers::EndsWith(left_again));
}

TEST_CASE("top: who needs a look stands out in colour, unless nobody wants colours") {
  Served served;
  const auto writer = session_of(served, "access=write&name=zulu");
  const auto reader = session_of(served, "access=read&name=alpha");
  REQUIRE(pagectl({"lease", served.daemon->tcp_uri("demo"), "--break"}).status == 0);
  for (const bool wanted : {true, false}) {
    std::vector<std::string> argv{"env", "-u", "NO_COLOR", "TERM=xterm"};
    if (!wanted) argv.emplace_back("NO_COLOR=1");
    for (const std::string& word : top_of(served, {"--interval", "10m"})) argv.push_back(word);
    TypedTerminal terminal(argv, 160, 24);
    terminal.wait_for(entered);
    terminal.wait_for(drawn);
    const std::string& screen = terminal.screen();
    CHECK(count_of(screen, "\033[33m") == (wanted ? 1 : 0));
    CHECK_THAT(screen, Contains("lost its lease"));
    const std::size_t begin = screen.find("\033[33m");
    if (wanted) CHECK_THAT(screen.substr(begin, screen.find("\033[0m", begin) - begin), Contains("zulu"));
    terminal.type("q");
    CHECK(terminal.wait() == 0);
  }
}

TEST_CASE("top: whatever ends it, the terminal is as it was") {
  Served served;
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGABRT}) {
    INFO("signal " << number);
    TypedTerminal terminal(top_of(served), 80, 24);
    const termios before = terminal.settings();
    terminal.wait_for(drawn);
    CHECK_FALSE(same(terminal.settings(), before));
    terminal.signal(number);
    CHECK(terminal.wait() == 128 + number);
    CHECK(same(terminal.settings(), before));
    CHECK_THAT(terminal.screen(), Contains(left_again));
  }
  // Ctrl-C as it is typed, and a daemon that goes.
  TypedTerminal typed(top_of(served), 80, 24);
  const termios before = typed.settings();
  typed.wait_for(drawn);
  typed.type("\003");
  CHECK(typed.wait() == 128 + SIGINT);
  CHECK(same(typed.settings(), before));
  TypedTerminal orphan(top_of(served, {"--interval", "100ms"}), 80, 24);
  orphan.wait_for(drawn);
  served.daemon->stop();
  CHECK(orphan.wait() == 75);
  CHECK(same(orphan.settings(), before));
  // The error is on the page that stays.
  const std::size_t left = orphan.screen().find(left_again);
  REQUIRE(left != std::string::npos);
  CHECK(orphan.screen().find("pagectl: ", left) != std::string::npos);
}

TEST_CASE("top: Ctrl-Z gives the terminal back until it goes on") {
  Served served;
  TypedTerminal terminal(top_of(served, {"--interval", "10m"}), 80, 24);
  const termios before = terminal.settings();
  terminal.wait_for(drawn);
  terminal.signal(SIGTSTP);
  terminal.wait_until_stopped();
  CHECK(same(terminal.settings(), before));
  terminal.wait_for(left_again);
  terminal.signal(SIGCONT);
  terminal.wait_for(entered);
  terminal.wait_for(drawn);
  terminal.type("q");
  CHECK(terminal.wait() == 0);
  CHECK(same(terminal.settings(), before));
}

TEST_CASE("top: no text of a daemon reaches the terminal raw") {
  const std::string evil = "x\x1b]0;owned\x07\x1b[2J\u009b31m\r\nforged line\u202egnp";
  FakeImage image;
  image.bytes.resize(65536);
  image.before = [&](FakePeer& peer, const Request& request) {
    if (request.header.operation == Operation::list) {
      proto::ListAnswer answer;
      answer.entries.push_back({});
      answer.entries.back().store = evil;
      peer.answer(request, answer);
      return true;
    }
    if (request.header.operation != Operation::sessions) return false;
    proto::SessionsAnswer answer;
    proto::SessionEntry entry;
    entry.connection_id = entry.session_id = answer.described_until = 1;
    entry.state = proto::SessionState::session;
    entry.store = entry.session_name = entry.client_name = entry.address = evil;
    entry.has_lease = true;
    answer.entries.push_back(entry);
    peer.answer(request, answer);
    return true;
  };
  FakeDaemon daemon{image};
  const auto uri = daemon.uri();
  const auto server = uri.substr(0, uri.rfind('/'));
  TypedTerminal terminal({pagectl_program(), "top", server, "--interval", "10m"}, 250, 24);
  terminal.wait_for(drawn);
  terminal.type("q");
  CHECK(terminal.wait() == 0);
  INFO(base::visible(terminal.screen()));
  for (const char* part : {"\x1b]0;", "\x1b[2J", "\u009b", "\u202e", "\nforged", "\x07"})
    CHECK(terminal.screen().find(part) == std::string::npos);
  CHECK_THAT(terminal.screen(), Contains("x\\x1b]0;owned\\x07"));
  for (const auto& flags : {std::vector<std::string>{"--count", "1"}, std::vector<std::string>{"--json"}}) {
    std::vector<std::string> words{"top", server, "--interval", "100ms"};
    words.insert(words.end(), flags.begin(), flags.end());
    const auto result = pagectl(words);
    CHECK(result.status == 0);
    CHECK_THAT(result.out, Contains("owned") && !Contains("\x1b") && !Contains("\u202e") && !Contains("\nforged"));
  }
}
