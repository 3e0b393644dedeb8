// Every way in which a connection ends, and that it stays ended.
#include "tests/support/catch.hpp"

#include <sys/wait.h>

#include <array>
#include <csignal>
#include <string>
#include <vector>

#include "tests/support/bytes.hpp"
#include "tests/unit/client/wire_peer.hpp"

using namespace pageserver;
using namespace pageserver::client;
using namespace pageserver::test;
using namespace std::chrono_literals;

namespace {

/// Submits reads, lets `act` happen, and returns the one error that all of them and every later call get.
template <class Act>
MemoryError ending(Linked& link, Act act, std::size_t reads = 3) {
  auto& connection = *link.connection;
  static std::array<std::byte, 1000> buffer;
  std::vector<MemoryError> errors;
  for (std::size_t i = 0; i < reads; ++i)
    connection.submit_read(0, buffer, [&](const auto& outcome) {
      REQUIRE_FALSE(outcome.ok());
      errors.push_back(*outcome.error());
    });
  connection.advance();
  act();
  while (!connection.ended()) (void)connection.progress(Clock::now() + 30s);
  REQUIRE(errors.size() == reads);
  for (const auto& error : errors) {
    CHECK(error.code() == errors[0].code());
    CHECK(std::string{error.what()} == errors[0].what());
  }
  CHECK(connection.outstanding() == 0);
  // Sticky: the same error for whatever comes.
  for (int i = 0; i < 2; ++i) {
    try {
      connection.submit(proto::PingRequest{}, [](const auto&) {});
      FAIL("submitted");
    } catch (const MemoryError& again) {
      CHECK(again.code() == errors[0].code());
      CHECK(std::string{again.what()} == errors[0].what());
    }
  }
  CHECK(connection.advance() == 0);
  return errors[0];
}

bool has(const MemoryError& error, std::string_view part) {
  return std::string_view{error.what()}.find(part) != std::string_view::npos;
}

/// What the constructor throws when the daemon says `bytes` instead of an answer to hello, then closes.
MemoryError refused_hello(std::span<const std::byte> bytes, bool close = true) {
  WirePeer peer;
  peer.send(bytes);
  if (close) ::shutdown(peer.fd(), SHUT_WR);
  try {
    ConnectionOptions options;
    options.connect_timeout = close ? 30'000ms : 50ms;
    Connection connection{peer.take_client_end(), {"fake", 1, ""}, options};
  } catch (const MemoryError& error) {
    return error;
  }
  throw std::runtime_error("accepted");
}

}  // namespace

TEST_CASE("the daemon closes: connection_lost") {
  Linked link;
  const auto error = ending(link, [&] { link.peer.close(); });
  CHECK(error.code() == Errc::connection_lost);
  CHECK(has(error, "pageserver://fake:1: read: the daemon closed the connection"));
  CHECK(has(error, "3 unanswered requests may or may not have been applied"));
}

TEST_CASE("the daemon says goodbye: its text and connection_lost") {
  Linked link;
  const auto error = ending(
      link, [&] { link.peer.notice(proto::Operation::goodbye, proto::Status::stopping, "pageserverd is stopping"); });
  CHECK(error.code() == Errc::connection_lost);
  CHECK(has(error, "goodbye: pageserverd is stopping"));
}

TEST_CASE("goodbye is heard although sending fails first") {
  Linked link;
  link.peer.notice(proto::Operation::goodbye, proto::Status::timed_out, "stalled for 60s");
  link.peer.close();
  const auto error = ending(link, [] {});
  CHECK(error.code() == Errc::connection_lost);
  CHECK(has(error, "stalled for 60s"));
}

TEST_CASE("goodbye with protocol_error is protocol_error") {
  Linked link;
  const auto error =
      ending(link, [&] { link.peer.notice(proto::Operation::goodbye, proto::Status::protocol_error, "bad magic"); });
  CHECK(error.code() == Errc::protocol_error);
}

