// Handshakes that are begun and not finished: nobody waits for them, and nothing is left of them.
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>
#include "tests/support/catch.hpp"

#include <pageserver/error.hpp>
#include <pageserver/open.hpp>

#include "base/tls/stream.hpp"
#include "tests/daemon/helpers.hpp"
#include "tests/daemon/secured.hpp"
#include "tests/support/wait.hpp"

using namespace pageserver;
using namespace pageserver::test;

namespace {

std::shared_ptr<const tls::Context> believing(const Certificates& certificates) {
  std::ostringstream authority;
  authority << std::ifstream(certificates.certificate("ca")).rdbuf();
  tls::Credentials credentials;
  credentials.authorities = authority.str();
  return tls::Context::of_client(credentials);
}

/// What a client says first. To say it again costs the daemon as much, and the test nothing.
std::vector<std::byte> first_words(const Certificates& certificates) {
  std::array<int, 2> ends{};
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()) == 0);
  tls::Stream stream(believing(certificates), ends[0], "localhost");
  CHECK(stream.handshake() == tls::Stream::Result::wants_read);
  std::vector<std::byte> bytes(4096);
  const ssize_t got = ::recv(ends[1], bytes.data(), bytes.size(), 0);
  REQUIRE(got > 200);
  bytes.resize(static_cast<std::size_t>(got));
  for (const int end : ends) ::close(end);
  return bytes;
}

RawClient half_way(const Secured& secured, std::span<const std::byte> words, int address = 2) {
  RawClient client = RawClient::tcp_from(address, secured.port_number());
  client.send_bytes(words);
  return client;
}

/// The daemon has said something, or has ended it.
bool is_answered(const RawClient& client) { return client.readable_within(std::chrono::milliseconds(0)); }

std::size_t open_files(pid_t pid) {
  const std::filesystem::directory_iterator files("/proc/" + std::to_string(pid) + "/fd");
  return static_cast<std::size_t>(std::distance(begin(files), end(files)));
}

int handshakes_wanted() {
  const char* const wanted = std::getenv("PAGESERVER_TEST_HANDSHAKES");
  return wanted == nullptr || *wanted == '\0' ? 10'000 : std::stoi(wanted);
}

void write_limits(const Secured& secured, const std::string& limits) {
  std::ofstream(secured.certificates.file("c.json")) << R"({"limits": {"hello_timeout": "1h")" << limits << "}}";
}

}  // namespace

TEST_CASE("ten thousand handshakes given up half-way leave nothing behind, and clients are served meanwhile") {
  Secured secured;
  secured.certificates.make("server", {});
  write_limits(secured, "");
  secured.start("server", {"--config", secured.certificates.file("c.json")});
  const std::vector<std::byte> words = first_words(secured.certificates);
  const auto plain = open_session(secured.daemon->tcp_uri("demo", "access=read"));
  const auto over_tls = open_session(secured.uri("&access=read"));
  const int wanted = handshakes_wanted();
  std::deque<RawClient> under_way;
  const auto give_up = [&](int count) {
    for (int i = 0; i < count; ++i) {
      under_way.push_back(half_way(secured, words));
      if (under_way.size() > 100) {
        // The daemon's part of the handshake is done, and it waits for the client's.
        CHECK(under_way.front().readable_within(patience));
        i % 2 == 0 ? under_way.front().reset() : under_way.front().close();
        under_way.pop_front();
      }
      if (i % 100 != 0) continue;
      plain->refresh();
      over_tls->refresh();
      if (i % 500 == 0) CHECK(secured.opening("&access=read") == "opened");
    }
  };
  const auto left = [&] {
    under_way.clear();
    // Whatever came before this one has had its turn by the time it is served.
    CHECK(secured.opening("&access=read") == "opened");
    return open_files(secured.daemon->pid());
  };
  const std::size_t files_before = left();
  // What is kept for the next ones is there after these.
  give_up(wanted / 5);
  wait_until([&] { return left() <= files_before; });
  const auto grown_kib = [&] {
    const std::uint64_t before = resident_kib(secured.daemon->pid());
    give_up(wanted - wanted / 5);
    wait_until([&] { return left() <= files_before; });
    const std::uint64_t after = resident_kib(secured.daemon->pid());
    return after - std::min(before, after);
  };
  // A hundred bytes for each would show, each time, but where what was freed is kept for a while. More threads than
  // before may have found work at once, and what the allocator has for those stays: once.
  constexpr std::uint64_t grown_kib_max = 1024;
  std::uint64_t grown = grown_kib();
  for (int tries = 1; !sanitized && tries < 3 && grown > grown_kib_max; ++tries) grown = grown_kib();
  if (!sanitized) CHECK(grown <= grown_kib_max);
}

TEST_CASE("who comes without TLS does not wait for those that shake hands") {
  Secured secured;
  Certificates::Wanted slow;
  slow.rsa = true;
  slow.rsa_bits = 3072;
  secured.certificates.make("server", slow);
  secured.start("server");
  const std::vector<std::byte> words = first_words(secured.certificates);
  std::vector<RawClient> strangers;
  secured.daemon->process().pause();
  for (int i = 0; i < 200; ++i) strangers.push_back(half_way(secured, words));
  RawClient known = RawClient::tcp(secured.daemon->port());
  proto::HelloRequest hello;
  hello.payload_bytes_max = 1u << 20;
  hello.client_name = "known";
  known.send(hello);
  secured.daemon->process().signal(SIGCONT);
  CHECK(known.must_receive().header.operation == proto::Operation::hello);
  const auto answered = std::count_if(strangers.begin(), strangers.end(), is_answered);
  // On one thread it would come behind the 64 that are accepted in a row.
  CHECK(answered < 48);
  for (const RawClient& stranger : strangers) CHECK(stranger.readable_within(patience));
}

