// What a connection is made of: its bytes, its deadline, what is pending, the watch over its peer's host.
#include "tests/support/catch.hpp"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"
#include "server/connection/byte_stream.hpp"
#include "server/connection/deadline.hpp"
#include "server/connection/host_watch.hpp"
#include "server/connection/pending.hpp"

using namespace pageserver;
using namespace pageserver::server;
using namespace std::chrono_literals;

namespace {

using Received = ByteStream::Received;

std::span<const std::byte> bytes_in(std::string_view text) { return std::as_bytes(std::span(text)); }

std::string text_of(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes) text += static_cast<char>(byte);
  return text;
}

struct StreamOverPair {
  StreamOverPair() {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    ours = UniqueFd{ends[0]};
    peer = UniqueFd{ends[1]};
    stream.attach(ours.get());
  }
  void peer_sends(std::string_view text) {
    REQUIRE(::send(peer.get(), text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
  }
  std::string peer_receives() {
    std::array<char, 65536> room;
    const ssize_t count = ::recv(peer.get(), room.data(), room.size(), MSG_DONTWAIT);
    return count > 0 ? std::string(room.data(), static_cast<std::size_t>(count)) : std::string();
  }

  UniqueFd ours, peer;
  ByteStream stream;
};

}  // namespace

TEST_CASE("a stream says whether bytes came, none did, or the peer ended") {
  StreamOverPair pair;
  std::array<std::byte, 8> room;
  std::size_t count = 1;
  CHECK(pair.stream.receive(room, count) == Received::nothing);
  CHECK(count == 0);
  pair.peer_sends("abc");
  CHECK(pair.stream.receive(room, count) == Received::something);
  CHECK(text_of(std::span(room).first(count)) == "abc");
  CHECK(pair.stream.is_drained());
  CHECK(pair.stream.received_bytes() == 3);
  pair.peer_sends("0123456789");
  CHECK(pair.stream.receive(room, count) == Received::something);
  CHECK(count == room.size());
  CHECK_FALSE(pair.stream.is_drained());
  CHECK(pair.stream.receive_into_input(4096) == Received::something);
  CHECK(text_of(pair.stream.input().bytes()) == "89");
  pair.peer.reset();
  CHECK(pair.stream.receive_into_input(4096) == Received::end);
  CHECK(pair.stream.is_at_end());
  CHECK_FALSE(pair.stream.is_broken());
  CHECK(text_of(pair.stream.input().bytes()) == "89");
  CHECK(pair.stream.receives() == 5);
}

TEST_CASE("a receive beside pending work leaves it open whether all was received") {
  StreamOverPair pair;
  pair.peer_sends("abc");
  CHECK(pair.stream.receive_ahead(4096) == Received::something);
  CHECK_FALSE(pair.stream.is_drained());
  CHECK(text_of(pair.stream.input().bytes()) == "abc");
}

TEST_CASE("what a socket does not take is sent before what comes later, byte for byte") {
  StreamOverPair pair;
  std::string all;
  ByteBuffer fresh;
  std::size_t sent = 0;
  for (int round = 0; pair.stream.output().empty() || round < 4; ++round) {
    REQUIRE(round < 1000);
    const std::string piece(10'000, static_cast<char>('a' + round % 26));
    fresh.append(bytes_in(piece));
    all += piece;
    sent += pair.stream.send(fresh);
    CHECK(fresh.empty());
  }
  CHECK(sent + pair.stream.output().size() == all.size());
  std::string seen;
  while (seen.size() < all.size()) {
    const std::string piece = pair.peer_receives();
    REQUIRE((!piece.empty() || !pair.stream.output().empty()));
    seen += piece;
    sent += pair.stream.send(fresh);
  }
  CHECK((seen == all));
  CHECK(sent == all.size());
  CHECK(pair.stream.output().empty());
}

TEST_CASE("a stream whose peer is gone is broken and sends nothing more") {
  StreamOverPair pair;
  pair.peer.reset();
  ByteBuffer fresh;
  fresh.append(bytes_in("lost"));
  CHECK(pair.stream.send(fresh) == 0);
  CHECK(pair.stream.is_broken());
  CHECK(fresh.empty());
  const auto sends = pair.stream.sends();
  fresh.append(bytes_in("lost"));
  CHECK(pair.stream.send(fresh) == 0);
  CHECK(pair.stream.sends() == sends);
}

TEST_CASE("a deadline passes for what it was set for, and only hello's end ends hello's") {
  Deadline deadline;
  deadline.set(Deadline::Kind::hello, 0ms, 100);
  CHECK(deadline.passed(Deadline::Kind::hello));
  CHECK_FALSE(deadline.passed(Deadline::Kind::input));
  deadline.clear(false);
  CHECK(deadline.kind() == Deadline::Kind::hello);
  CHECK(deadline.progress(164) == 64);
  deadline.clear(true);
  CHECK(deadline.kind() == Deadline::Kind::none);
  deadline.set(Deadline::Kind::output, 1h, 0);
  CHECK_FALSE(deadline.passed(Deadline::Kind::output));
  deadline.clear_if(Deadline::Kind::input);
  CHECK(deadline.kind() == Deadline::Kind::output);
  deadline.clear_if(Deadline::Kind::output);
  CHECK(deadline.kind() == Deadline::Kind::none);
}

TEST_CASE("a completion of what was given up is dropped, that of what is pending is kept until it is taken") {
  Tally shown;
  Pending pending(shown);
  int ran = 0;
  const auto first = pending.begin(Pending::What::admin);
  pending.clear();
  CHECK_FALSE(pending.complete(first, [&] { ran += 100; }));
  CHECK(shown == 0);
  const auto second = pending.begin(Pending::What::flush);
  CHECK(shown == static_cast<std::uint64_t>(Pending::What::flush));
  CHECK_FALSE(pending.complete(first, [&] { ran += 100; }));
  CHECK_FALSE(pending.complete_if(Pending::What::room));
  CHECK_FALSE(pending.is_done());
  CHECK(pending.complete(second, [&] { ++ran; }));
  CHECK(pending.is_done());
  const auto finish = pending.take();
  CHECK_FALSE(pending.is_any());
  finish();
  CHECK(ran == 1);
  pending.begin(Pending::What::room);
  CHECK(pending.complete_if(Pending::What::room));
  CHECK_FALSE(pending.take());
  {
    const Pending::Beginning beginning{pending};
    CHECK(pending.is_beginning());
  }
  CHECK_FALSE(pending.is_beginning());
}

TEST_CASE("a host that has acknowledged all is not gone, and is looked at only when something was sent") {
  const UniqueFd listener{::socket(AF_INET, SOCK_STREAM, 0)};
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  REQUIRE(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  REQUIRE(::listen(listener.get(), 1) == 0);
  REQUIRE(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &length) == 0);
  const UniqueFd client{::socket(AF_INET, SOCK_STREAM, 0)};
  REQUIRE(::connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  const UniqueFd server{::accept(listener.get(), nullptr, nullptr)};

  HostWatch watch{4s};
  CHECK(watch.interval() == 1s);
  CHECK_FALSE(watch.wants_look());
  REQUIRE(::send(server.get(), "x", 1, 0) == 1);
  watch.note_sent();
  CHECK(watch.wants_look());
  for (int look = 0; look < 10; ++look) CHECK_FALSE(watch.is_gone(server.get()));

  HostWatch never{0ms};
  never.note_sent();
  CHECK_FALSE(never.wants_look());
}