TEST_CASE("statuses that leave the session's state unknown end it") {
  const auto row = GENERATE(table<proto::Status, Errc>({{proto::Status::stopping, Errc::connection_lost},
                                                        {proto::Status::protocol_error, Errc::protocol_error},
                                                        {proto::Status::timed_out, Errc::timed_out}}));
  Linked link;
  const auto error =
      ending(link, [&] { link.peer.error(2, proto::Operation::read, std::get<0>(row), "as the daemon says"); });
  CHECK(error.code() == std::get<1>(row));
  CHECK(has(error, "read: as the daemon says"));
}

TEST_CASE("an answer that belongs to no request, or not to this one, is protocol_error") {
  Linked link;
  std::string part;
  const auto error = [&] {
    SECTION("unknown id") {
      part = "answers request id=99, which is not in flight";
      return ending(link, [&] { link.peer.answer(99, proto::ReadAnswer{pattern(1000)}); });
    }
    SECTION("an id of the past") {
      part = "answers request id=1, which is not in flight";
      return ending(link, [&] { link.peer.answer(1, proto::ReadAnswer{pattern(1000)}); });
    }
    SECTION("answered twice") {
      part = "answers request id=3, which is not in flight";
      // The second request, so that its place is still between others.
      std::array<std::byte, 10> buffer{};
      std::vector<bool> ok;
      for (int i = 0; i < 3; ++i)
        link.connection->submit_read(0, buffer, [&](const auto& outcome) { ok.push_back(outcome.ok()); });
      link.connection->advance();
      link.peer.answer(3, proto::ReadAnswer{pattern(10)});
      link.peer.answer(3, proto::ReadAnswer{pattern(10)});
      link.connection->advance();
      CHECK(ok == std::vector{true, false, false});
      return *link.connection->ended();
    }
    SECTION("another operation") {
      part = "write frame answers request id=2, which is a read";
      return ending(link, [&] { link.peer.answer(2, proto::WriteAnswer{}); });
    }
    SECTION("another length") {
      part = "read frame has length=999, asked for length=1000";
      return ending(link, [&] { link.peer.answer(2, proto::ReadAnswer{pattern(999)}); });
    }
    SECTION("a request instead of an answer") {
      part = "has flags=0, expected an answer or a notice";
      return ending(link, [&] { link.peer.answer(2, proto::ReadRequest{0, 1}); });
    }
    SECTION("no frame at all") {
      part = "expected 50 47 53 31";
      return ending(link, [&] { link.peer.send(bytes_of("HTTP/1.1 400 Bad Request\r\n")); });
    }
    SECTION("an error's text that is not UTF-8") {
      part = "UTF-8";
      return ending(link, [&] {
        proto::Bytes bytes;
        proto::encode_error(bytes, 2, proto::Operation::read, proto::Status::busy, "xx");
        bytes.back() = std::byte{0xff};
        link.peer.send(bytes);
      });
    }
    SECTION("a huge answer where a small one is expected") {
      part = "announces payload_bytes=1000000, expected at most 262144";
      return ending(link, [&] {
        std::array<std::byte, proto::frame_header_bytes> head;
        proto::encode_header(head, {proto::Operation::read, proto::flag_answer, 2, 1'000'000, proto::Status::busy, 0});
        link.peer.send(head);
      });
    }
    part = "at most payload_bytes_max=";
    return ending(link, [&] {
      std::array<std::byte, proto::frame_header_bytes> head;
      proto::encode_header(head, {proto::Operation::read, proto::flag_answer, 2, 0xffffffff, proto::Status::ok, 0});
      link.peer.send(head);
    });
  }();
  CAPTURE(error.what());
  CHECK(error.code() == Errc::protocol_error);
  CHECK(has(error, part));
}

TEST_CASE("an answer that can't be decoded is protocol_error, for its request too") {
  Linked link;
  std::vector<Errc> codes;
  for (int i = 0; i < 2; ++i)
    link.connection->submit(proto::SizeRequest{},
                            [&](const auto& outcome) { codes.push_back(outcome.error()->errc()); });
  link.connection->advance();
  proto::Bytes bytes(proto::frame_header_bytes + 3);
  proto::encode_header(std::span{bytes}.first<proto::frame_header_bytes>(),
                       {proto::Operation::size, proto::flag_answer, 2, 3, proto::Status::ok, 0});
  link.peer.send(bytes);
  CHECK(link.connection->advance() == 2);
  CHECK(codes == std::vector{Errc::protocol_error, Errc::protocol_error});
}