TEST_CASE("who knows the other half of the handshake gets in among many who do not") {
  Secured secured;
  secured.certificates.make("server", {});
  constexpr int stay = 64;
  write_limits(secured, R"(, "strangers": )" + std::to_string(stay));
  secured.start("server", {"--config", secured.certificates.file("c.json")});
  const std::vector<std::byte> words = first_words(secured.certificates);
  std::deque<RawClient> strangers;
  secured.daemon->process().pause();
  for (int i = 0; i < 200; ++i) strangers.push_back(half_way(secured, words, 2 + i % 3));
  RawClient known = RawClient::tcp(secured.port_number());
  tls::Stream stream(believing(secured.certificates), known.fd(), "localhost");
  auto result = stream.handshake();
  CHECK(result == tls::Stream::Result::wants_read);
  secured.daemon->process().signal(SIGCONT);
  // Each turn is one more handshake that the daemon has done or ended.
  int turns = 0;
  for (; result == tls::Stream::Result::wants_read && turns < 100 * stay; ++turns) {
    strangers.push_back(half_way(secured, words, 2 + turns % 3));
    CHECK(strangers.front().readable_within(patience));
    strangers.pop_front();
    result = stream.handshake();
  }
  CHECK(result == tls::Stream::Result::done);
  // 200 were there before it, and so many more as stay at a time come before its second half.
  CHECK(turns <= 200 + 2 * stay);
}

TEST_CASE("a stop does not wait for two hundred handshakes that are begun") {
  const bool queued = GENERATE(false, true);
  INFO(queued);
  Secured secured;
  secured.certificates.make("server", {});
  write_limits(secured, "");
  secured.start("server", {"--config", secured.certificates.file("c.json")});
  const std::vector<std::byte> words = first_words(secured.certificates);
  const auto session = open_session(secured.uri());
  if (queued) secured.daemon->process().pause();
  std::vector<RawClient> strangers;
  for (std::size_t i = 0; i < 200; ++i)
    strangers.push_back(half_way(secured, std::span(words).first(words.size() - i)));
  if (!queued) CHECK(strangers.front().readable_within(patience));
  secured.daemon->process().signal(SIGTERM);
  if (queued) secured.daemon->process().signal(SIGCONT);
  CHECK(secured.daemon->process().wait() == 0);
  secured.daemon->wait_for_log("INFO stop status=0");
  for (RawClient& stranger : strangers) CHECK(stranger.closed_within());
}

TEST_CASE("connections over TLS count for the memory that OpenSSL has, and what is full is said in words") {
  Secured secured;
  secured.certificates.make("server", {});
  std::ofstream(secured.certificates.file("c.json"))
      << R"({"limits": {"memory_bytes": "64MiB", "peer_percent": 100}, "rules": [{"who": "anyone", "stores": "*",)"
      << R"( "may": ["read"]}]})";
  secured.start("server", {"--config", secured.certificates.file("c.json")});
  secured.daemon->wait_for_log("INFO fewer strangers strangers=");
  std::vector<std::unique_ptr<Session>> sessions;
  const auto fill = [&] {
    try {
      for (int i = 0; i < 1000; ++i) sessions.push_back(open_session(secured.uri("&access=read")));
      return std::string("nothing");
    } catch (const MemoryError& error) {
      return std::string(error.what());
    }
  };
  const std::string said = fill();
  INFO(said);
  CHECK(holds(said, "all TLS connections have"));
  CHECK(holds(said, "4194304 bytes that limits.memory_bytes=67108864 leaves them"));
  CHECK(holds(said, "raise that limit"));
  const std::size_t count = sessions.size();
  // Who comes without is not concerned.
  (void)open_session(secured.daemon->tcp_uri("demo", "access=read"));
  for (const auto& session : sessions) session->refresh();
  sessions.resize(count - 10);
  wait_until([&] { return secured.opening("&access=read") == "opened"; });
  wait_until([&] {
    fill();
    return sessions.size() == count;
  });
}

TEST_CASE("one address has no more than its percent of the memory for TLS") {
  Secured secured;
  secured.certificates.make("server", {});
  std::ofstream(secured.certificates.file("c.json")) << R"({"limits": {"memory_bytes": "64MiB", "peer_percent": 50}})";
  secured.start("server", {"--config", secured.certificates.file("c.json")});
  std::vector<std::unique_ptr<Session>> sessions;
  std::string said;
  try {
    for (int i = 0; i < 1000; ++i) sessions.push_back(open_session(secured.uri("&access=read")));
  } catch (const MemoryError& error) {
    said = error.what();
  }
  INFO(said);
  CHECK(holds(said, "the TLS connections of 127.0.0.1 have"));
  CHECK(holds(said, "of 2097152 bytes, limits.peer_percent=50 of what limits.memory_bytes=67108864 leaves"));
}
