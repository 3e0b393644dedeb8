#include "tests/support/catch.hpp"

#include <array>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/client/wire_peer.hpp"

using namespace pageserver;
using namespace pageserver::client;
using namespace pageserver::test;
using namespace std::chrono_literals;

TEST_CASE("hello announces what the library can do and takes what the daemon announces") {
  WirePeer peer;
  Limits limits;
  limits.requests_in_flight_max = 5;
  limits.features = proto::features_all | 1u << 20u;
  peer.hello(limits);
  Connection connection{peer.take_client_end(), {"h", 6553, ""}, {}};
  const auto hello = peer.requests().at(0);
  const auto message = hello.as<proto::HelloRequest>();
  CHECK(hello.header.request_id == 1);
  CHECK(message.version_min == 1);
  CHECK(message.version_max == 1);
  CHECK(message.features == proto::features_all);
  CHECK(message.payload_bytes_max >= 69632);
  CHECK(std::string{message.client_name}.starts_with("libpageserver "));
  CHECK(connection.server().version == 1);
  CHECK(connection.server().features == proto::features_all);
  CHECK(connection.server().requests_in_flight_max == 5);
  CHECK(connection.server().request_bytes_max == 1u << 20);
  CHECK(connection.server().connection_id == 7);
  CHECK(connection.server().name == "fake 1");
  CHECK(connection.context() == "pageserver://h:6553");
}

TEST_CASE("requests leave in the order submitted, and answers in any order find theirs") {
  Linked link;
  auto& connection = *link.connection;
  std::vector<int> done;
  std::array<std::byte, 3> first{};
  std::array<std::byte, 2> second{};
  connection.submit_read(10, first, [&](const auto& outcome) { done.push_back(outcome.ok() ? 1 : -1); });
  connection.submit_read(20, second, [&](const auto& outcome) { done.push_back(outcome.ok() ? 2 : -2); });
  connection.submit(proto::PingRequest{}, [&](const auto&) { done.push_back(3); });
  CHECK(done.empty());
  CHECK(connection.outstanding() == 3);
  CHECK(connection.advance() == 0);

  const auto requests = link.peer.requests();
  REQUIRE(requests.size() == 3);
  CHECK(requests[0].as<proto::ReadRequest>().offset == 10);
  CHECK(requests[0].as<proto::ReadRequest>().length == 3);
  CHECK(requests[1].as<proto::ReadRequest>().offset == 20);
  CHECK(requests[2].header.operation == proto::Operation::ping);

  link.peer.answer(requests[2].header.request_id, proto::PingAnswer{});
  link.peer.answer(requests[1].header.request_id, proto::ReadAnswer{pattern(2)});
  CHECK(connection.advance() == 2);
  CHECK(done == std::vector{3, 2});
  CHECK(std::memcmp(second.data(), pattern(2).data(), 2) == 0);
  link.peer.answer(requests[0].header.request_id, proto::ReadAnswer{pattern(3)});
  CHECK(connection.progress(Clock::now() + 30s));
  CHECK(done == std::vector{3, 2, 1});
  CHECK(std::memcmp(first.data(), pattern(3).data(), 3) == 0);
  CHECK(connection.outstanding() == 0);
}

TEST_CASE("a burst of requests is one send and one receive") {
  Linked link;
  auto& connection = *link.connection;
  const auto before = connection.counters();
  std::vector<std::array<std::byte, 8>> buffers(64);
  std::size_t done = 0;
  for (std::size_t i = 0; i < buffers.size(); ++i)
    connection.submit_read(i * 8, buffers[i], [&](const auto&) { ++done; });
  connection.advance();
  const auto requests = link.peer.requests();
  REQUIRE(requests.size() == 64);
  proto::Bytes answers;
  for (const auto& request : requests)
    proto::encode(answers, request.header.request_id, proto::ReadAnswer{pattern(8, 5)});
  link.peer.send(answers);
  CHECK(connection.advance() == 64);
  CHECK(done == 64);
  CHECK(connection.counters().send_calls - before.send_calls == 1);
  CHECK(connection.counters().receive_calls - before.receive_calls <= 3);
  for (const auto& buffer : buffers) CHECK(std::memcmp(buffer.data(), pattern(8, 5).data(), 8) == 0);
}