TEST_CASE("an answer to a request that was not sent whole is refused, since its data is still in use") {
  Linked link;
  auto& connection = *link.connection;
  const auto data = pattern(1u << 20);
  bool ok = true;
  connection.submit_write(0, data, [&](const auto& outcome) { ok = outcome.ok(); });
  connection.advance();  // the socket pair holds less
  REQUIRE(connection.has_unsent());
  link.peer.answer(2, proto::WriteAnswer{});
  connection.advance();
  CHECK_FALSE(ok);
  CHECK(connection.ended()->code() == Errc::protocol_error);
  CHECK_FALSE(connection.has_unsent());
}

TEST_CASE("a conversation cut at every byte is connection_lost, never a wrong result") {
  const auto data = pattern(40);
  proto::Bytes stream;
  proto::encode(stream, 2, proto::ReadAnswer{data});
  const auto notice = later_notice();
  stream.insert(stream.end(), notice.begin(), notice.end());
  proto::encode(stream, 3, proto::SizeAnswer{1, {}});
  proto::encode_error(stream, 4, proto::Operation::grow, proto::Status::no_space, "full");
  for (std::size_t cut = 0; cut < stream.size(); ++cut) {
    Linked link;
    auto& connection = *link.connection;
    std::array<std::byte, 40> buffer{};
    std::vector<Errc> ends;
    const auto keep = [&](const auto& outcome) { ends.push_back(outcome.ok() ? Errc{} : outcome.error()->errc()); };
    connection.submit_read(0, buffer, keep);
    connection.submit(proto::SizeRequest{}, keep);
    connection.submit(proto::GrowRequest{1}, keep);
    connection.advance();
    link.peer.send(std::span{stream}.first(cut));
    link.peer.close();
    while (connection.outstanding() > 0) (void)connection.progress(Clock::now() + 30s);
    REQUIRE(ends.size() == 3);
    CHECK(ends[2] == Errc::connection_lost);
    CHECK((ends[0] == Errc{}) == (cut >= 64));
    if (ends[0] == Errc{}) CHECK(std::equal(buffer.begin(), buffer.end(), data.begin()));
    while (!connection.ended()) (void)connection.progress(Clock::now() + 30s);
    CHECK(connection.ended()->code() == Errc::connection_lost);
  }
}

TEST_CASE("a request that is not answered in time ends the connection with timed_out") {
  Linked link{{}, 30ms};
  const auto error = ending(link, [] {});
  CHECK(error.code() == Errc::timed_out);
  CHECK(has(error, "read: no answer within 30ms"));
  (void)link.peer.requests();
  CHECK(link.peer.closed());
}

TEST_CASE("a request that the daemon does not take in time is timed_out") {
  Linked link{{}, 30ms};
  auto& connection = *link.connection;
  const auto data = pattern(1u << 20);
  std::optional<MemoryError> error;
  connection.submit_write(0, data, [&](const auto& outcome) { error = *outcome.error(); });
  while (!error) (void)connection.progress();
  CHECK(error->code() == Errc::timed_out);
  CHECK(has(*error, "did not take the request within 30ms"));
}

TEST_CASE("a request's time begins when it is the oldest: a slow one does not use up that of the next") {
  Linked link{{}, 300ms};
  auto& connection = *link.connection;
  const auto begin = Clock::now();
  int done = 0;
  for (int i = 0; i < 3; ++i)
    connection.submit(proto::PingRequest{}, [&](const auto& outcome) { done += outcome.ok(); });
  for (std::uint64_t id = 2; id < 5; ++id) {
    // Each answer comes after 200 ms: the last one 600 ms after it was sent.
    CHECK_FALSE(connection.progress(begin + (id - 1) * 200ms));
    link.peer.answer(id, proto::PingAnswer{});
    CHECK(connection.progress());
  }
  CHECK(done == 3);
}

TEST_CASE("progress() returns when its time has passed, and the request lives on") {
  Linked link;
  bool done = false;
  link.connection->submit(proto::PingRequest{}, [&](const auto&) { done = true; });
  CHECK_FALSE(link.connection->progress(Clock::now() + 5ms));
  CHECK_FALSE(link.connection->run_until([&] { return done; }, Clock::now() + 5ms));
  link.peer.answer(2, proto::PingAnswer{});
  CHECK(link.connection->run_until([&] { return done; }));
}

