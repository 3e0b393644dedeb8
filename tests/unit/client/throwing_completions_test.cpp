// Completions that throw: the session goes on as if they had not, wherever the answers were cut on their way.
#include "tests/support/catch.hpp"

#include <algorithm>
#include <array>
#include <vector>

#include <pageserver/async_session.hpp>
#include <pageserver/open.hpp>

#include "tests/support/daemon.hpp"
#include "tests/unit/client/wire_peer.hpp"

using namespace pageserver;
using namespace pageserver::test;
using namespace std::chrono_literals;

namespace {

struct Mine {};

/// One byte differs from the next, and a page from every other.
std::vector<std::byte> image_bytes(std::size_t size) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>((i * 31 + (i >> 16) * 7 + (i >> 8)) & 0xff);
  return bytes;
}

struct Tally {
  int right = 0;
  int wrong_and_ok = 0;
  int failed = 0;
  int thrown = 0;
};

/// Reads in flight together, each of whose completions throws; the caller catches, and waits again.
Tally read_and_throw(AsyncSession& session, std::size_t length, const std::vector<std::byte>& image) {
  constexpr std::size_t reads = 64;
  Tally tally;
  std::vector<std::vector<std::byte>> into(reads, std::vector<std::byte>(length, std::byte{0x5a}));
  for (std::size_t i = 0; i < reads; ++i) {
    const std::size_t offset = i * 4096 * 5 % (image.size() - length);
    session.read(offset, into[i], [&, i, offset](const MemoryError* error) {
      const bool same = std::equal(into[i].begin(), into[i].end(), image.begin() + static_cast<std::ptrdiff_t>(offset));
      if (error != nullptr)
        ++tally.failed;
      else
        ++(same ? tally.right : tally.wrong_and_ok);
      throw Mine{};
    });
  }
  while (session.outstanding() > 0) {
    try {
      const bool in_time = session.wait(AsyncSession::Deadline::clock::now() + 30s);
      REQUIRE(in_time);
    } catch (const Mine&) {
      ++tally.thrown;
    }
  }
  return tally;
}

/// Three reads and a size, answered in one stream that is cut at `cut`: all is right, whatever throws.
void answer_cut_at(Linked& link, std::size_t cut, std::uint64_t first_id, const std::vector<std::byte>& image) {
  auto& connection = *link.connection;
  std::array<std::vector<std::byte>, 3> into;
  int ran = 0;
  const auto done = [&ran](const auto& outcome) {
    ran += outcome.ok();
    throw Mine{};
  };
  proto::Bytes stream;
  for (std::size_t i = 0; i < into.size(); ++i) {
    into[i].assign(16384 + i, std::byte{0});
    connection.submit_read(i * 100, into[i], done);
    proto::encode(stream, first_id + i, proto::ReadAnswer{std::span{image}.subspan(i * 100, into[i].size())});
  }
  connection.submit(proto::SizeRequest{}, done);
  proto::encode(stream, first_id + 3, proto::SizeAnswer{7, {}});
  const auto take_in = [&] {
    try {
      (void)connection.advance();
      return false;
    } catch (const Mine&) {
      return true;
    }
  };
  (void)take_in();
  (void)link.peer.requests();
  const auto send = [&](std::size_t begin, std::size_t end) {
    link.peer.send(std::span{stream}.subspan(begin, end - begin));
    while (take_in()) {
    }
  };
  send(0, cut);
  send(cut, stream.size());
  REQUIRE(ran == 4);
  REQUIRE(connection.outstanding() == 0);
  for (std::size_t i = 0; i < into.size(); ++i)
    REQUIRE(std::equal(into[i].begin(), into[i].end(), image.begin() + static_cast<std::ptrdiff_t>(i) * 100));
}

}  // namespace

TEST_CASE("reads whose completions throw are right, every one, over TCP and a Unix socket") {
  Daemon daemon{{"--store", "demo={dir}/demo.img"}};
  const auto image = image_bytes(40 * page_size);
  {
    const auto writer = open(daemon.tcp_uri("demo"));
    writer->grow(40);
    writer->write(0, image);
  }
  for (const auto& uri : {daemon.tcp_uri("demo", "access=read"), daemon.unix_uri("demo", "access=read")}) {
    AsyncSession session{uri};
    for (const std::size_t length : {std::size_t{8}, std::size_t{65536}, std::size_t{262144}, std::size_t{1048576}}) {
      INFO(uri << " length=" << length);
      for (int round = 0; round < 3; ++round) {
        const auto tally = read_and_throw(session, length, image);
        CHECK(tally.wrong_and_ok == 0);
        CHECK(tally.failed == 0);
        CHECK(tally.right == 64);
        CHECK(tally.thrown == 64);
      }
    }
  }
}

TEST_CASE("answers cut anywhere find their places when every completion throws") {
  Linked link;
  const auto image = image_bytes(1 << 16);
  constexpr std::size_t header = proto::frame_header_bytes;
  constexpr std::size_t whole = 3 * (header + 16384) + 3 + header + 24;
  std::vector<std::size_t> cuts;
  for (std::size_t frame = 0; frame <= 3; ++frame) {
    const std::size_t begin = frame * (header + 16384) + frame * (frame - 1) / 2 * (frame > 0 ? 1 : 0);
    for (std::size_t at = begin > 80 ? begin - 80 : 0; at < std::min(begin + 80, whole); ++at) cuts.push_back(at);
  }
  for (std::size_t at = 0; at < whole; at += 257) cuts.push_back(at);
  std::uint64_t id = 2;
  for (const auto cut : cuts) {
    INFO("cut=" << cut);
    answer_cut_at(link, cut, id, image);
    id += 4;
  }
}

TEST_CASE("a connection that ends while completions throw tells every one of them, once") {
  Linked link;
  auto& connection = *link.connection;
  std::vector<int> told;
  std::array<std::byte, 8> into{};
  for (int i = 0; i < 5; ++i)
    connection.submit_read(0, into, [&told, i](const auto& outcome) {
      if (outcome.error()->errc() == Errc::connection_lost) told.push_back(i);
      throw i;
    });
  link.peer.close();
  std::vector<int> thrown;
  for (int round = 0; round < 10 && connection.outstanding() > 0; ++round) {
    try {
      (void)connection.progress(client::Clock::now() + 30s);
    } catch (const int number) {
      thrown.push_back(number);
    }
  }
  CHECK(told == std::vector<int>{0, 1, 2, 3, 4});
  CHECK(thrown == told);
  CHECK(connection.ended() != nullptr);
}

TEST_CASE("a completion that waits is told so, and its session goes on") {
  Daemon daemon{{"--store", "demo={dir}/demo.img"}};
  AsyncSession session{daemon.tcp_uri("demo")};
  int refused = 0;
  const auto expect_refusal = [&](auto call) {
    try {
      call();
    } catch (const MemoryError& error) {
      refused += error.errc() == Errc::invalid_argument;
    }
  };
  session.size([&](const MemoryError*, const AsyncSession::Size&) {
    expect_refusal([&] { (void)session.wait(); });
    expect_refusal([&] { (void)session.poll(); });
    session.size([](const MemoryError*, const AsyncSession::Size&) {});
  });
  CHECK(session.run_until([&] { return session.outstanding() == 0; }, AsyncSession::Deadline::clock::now() + 30s));
  CHECK(refused == 2);
}