TEST_CASE("no more requests are in flight than the daemon allows") {
  Limits limits;
  limits.requests_in_flight_max = 3;
  Linked link{limits};
  auto& connection = *link.connection;
  std::vector<int> done;
  for (int i = 0; i < 8; ++i) {
    CHECK(connection.has_room() == (i < 3));
    connection.submit(proto::PingRequest{}, [&done, i](const auto&) { done.push_back(i); });
  }
  connection.advance();
  auto requests = link.peer.requests();
  CHECK(requests.size() == 3);
  link.peer.answer(requests[0].header.request_id, proto::PingAnswer{});
  CHECK(connection.advance() == 1);
  CHECK(link.peer.requests().size() == 1);  // sent as soon as there was room
  CHECK_FALSE(connection.has_room());
  CHECK(connection.outstanding() == 7);
}

TEST_CASE("no more bytes are in flight than the daemon buffers, but one request always is") {
  Limits limits;
  limits.buffered_bytes_max = 10'000;
  Linked link{limits};
  auto& connection = *link.connection;
  std::vector<std::byte> buffer(6'000);
  const auto data = pattern(20'000);
  int done = 0;
  const auto count = [&](const auto&) { ++done; };
  connection.submit_read(0, buffer, count);
  connection.submit_read(0, std::span{buffer}.first(100), count);
  connection.submit_write(0, data, count);
  connection.advance();
  auto requests = link.peer.requests();
  REQUIRE(requests.size() == 2);
  link.peer.answer(requests[0].header.request_id, proto::ReadAnswer{pattern(6'000)});
  connection.advance();
  CHECK(link.peer.requests().empty());
  link.peer.answer(requests[1].header.request_id, proto::ReadAnswer{pattern(100)});
  connection.advance();
  requests = link.peer.requests();
  REQUIRE(requests.size() == 1);
  CHECK(requests[0].payload.size() == 8 + data.size());
  CHECK(done == 2);
}

TEST_CASE("writes of every size arrive whole and in their order") {
  Linked link;
  auto& connection = *link.connection;
  std::vector<proto::Bytes> data;
  for (const std::size_t size : {0u, 1u, 24u, 4095u, 4096u, 4097u, 50'000u, 3u, 60'000u}) data.push_back(pattern(size));
  int done = 0;
  for (std::size_t i = 0; i < data.size(); ++i)
    connection.submit_write(i, data[i], [&](const auto& outcome) { done += outcome.ok(); });
  std::vector<Request> requests;
  while (requests.size() < data.size()) {
    connection.advance();
    for (auto& request : link.peer.requests()) requests.push_back(std::move(request));
  }
  for (std::size_t i = 0; i < data.size(); ++i) {
    const auto write = requests[i].as<proto::WriteRequest>();
    CHECK(write.offset == i);
    CHECK(proto::Bytes(write.data.begin(), write.data.end()) == data[i]);
    link.peer.answer(requests[i].header.request_id, proto::WriteAnswer{});
  }
  CHECK(connection.run_until([&] { return done == 9; }, Clock::now() + 30s));
}

TEST_CASE("an answer to a read goes straight into its buffer, wherever the stream is cut") {
  Linked link;
  auto& connection = *link.connection;
  const auto data = pattern(300);
  proto::Bytes answers;
  constexpr std::uint64_t first_id = 2;
  // Three answers in one stream, cut in two at every byte: the next round begins with fresh requests.
  std::uint64_t id = first_id;
  for (std::size_t cut = 0; cut <= 3 * (24 + 300); ++cut) {
    std::array<std::array<std::byte, 300>, 3> into{};
    int done = 0;
    answers.clear();
    for (auto& buffer : into) {
      connection.submit_read(0, buffer, [&](const auto& outcome) { done += outcome.ok(); });
      proto::encode(answers, id++, proto::ReadAnswer{data});
    }
    connection.advance();
    link.peer.send(std::span{answers}.first(cut));
    connection.advance();
    CHECK(done == static_cast<int>(cut / 324));
    link.peer.send(std::span{answers}.subspan(cut));
    connection.advance();
    REQUIRE(done == 3);
    for (const auto& buffer : into) REQUIRE(std::memcmp(buffer.data(), data.data(), data.size()) == 0);
    (void)link.peer.requests();
  }
}

TEST_CASE("large reads get their bytes, whatever comes where the next one was expected, wherever the stream is cut") {
  Linked link;
  auto& connection = *link.connection;
  constexpr std::size_t bytes = 20'000;
  const std::array data{pattern(bytes, 1), pattern(bytes, 2)};
  std::uint64_t id = 2;
  const auto what = GENERATE(as<std::string>{}, "in order", "the second first", "an error first", "a notice first",
                             "another answer first");
  INFO(what);
  std::vector<std::size_t> cuts{bytes - 1, bytes, bytes + 24, bytes + 25, 2 * bytes, 2 * bytes + 48};
  for (std::size_t cut = 0; cut < 120; ++cut) cuts.push_back(cut);
  for (std::size_t cut : cuts) {
    std::array<std::vector<std::byte>, 2> into{std::vector<std::byte>(bytes), std::vector<std::byte>(bytes)};
    std::array<int, 3> done{};  // 1: well, -1: with an error
    for (std::size_t i = 0; i < 2; ++i)
      connection.submit_read(0, into[i], [&done, i](const auto& outcome) { done[i] = outcome.ok() ? 1 : -1; });
    connection.submit(proto::PingRequest{}, [&done](const auto& outcome) { done[2] = outcome.ok() ? 1 : -1; });
    const std::uint64_t first = std::exchange(id, id + 3);
    proto::Bytes answers;
    const auto answer = [&](std::size_t i) { proto::encode(answers, first + i, proto::ReadAnswer{data[i]}); };
    const auto other = [&] { proto::encode(answers, first + 2, proto::PingAnswer{}); };
    const bool fails = what == "an error first";
    if (what == "the second first") answer(1);
    if (fails) proto::encode_error(answers, first, proto::Operation::read, proto::Status::no_space, "no room");
    if (what == "a notice first") {
      const auto notice = later_notice();
      answers.insert(answers.end(), notice.begin(), notice.end());
    }
    if (what == "another answer first") other();
    if (!fails) answer(0);
    if (what != "the second first") answer(1);
    if (what != "another answer first") other();
    cut = std::min(cut, answers.size());
    connection.advance();
    link.peer.send(std::span{answers}.first(cut));
    connection.advance();
    link.peer.send(std::span{answers}.subspan(cut));
    while (connection.outstanding() != 0) REQUIRE(connection.progress(Clock::now() + 30s));
    REQUIRE(done == std::array<int, 3>{fails ? -1 : 1, 1, 1});
    if (!fails) REQUIRE(into[0] == data[0]);
    REQUIRE(into[1] == data[1]);
    (void)link.peer.requests();
  }
}

TEST_CASE("a large read's answer that is there takes one receive, and the next one's is not taken apart") {
  Linked link;
  auto& connection = *link.connection;
  std::array<std::vector<std::byte>, 3> into;
  std::size_t done = 0;
  proto::Bytes answers;
  for (std::size_t i = 0; i < into.size(); ++i) {
    into[i].resize(40'000);
    connection.submit_read(0, into[i], [&](const auto& outcome) { done += outcome.ok(); });
    proto::encode(answers, 2 + i, proto::ReadAnswer{pattern(40'000, 3)});
  }
  connection.advance();
  const auto before = connection.counters();
  link.peer.send(answers);
  CHECK(connection.advance() == 3);
  CHECK(done == 3);
  CHECK(connection.counters().receive_calls - before.receive_calls <= into.size() + 1);
  for (const auto& buffer : into) CHECK(buffer == pattern(40'000, 3));
}

TEST_CASE("both ends sending more than the sockets hold does not deadlock") {
  Limits limits;
  limits.requests_in_flight_max = 1000;
  limits.buffered_bytes_max = 0xffffffff;
  Linked link{limits};
  auto& connection = *link.connection;
  // An echo that answers each request before it reads the next, and never reads while it can't send.
  constexpr std::size_t rounds = 40;
  constexpr std::size_t bytes = 512 * 1024;
  std::thread echo{[&] {
    try {
      proto::Bytes input;
      std::byte chunk[65536];
      for (std::size_t handled = 0; handled < 2 * rounds;) {
        const auto scan = proto::scan_frame(input, 0xffffffff);
        if (scan.kind == proto::Scan::Kind::frame) {
          if (scan.header.operation == proto::Operation::write)
            link.peer.answer(scan.header.request_id, proto::WriteAnswer{});
          else
            link.peer.answer(scan.header.request_id, proto::ReadAnswer{pattern(bytes)});
          input.erase(input.begin(), input.begin() + static_cast<std::ptrdiff_t>(scan.frame_bytes));
          ++handled;
          continue;
        }
        const ssize_t got = ::recv(link.peer.fd(), chunk, sizeof chunk, 0);
        if (got <= 0) return;
        input.insert(input.end(), chunk, chunk + got);
      }
    } catch (const std::exception&) {
      // The test sees that its requests failed.
    }
  }};
  const auto data = pattern(bytes, 3);
  std::vector<proto::Bytes> into(rounds, proto::Bytes(bytes));
  std::size_t done = 0;
  for (std::size_t i = 0; i < rounds; ++i) {
    connection.submit_write(i * bytes, data, [&](const auto& outcome) { done += outcome.ok(); });
    connection.submit_read(i * bytes, into[i], [&](const auto& outcome) { done += outcome.ok(); });
  }
  CHECK(connection.run_until([&] { return done == 2 * rounds; }, Clock::now() + 60s));
  ::shutdown(link.peer.fd(), SHUT_RDWR);
  echo.join();
  for (const auto& buffer : into) CHECK(buffer == pattern(bytes));
}

TEST_CASE("an error answer is that request's outcome and nothing more") {
  Linked link;
  auto& connection = *link.connection;
  connection.name_store("demo");
  std::vector<std::string> texts;
  std::vector<Errc> codes;
  const auto keep = [&](const auto& outcome) {
    REQUIRE_FALSE(outcome.ok());
    codes.push_back(outcome.error()->errc());
    texts.emplace_back(outcome.error()->what());
    CHECK_THROWS_AS(outcome.value(), MemoryError);
  };
  std::array<std::byte, 100'000> buffer{};
  connection.submit_read(0, buffer, keep);
  connection.submit(proto::GrowRequest{1}, keep);
  connection.submit(proto::GrowRequest{1}, keep);
  connection.advance();
  const auto requests = link.peer.requests();
  link.peer.error(requests.at(0).header.request_id, proto::Operation::read, proto::Status::out_of_bounds,
                  "read offset=0 length=100000 exceeds size=65536");
  link.peer.error(requests.at(1).header.request_id, proto::Operation::grow, proto::Status::limit_exceeded, "too much");
  link.peer.error(requests.at(2).header.request_id, proto::Operation::grow, static_cast<proto::Status>(4711), "odd");
  connection.advance();
  CHECK(codes == std::vector{Errc::out_of_bounds, Errc::limit_exceeded, Errc::provider_error});
  CHECK(texts.at(0) == "pageserver://fake:1/demo: read offset=0 length=100000 exceeds size=65536");
  CHECK(texts.at(1) == "pageserver://fake:1/demo: grow: too much");
  CHECK(texts.at(2).find("grow: odd (status 4711)") != std::string::npos);
  CHECK_FALSE(connection.ended());
  connection.submit(proto::PingRequest{}, [](const auto&) {});
  CHECK(connection.outstanding() == 1);
}

TEST_CASE("every status has its code") {
  Linked link;
  const auto code = [&](unsigned status) {
    return link.connection->error_of(proto::Operation::read, static_cast<proto::Status>(status), "x").errc();
  };
  for (unsigned status = 1; status <= 17; ++status) {
    if (status == static_cast<unsigned>(proto::Status::stopping))
      CHECK(code(status) == Errc::connection_lost);
    else
      CHECK(static_cast<unsigned>(code(status)) == status);
  }
  CHECK(code(static_cast<unsigned>(proto::Status::kicked)) == Errc::connection_lost);
  for (const unsigned status : {19u, 20u, 21u, 22u}) CHECK(code(status) == Errc::connection_lost);  // no such session
  for (const unsigned status : {23u, 24u}) CHECK(code(status) == Errc::protocol_error);             // no such request
  CHECK(code(static_cast<unsigned>(proto::Status::served_elsewhere)) == Errc::busy);
  for (const unsigned status : {26u, 255u, 65535u}) CHECK(code(status) == Errc::provider_error);
}

TEST_CASE("a completion may submit, and one that throws harms no other") {
  Linked link;
  auto& connection = *link.connection;
  bool second = false;
  bool third = false;
  connection.submit(proto::PingRequest{}, [&](const auto&) {
    connection.submit(proto::PingRequest{}, [&](const auto&) { third = true; });
    throw std::runtime_error("mine");
  });
  connection.submit(proto::PingRequest{}, [&](const auto&) { second = true; });
  connection.advance();
  for (const auto& request : link.peer.requests()) link.peer.answer(request.header.request_id, proto::PingAnswer{});
  CHECK_THROWS_WITH(connection.advance(), "mine");
  CHECK_FALSE(second);
  CHECK(connection.advance() == 1);
  CHECK(second);
  connection.advance();
  for (const auto& request : link.peer.requests()) link.peer.answer(request.header.request_id, proto::PingAnswer{});
  connection.advance();
  CHECK(third);
  CHECK(connection.outstanding() == 0);
}

TEST_CASE("call() hands out the answer while its texts live") {
  Linked link;
  auto& connection = *link.connection;
  proto::ListAnswer list;
  list.entries.emplace_back().store = "demo";
  link.peer.answer(2, list);  // before it was asked: the request is on its way by the time it is read
  std::string name;
  connection.call(proto::ListRequest{}, [&](const proto::ListAnswer& answer) { name = answer.entries.at(0).store; });
  CHECK(name == "demo");
  link.peer.error(3, proto::Operation::create, proto::Status::permission_denied, "no");
  CHECK_THROWS_AS(connection.call(proto::CreateRequest{"x", 1}, [](const auto&) {}), MemoryError);
  CHECK_FALSE(connection.ended());
}

TEST_CASE("after the notice of a lost lease, what touches the store throws, and the rest works") {
  Linked link;
  auto& connection = *link.connection;
  connection.name_store("demo");
  link.peer.notice(proto::Operation::lease_lost, proto::Status::lease_lost, "broken by an administrator");
  CHECK(connection.advance() == 0);
  try {
    connection.submit(proto::GrowRequest{1}, [](const auto&) {});
    FAIL("submitted");
  } catch (const MemoryError& error) {
    CHECK(error.code() == Errc::lease_lost);
    CHECK(std::string{error.what()} == "pageserver://fake:1/demo: lease_lost: broken by an administrator");
  }
  CHECK_FALSE(connection.ended());
  bool closed = false;
  connection.submit(proto::CloseRequest{}, [&](const auto& outcome) { closed = outcome.ok(); });
  connection.advance();
  link.peer.answer(link.peer.requests().at(0).header.request_id, proto::CloseAnswer{});
  connection.advance();
  CHECK(closed);
}

TEST_CASE("a notice of a later version is ignored") {
  Linked link;
  link.peer.send(later_notice());
  bool done = false;
  link.connection->submit(proto::PingRequest{}, [&](const auto&) { done = true; });
  link.connection->advance();
  link.peer.answer(2, proto::PingAnswer{});
  link.connection->advance();
  CHECK(done);
}

TEST_CASE("completions that are outstanding at destruction never run") {
  Linked link;
  bool ran = false;
  std::array<std::byte, 8> buffer{};
  link.connection->submit_read(0, buffer, [&](const auto&) { ran = true; });
  link.connection->advance();
  link.connection.reset();
  CHECK_FALSE(ran);
  (void)link.peer.requests();
  CHECK(link.peer.closed());
}