TEST_CASE("run_until() throws when the connection ended and nothing can make it come true") {
  Linked link;
  link.peer.close();
  CHECK_THROWS_AS(link.connection->run_until([] { return false; }, Clock::now() + 30s), MemoryError);
}

TEST_CASE("a daemon that refuses the hello says why") {
  const auto goodbye = [](proto::Status status) {
    proto::Bytes bytes;
    proto::encode_notice(bytes, proto::Operation::goodbye, status, "connections=2 is the limit");
    return refused_hello(bytes);
  };
  CHECK(goodbye(proto::Status::limit_exceeded).code() == Errc::limit_exceeded);
  CHECK(goodbye(proto::Status::unsupported).code() == Errc::unsupported);
  CHECK(goodbye(proto::Status::stopping).code() == Errc::connection_lost);
  CHECK(goodbye(proto::Status::protocol_error).code() == Errc::protocol_error);
  CHECK(has(goodbye(proto::Status::limit_exceeded), "connections=2 is the limit"));
}

TEST_CASE("what is no pageserver is told apart at hello") {
  auto error = refused_hello(bytes_of("SSH-2.0-OpenSSH_9.2\r\n"));
  CHECK(error.code() == Errc::protocol_error);
  CHECK(has(error, "is it a pageserverd that listens there?"));
  error = refused_hello({});
  CHECK(error.code() == Errc::connection_lost);
  CHECK(has(error, "before its hello"));
  error = refused_hello({}, false);
  CHECK(error.code() == Errc::timed_out);
  CHECK(has(error, "hello: no answer within"));

  Limits none;
  none.requests_in_flight_max = 0;
  CHECK(refused_hello(hello_answer(none)).code() == Errc::protocol_error);
  auto later = hello_answer({});
  later[proto::frame_header_bytes] = std::byte{2};
  CHECK(refused_hello(later).code() == Errc::unsupported);
}

TEST_CASE("a hello cut at every byte is connection_lost") {
  const auto whole = hello_answer({});
  for (std::size_t cut = 0; cut < whole.size(); ++cut)
    CHECK(refused_hello(std::span{whole}.first(cut)).code() == Errc::connection_lost);
}

TEST_CASE("a connection that breaks raises no signal") {
  struct sigaction before {};
  struct sigaction fatal {};
  fatal.sa_handler = SIG_DFL;
  REQUIRE(::sigaction(SIGPIPE, &fatal, &before) == 0);
  Linked link;
  link.peer.close();
  const auto data = pattern(1u << 20);
  bool ok = true;
  link.connection->submit_write(0, data, [&](const auto& outcome) { ok = outcome.ok(); });
  while (link.connection->outstanding() > 0) (void)link.connection->progress();
  CHECK_FALSE(ok);
  CHECK(link.connection->ended()->code() == Errc::connection_lost);
  ::sigaction(SIGPIPE, &before, nullptr);
}

TEST_CASE("in a child after fork every call throws, and the parent's connection lives on") {
  Linked link;
  auto& connection = *link.connection;
  const ::pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    // No assertions here: the parent judges by the exit status.
    int failures = 0;
    const auto lost = [&](auto call) {
      try {
        call();
        ++failures;
      } catch (const MemoryError& error) {
        if (error.errc() != Errc::connection_lost || !has(error, "sessions do not survive fork(2)")) ++failures;
      }
    };
    lost([&] { connection.submit(proto::PingRequest{}, [](const auto&) {}); });
    lost([&] { (void)connection.advance(); });
    lost([&] { (void)connection.progress(); });
    link.connection.reset();
    ::_exit(failures);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(link.peer.requests().empty());
  CHECK_FALSE(link.peer.closed());
  bool done = false;
  connection.submit(proto::PingRequest{}, [&](const auto& outcome) { done = outcome.ok(); });
  connection.advance();
  link.peer.answer(2, proto::PingAnswer{});
  connection.advance();
  CHECK(done);
}
